"""A tool server that asks too much, and tells what it should keep: MCP of 2025-11-25, by hand.

Run as a program. It has `ask`, `env` and `echo`, and the tools of the JSON object in `TOOLS`, name
to schema, which give back their arguments. `KEY` is its secret.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

PLAIN: dict[str, Any] = {"type": "object", "properties": {}}
_asked: dict[str, Any] = {}
_answers: dict[Any, list[Any]] = {}


def say(**message: Any) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def tools() -> dict[str, dict[str, Any]]:
    more: dict[str, dict[str, Any]] = json.loads(os.environ.get("TOOLS", "{}"))
    return {"ask": PLAIN, "env": PLAIN, "echo": PLAIN} | more


def output() -> dict[str, Any]:
    """What `ask` and `env` say that their structured content is."""
    schema: dict[str, Any] = json.loads(os.environ["OUTPUT"])
    return schema


def text(id: Any, said: str, **more: Any) -> None:
    say(id=id, result={"content": [{"type": "text", "text": said}], **more})


def ask(id: Any, arguments: dict[str, Any]) -> None:
    """Ask so many questions at once; the result are their answers."""
    _answers[id] = []
    for number in range(arguments["times"]):
        question = f"{id}-{number}"
        _asked[question] = (id, arguments["times"])
        form = arguments.get("form", PLAIN)
        message = f"{number}: {os.environ.get('KEY', '')}"
        params = {"message": message, "requestedSchema": form}
        say(id=question, method="elicitation/create", params=params)


def answered(message: dict[str, Any]) -> None:
    id, times = _asked.pop(message["id"])
    _answers[id].append(message.get("result") or message.get("error"))
    if len(_answers[id]) == times:
        text(id, json.dumps(_answers[id]))


def call(id: Any, params: dict[str, Any]) -> None:
    key = os.environ.get("KEY", "")
    arguments = params.get("arguments") or {}
    match params["name"]:
        case "ask":
            ask(id, arguments)
        case "env":
            token = (params.get("_meta") or {}).get("progressToken")
            progress = {"progressToken": token, "progress": 1, "message": "x" * 280 + key}
            say(method="notifications/progress", params=progress)
            sys.stdout.write(f"{'x' * 190}{key}\n")
            text(id, f"KEY={key}", structuredContent={key: [{"key": f"is {key}"}]})
        case _:
            text(id, json.dumps(arguments))


def main() -> None:
    key = os.environ.get("KEY", "")
    for line in sys.stdin:
        message = json.loads(line)
        id, params = message.get("id"), message.get("params") or {}
        match message.get("method"):
            case "initialize":
                result: dict[str, Any] = {
                    "protocolVersion": "2025-11-25",
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "x" * 195 + key, "version": "1"},
                }
                say(id=id, result=result)
            case "tools/list":
                listed: list[dict[str, Any]] = [
                    {"name": name, "description": f"{name} {key}", "inputSchema": schema}
                    for name, schema in tools().items()
                ]
                if "OUTPUT" in os.environ:
                    listed[0]["outputSchema"] = listed[1]["outputSchema"] = output()
                say(id=id, result={"tools": listed})
            case "tools/call":
                call(id, params)
            case "ping":
                say(id=id, result={})
            case None if id in _asked:
                answered(message)
            case str() as other if id is not None:
                say(id=id, error={"code": -32601, "message": f"no {other}"})
            case _:
                pass


if __name__ == "__main__":
    main()
