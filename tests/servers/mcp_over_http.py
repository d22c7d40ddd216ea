"""A tool server over HTTP that misbehaves as it is told: MCP of 2025-11-25, by hand."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOOLS = ("echo", "packed", "packed_stream", "progress")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: OverHttp

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._send(405, b"")

    def do_DELETE(self) -> None:
        self._send(405, b"")

    def do_POST(self) -> None:
        self.server.encodings.add(self.headers.get("accept-encoding", ""))
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        id, params = message.get("id"), message.get("params") or {}
        match message.get("method"):
            case _ if id is None:
                self._send(202, b"")
            case "initialize":
                self._result(
                    id,
                    {
                        "protocolVersion": "2025-11-25",
                        "capabilities": {"tools": {}},
                        "serverInfo": {"name": "over-http", "version": "1"},
                    },
                )
            case "tools/list":
                tools = [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]
                self._result(id, {"tools": tools})
            case "tools/call":
                token = (params.get("_meta") or {}).get("progressToken")
                self._call(id, params["name"], params.get("arguments") or {}, token)
            case other:
                error = {"code": -32601, "message": f"no {other}"}
                self._send(200, _json(id=id, error=error))

    def _call(self, id: Any, name: str, arguments: dict[str, Any], token: Any) -> None:
        text = _result("x" * arguments.get("bytes", 1))
        match name:
            case "packed":
                self._send(200, gzip.compress(_json(id=id, result=text)), encoding="gzip")
            case "packed_stream":
                event = b"event: message\ndata: " + _json(id=id, result=text) + b"\n\n"
                self._send(
                    200, gzip.compress(event), encoding="gzip", content_type="text/event-stream"
                )
            case "progress":
                self._stream(id, token, arguments["times"])
            case _:
                self._result(id, text)

    def _stream(self, id: Any, token: Any, times: int) -> None:
        """So often that all is done."""
        progress = {"progressToken": token, "progress": 1, "total": 1}
        told = _json(method="notifications/progress", params=progress)
        events = [told] * times + [_json(id=id, result=_result("done"))]
        body = b"".join(b"event: message\ndata: " + event + b"\n\n" for event in events)
        self._send(200, body, content_type="text/event-stream")

    def _result(self, id: Any, result: Any) -> None:
        self._send(200, _json(id=id, result=result))

    def _send(
        self,
        status: int,
        body: bytes,
        *,
        encoding: str | None = None,
        content_type: str = "application/json",
    ) -> None:
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        if encoding is not None:
            self.send_header("content-encoding", encoding)
        self.end_headers()
        self.wfile.write(body)


class OverHttp(ThreadingHTTPServer):
    """The server; `encodings` holds what its clients take."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.encodings: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/mcp"


@contextmanager
def over_http() -> Iterator[OverHttp]:
    """The server on a port of its own, until left."""
    with OverHttp() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def _result(text: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}]}


def _json(**message: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **message}).encode()
