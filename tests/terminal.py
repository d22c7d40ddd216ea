"""A command on a terminal of its own, as a person has it: keys go in, a screen comes out."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import struct
import sys
import termios
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from api.terminal_text import safe

CTRL_C, CTRL_D = "\x03", "\x04"

# The command gets the terminal as its controlling one, so that keys become signals.
_LOGIN = "import os, sys; os.login_tty(int(sys.argv[1])); os.execv(sys.argv[2], sys.argv[2:])"


class Terminal:
    """The screen of a command: `raw` is every byte that it wrote, `text` what can be read."""

    def __init__(self, master: int, process: asyncio.subprocess.Process) -> None:
        self.raw = b""
        self.process = process
        self._master = master
        self._seen = 0
        self._grown = asyncio.Event()
        asyncio.get_running_loop().add_reader(master, self._read)

    @property
    def text(self) -> str:
        return safe(self.raw.decode(errors="replace"))

    def _read(self) -> None:
        try:
            data = os.read(self._master, 65_536)
        except OSError:  # nobody has the other side any more
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._master)
        self.raw += data
        self._grown.set()

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    async def expect(self, pattern: str, within: float = 30) -> re.Match[str]:
        """The next text that matches, behind what was expected before."""
        try:
            async with asyncio.timeout(within):
                while True:
                    self._grown.clear()
                    if match := re.compile(pattern).search(self.text, self._seen):
                        self._seen = match.end()
                        return match
                    await self._grown.wait()
        except TimeoutError:
            raise AssertionError(f"{pattern!r} was not shown: {self.text[self._seen :]}") from None

    async def ended(self, within: float = 30) -> int:
        """The exit code."""
        return await asyncio.wait_for(self.process.wait(), within)


@asynccontextmanager
async def terminal(
    *arguments: str, columns: int = 100, lines: int = 40, environment: Mapping[str, str]
) -> AsyncIterator[Terminal]:
    """This Python with `arguments`, on a terminal of that size."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    sized = {name: value for name, value in environment.items() if name not in ("COLUMNS", "LINES")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _LOGIN, str(slave), sys.executable, *arguments),
        env={**sized, "TERM": "xterm-256color"},
        pass_fds=(slave,),
    )
    os.close(slave)
    shown = Terminal(master, process)
    try:
        yield shown
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        asyncio.get_running_loop().remove_reader(master)
        os.close(master)
