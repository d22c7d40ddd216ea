"""A tool server that misbehaves as it is told: MCP of 2025-11-25 over stdio, by hand.

Run as a program with a folder, into which it writes what it was told.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

FOLDER = Path(sys.argv[1])
TOOLS = {
    "echo": {"message": {"type": "string"}},
    "count": {"n": {"type": "integer"}},
    "die": {},
    "hang": {},
    "nonsense": {},
    "no_result": {},
    "endless": {},
    "big": {"bytes": {"type": "integer"}},
    "picture": {},
    "flood": {"messages": {"type": "integer"}},
    "progress": {},
    "more": {},
    "churn": {"times": {"type": "integer"}},
    "leave": {},
    "secret": {},
    "asks": {},
}
EXTRA: list[str] = []
WORDS: dict[str, int] = json.loads(os.environ.get("WORDS", "{}"))  # bytes of descriptions
_lock = threading.Lock()
_answers: dict[str, Any] = {}
_answered = threading.Event()


def note(name: str, text: str) -> None:
    with (FOLDER / name).open("a") as file:
        file.write(f"{text}\n")


def say(**message: Any) -> None:
    with _lock:
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        sys.stdout.flush()


def write(text: str) -> None:
    with _lock:
        sys.stdout.write(text)
        sys.stdout.flush()


def listed() -> list[dict[str, Any]]:
    note("listed", "")
    return [
        {
            "name": name,
            "description": f"{name}." + WORDS.get(name, 0) * "x",
            "inputSchema": {
                "type": "object",
                "properties": properties,
                "required": list(properties),
                "additionalProperties": False,
            },
        }
        for name, properties in [*TOOLS.items(), *((each, {}) for each in EXTRA)]
    ]


def result(id: Any, *content: dict[str, Any]) -> None:
    say(id=id, result={"content": list(content)})


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def call(id: Any, name: str, arguments: dict[str, Any], token: Any) -> None:
    note("called", name)
    match name:
        case "echo":
            result(id, text(arguments["message"]))
        case "count":
            result(id, text(f"{arguments['n']}"))
        case "die":
            os._exit(7)
        case "hang":
            return
        case "nonsense":
            write("this is no message\n{\n[1, 2\n\x00\xff\n")
            write('{"jsonrpc": "2.0"}\n')
            result(id, text("after nonsense"))
        case "no_result":
            say(id=id, result={"content": "no list"})
        case "endless":
            while True:
                write("x" * 1_000_000)
        case "big":
            result(id, text("x" * arguments["bytes"]))
        case "picture":
            result(id, {"type": "image", "mimeType": "image/png", "data": "no base64!"})
        case "leave":
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            note("left", str(child.pid))
            result(id, text("left"))
        case _:
            talk(id, name, arguments, token)


def talk(id: Any, name: str, arguments: dict[str, Any], token: Any) -> None:
    match name:
        case "flood":
            for number in range(arguments["messages"]):
                say(
                    method="notifications/message",
                    params={"level": "info", "data": f"message {number}"},
                )
            result(id, text("after the flood"))
        case "progress":
            for number in (1, 2):
                say(
                    method="notifications/progress",
                    params={
                        "progressToken": token,
                        "progress": number,
                        "total": 2,
                        "message": f"part {number}",
                    },
                )
            result(id, text("all of it"))
        case "more":
            EXTRA.append("extra")
            say(method="notifications/tools/list_changed")
            result(id, text("there is more"))
        case "churn":
            for _ in range(arguments["times"]):
                say(method="notifications/tools/list_changed")
                threading.Event().wait(0.05)
            result(id, text("nothing is another"))
        case "secret":
            sys.stderr.write(f"the secret is {os.environ.get('SECRET')}\n")
            sys.stderr.flush()
            say(id=id, error={"code": -32000, "message": f"wrong: {os.environ.get('SECRET')}"})
        case "asks":
            _answered.clear()
            _answers.clear()
            say(
                id="question",
                method="elicitation/create",
                params={
                    "message": "Which colour?",
                    "requestedSchema": {
                        "type": "object",
                        "properties": {"colour": {"type": "string"}},
                        "required": ["colour"],
                    },
                },
            )
            _answered.wait(60)
            result(id, text(json.dumps(_answers)))
        case _:
            result(id, text(f"{name} is done"))


def main() -> None:
    note("started", str(os.getpid()))
    for line in sys.stdin:
        message = json.loads(line)
        id, params = message.get("id"), message.get("params") or {}
        match message.get("method"):
            case "initialize":
                say(
                    id=id,
                    result={
                        "protocolVersion": "2025-11-25",
                        "capabilities": {"tools": {"listChanged": True}},
                        "serverInfo": {"name": "stubborn", "version": "1"},
                    },
                )
            case "tools/list":
                say(id=id, result={"tools": listed()})
            case "tools/call":
                token = (params.get("_meta") or {}).get("progressToken")
                arguments = params.get("arguments") or {}
                threading.Thread(
                    target=call, args=(id, params["name"], arguments, token), daemon=True
                ).start()
            case "ping":
                note("pinged", "")
                say(id=id, result={})
            case "notifications/cancelled":
                note("cancelled", str(params.get("requestId")))
            case None if id == "question":
                _answers.update(message.get("result") or message.get("error"))
                _answered.set()
            case str() as other if id is not None:
                say(id=id, error={"code": -32601, "message": f"no {other}"})
            case _:
                pass


if __name__ == "__main__":
    main()
