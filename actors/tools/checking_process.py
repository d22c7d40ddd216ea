"""The process in which arguments are checked: a line of JSON for each, and a line in answer.

`[tool, schema, arguments]` is answered with `{"fits": true}`, `{"bad": message}` where the
arguments do not fit, or `{"error": message}` where the schema is none. An empty line says that it
is ready.
"""

from __future__ import annotations

import sys
from typing import BinaryIO

import orjson

from actors.tools.arguments import Schema
from events.errors import BadArguments, ControlRoomError


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer until there are no more requests."""
    answers.write(b"\n")
    answers.flush()
    for line in requests:
        answers.write(orjson.dumps(_answer(line)) + b"\n")
        answers.flush()


def _answer(line: bytes) -> dict[str, str | bool]:
    tool, schema, arguments = orjson.loads(line)
    try:
        Schema(tool, schema).check(arguments)
    except BadArguments as error:
        return {"bad": error.message}
    except ControlRoomError as error:
        return {"error": error.message}
    return {"fits": True}


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
