"""Runs a workflow in a process of its own, under the interpreter of its framework.

Reads a request from standard input, and writes the reply to the file that it is told, with every
address that the process connected to or looked up, and the files that it wrote in its home
directory. Imports nothing of ours but the runner.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

_PORT = 2  # an address of the internet family has a host and a port


def main(answer: Path) -> None:
    """Run it."""
    contacted: list[str] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.connect":
            address = arguments[1]
            internet = isinstance(address, tuple) and len(address) >= _PORT
            contacted.append(str(address[0]) if internet else f"local:{address!r}")
        elif event == "socket.getaddrinfo":
            contacted.append(str(arguments[0]))

    sys.addaudithook(watch)
    request = json.load(sys.stdin)
    from actors.frameworks.execution import execute

    reply = asyncio.run(execute(request))
    home = Path(os.environ["HOME"])
    written = sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())
    answer.write_text(json.dumps({**reply, "contacted": contacted, "written": written}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
