"""Decodes streams of JSON as they come in: Server-Sent Events, lines of JSON, and whole bodies.

However the bytes are cut into chunks, the same items come out, or `BadResponse` is raised.
"""

from __future__ import annotations

import json
from typing import Any, Final, Literal

import orjson

from events.errors import BadResponse

LONGEST_ITEM: Final = 16 * 1024 * 1024  # bytes

Format = Literal["sse", "ndjson", "json"]

_BOM = b"\xef\xbb\xbf"


class Decoder:
    """Turns chunks of bytes into JSON objects.

    `done` becomes true with the event `[DONE]`, by which OpenAI-compatible servers end a stream;
    what comes after it is passed over. `fault` is what is wrong with the stream, once something is;
    the items before it have been given out then, and no more will come. Of an event only `data`
    counts, and `error`, which llama.cpp writes in its place. A whole body may be a list of objects.
    """

    def __init__(self, format: Format = "sse") -> None:
        self.done = False
        self.fault: BadResponse | None = None
        self._sse = format == "sse"
        self._whole = format == "json"
        self._rest: list[bytes] = []  # of a line that has not ended yet
        self._rest_size = 0
        self._data: list[bytes] = []  # lines of the event that has not ended yet
        self._data_size = 0
        self._after_cr = False
        self._head: bytes | None = b""  # the first bytes, until they are known to be no mark

    def feed(self, chunk: bytes) -> list[dict[str, Any]]:
        """The items that are complete with `chunk`, in order."""
        if self.done or self.fault:
            return []
        if self._head is not None:
            chunk = self._without_mark(chunk)
        if self._sse and (self._after_cr or b"\r" in chunk):
            chunk = self._with_plain_ends(chunk)
        if self._whole or b"\n" not in chunk:
            self._keep(chunk)
            return []
        if self._rest:
            chunk = b"".join([*self._rest, chunk])
            self._rest.clear()
            self._rest_size = 0
        *lines, rest = chunk.split(b"\n")
        self._keep(rest)
        return self._events(lines) if self._sse else self._lines(lines)

    def finish(self) -> list[dict[str, Any]]:
        """What an unended last line or event still holds, when no more bytes will come."""
        if self.done or self.fault:
            return []
        head, self._head = self._head, None
        line = b"".join([head or b"", *self._rest])
        self._rest.clear()
        return self._events([line, b""]) if self._sse else self._lines([line])

    def _without_mark(self, chunk: bytes) -> bytes:
        """The chunk, without the byte order mark with which a stream may begin."""
        start = (self._head or b"") + chunk
        if len(start) < len(_BOM) and _BOM.startswith(start):
            self._head = start
            return b""
        self._head = None
        return start.removeprefix(_BOM)

    def _with_plain_ends(self, chunk: bytes) -> bytes:
        """The chunk with line feeds alone, where lines end as the standard allows."""
        if self._after_cr and chunk.startswith(b"\n"):
            self._after_cr = False
            chunk = chunk[1:]
        if chunk:
            self._after_cr = chunk.endswith(b"\r")
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _keep(self, rest: bytes) -> None:
        if rest:
            self._rest.append(rest)
            self._rest_size += len(rest)
            self._check(self._rest_size)

    def _events(self, lines: list[bytes]) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        data = self._data
        for line in lines:
            if not line:
                if data:
                    payload = data[0] if len(data) == 1 else b"\n".join(data)
                    data.clear()
                    self._data_size = 0
                    if not self._add(payload, items):
                        break
            elif line.startswith((b"data:", b"error:")):
                value = line[line.index(b":") + 1 :]
                data.append(value)
                self._data_size += len(value)
                self._check(self._data_size)
        return items

    def _lines(self, lines: list[bytes]) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        for line in lines:
            if line.strip() and not self._add(line, items):
                break
        return items

    def _add(self, payload: bytes, items: list[dict[str, Any]]) -> bool:
        """Add the item that `payload` is; False where nothing after it counts."""
        try:
            item = orjson.loads(payload)
        except orjson.JSONDecodeError:
            if payload.strip() == b"[DONE]":
                self.done = True
                return False
            item = _loads_with_lone_surrogates(payload)
        if isinstance(item, dict):
            items.append(item)
            return True
        if self._whole and isinstance(item, list) and all(isinstance(one, dict) for one in item):
            items += item
            return True
        self.fault = BadResponse("the stream holds no JSON objects: is this a model server?")
        return False

    def _check(self, size: int) -> None:
        if size > LONGEST_ITEM:
            self.fault = BadResponse(f"the stream holds an item of more than {LONGEST_ITEM} bytes")


def _loads_with_lone_surrogates(payload: bytes) -> Any:
    """JSON in which a character beyond the basic plane was cut in two, its halves replaced.

    None where it is not even that.
    """
    if b"\\u" not in payload:
        return None
    try:
        whole = json.dumps(json.loads(payload), ensure_ascii=False)
        return orjson.loads(whole.encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
