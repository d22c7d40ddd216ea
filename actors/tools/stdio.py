"""A tool server that is a program: its process, and its messages as lines of JSON.

What it writes is not trusted: a line that is no message is left out, an endless one ends the
connection, and a flood of notifications is thinned.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
import mcp_types as types
from anyio.streams.memory import MemoryObjectSendStream
from mcp.client._transport import TransportStreams
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage

from actors.parent_death import tied
from actors.tools.config import ToolServerSpec
from actors.tools.flood import Flood
from actors.tools.lines import Lines, TooLong
from events.errors import ToolUnavailable

_log = logging.getLogger(__name__)

ENDLESS: Final = 1024 * 1024 * 1024  # bytes of a line, after which the program is ended
CHUNK: Final = 64 * 1024
POLITELY: Final = 2.0  # seconds to end after its input is closed, and again after SIGTERM
NONSENSE: Final = 5  # lines that are no messages, of which the log tells
WORDS: Final = 100  # lines of its standard error that are logged in a minute ...
LONGEST_WORDS: Final = 1000  # ... and characters of each
CHILD: Final = "CTLROOM_TOOL_SERVER"
"""In the environment of the program and all that it starts: the server's name and our process."""


class Program:
    """One run of the program. `last_words` is what it wrote to its standard error last."""

    def __init__(self, spec: ToolServerSpec, hidden: Callable[[str], str]) -> None:
        self.last_words = ""
        self.ended = asyncio.Event()
        """Set when it says nothing any more: it has ended, or is about to be."""
        self._code: int | None = None
        self._by_itself = False
        self._spec = spec
        self._hidden = hidden
        self._nonsense = 0

    @property
    def how_it_ended(self) -> str:
        """In words, where it ended by itself; else empty."""
        if not self._by_itself or self._code is None:
            return ""
        if self._code < 0:
            return f"its program was ended by {signal.Signals(-self._code).name}"
        said = f", having said: {self.last_words}" if self.last_words else ""
        return f"its program ended with code {self._code}{said}"

    @asynccontextmanager
    async def streams(self) -> AsyncIterator[TransportStreams]:
        """The messages of a fresh process, which ends with this context."""
        process = await self._started()
        incoming, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        write, outgoing = anyio.create_memory_object_stream[SessionMessage](0)
        reading = asyncio.create_task(self._read(process, incoming))
        listening = asyncio.create_task(self._listen(process))

        async def send() -> None:
            assert process.stdin
            with contextlib.suppress(OSError, anyio.ClosedResourceError):
                async for message in outgoing:
                    line = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                    process.stdin.write(line.encode() + b"\n")
                    await process.stdin.drain()
            # It takes nothing any more: whoever waits for an answer is told.
            incoming.close()

        sending = asyncio.create_task(send())
        try:
            yield read, write
        finally:
            self._by_itself = self.ended.is_set()
            # However often we are cancelled meanwhile, the process ends: its end is bounded.
            ending = asyncio.ensure_future(self._end(process))
            while not ending.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.shield(ending)
            for task in (reading, listening, sending):
                task.cancel()
            await asyncio.gather(reading, listening, sending, return_exceptions=True)
            for stream in (incoming, read, write, outgoing):
                stream.close()

    async def _started(self) -> asyncio.subprocess.Process:
        spec = self._spec
        environment = child_environment(spec)
        found = shutil.which(spec.command, path=environment.get("PATH"))
        if found is None:
            raise ToolUnavailable(
                f"the command {self._hidden(spec.command)!r} of tool server {spec.name!r} was not"
                " found: install it, or name it by its whole path"
            )
        if spec.cwd is not None and not Path(spec.cwd).is_dir():
            raise ToolUnavailable(
                f"the folder {spec.cwd!r} of tool server {spec.name!r} is not there: make it"
            )
        try:
            return await asyncio.create_subprocess_exec(
                *tied((found, *spec.args)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=environment,
                cwd=spec.cwd,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise ToolUnavailable(
                f"tool server {spec.name!r} does not start: {self._hidden(str(error))}"
            ) from None

    # --- what it says ----------------------------------------------------------------------------

    async def _read(
        self,
        process: asyncio.subprocess.Process,
        incoming: MemoryObjectSendStream[SessionMessage | Exception],
    ) -> None:
        assert process.stdout
        flood = Flood(self._spec.name)
        lines = Lines()
        try:
            with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
                while chunk := await process.stdout.read(CHUNK):
                    for line in lines.taken(chunk):
                        message = self._message(line)
                        if message is not None and flood.passes(message):
                            await incoming.send(SessionMessage(message))
                    if lines.size > ENDLESS:
                        _log.error("%s wrote an endless line, and is ended", self._spec.name)
                        break
        finally:
            self.ended.set()
            incoming.close()
        with contextlib.suppress(OSError):  # so that it can end, and is not held by a full pipe
            while await process.stdout.read(CHUNK):
                pass

    def _message(self, line: bytes | TooLong) -> types.JSONRPCMessage | None:
        if isinstance(line, TooLong):
            _log.warning("%s wrote a line of %d bytes", self._spec.name, line.size)
            return line.refused()
        if not line.strip():
            return None
        try:
            return types.jsonrpc_message_adapter.validate_json(line, by_name=False)
        except ValueError:
            self._nonsense += 1
            if self._nonsense <= NONSENSE:
                said = self._hidden(line[:CHUNK].decode("utf-8", "replace"))
                _log.warning("%s wrote what is no message: %.200r", self._spec.name, said)
            return None

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        """Log what it writes to its standard error, within bounds."""
        assert process.stderr
        clock = asyncio.get_running_loop().time
        minute, said, line = clock(), 0, b""
        while chunk := await process.stderr.read(CHUNK):
            *ends, rest = chunk.split(b"\n")
            for end in ends:
                whole = (line + end)[:CHUNK].decode("utf-8", "replace").strip()
                line = b""
                words = self._hidden(whole)[:LONGEST_WORDS]
                if not words:
                    continue
                self.last_words = words
                if clock() - minute > 60:
                    minute, said = clock(), 0
                said += 1
                if said <= WORDS:
                    _log.info("%s: %s", self._spec.name, words)
                elif said == WORDS + 1:
                    _log.info("%s says more than is logged in a minute", self._spec.name)
            line = (line + rest)[:CHUNK]
        if words := self._hidden(line.decode("utf-8", "replace").strip())[:LONGEST_WORDS]:
            self.last_words = words

    # --- its end ---------------------------------------------------------------------------------

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        """Close its input, and end it and what it has started by force where it goes on."""
        assert process.stdin
        process.stdin.close()
        for send in (None, signal.SIGTERM, signal.SIGKILL):
            if send is not None:
                _kill_group(process.pid, send)
            try:
                async with asyncio.timeout(POLITELY):
                    self._code = await process.wait()
                break
            except TimeoutError:
                continue
        _kill_group(process.pid, signal.SIGKILL)  # what it has left behind
        transport = getattr(process, "_transport", None)
        if transport is not None:  # what it has left behind may hold its pipes
            transport.close()


def child_environment(spec: ToolServerSpec) -> dict[str, str]:
    """What the program is told: little of our own environment, and none of its secrets."""
    marks = {name: value for name, value in os.environ.items() if name.startswith("CTLROOM_")}
    mark = {CHILD: f"{spec.name}@{os.getpid()}"}
    return get_default_environment() | marks | spec.env | mark


def end_orphans(name: str, processes: Path = Path("/proc")) -> int:
    """End what an actor of that server that was killed has left; returns how many processes.

    The program itself dies with its actor; what it has started may not (Linux only).
    """
    ended = 0
    for folder in processes.glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            owner = _owner(name, (folder / "environ").read_bytes().split(b"\0"))
            if owner is not None and not (processes / str(owner)).exists():
                os.kill(int(folder.name), signal.SIGKILL)
                ended += 1
    return ended


def _owner(name: str, variables: list[bytes]) -> int | None:
    begin = f"{CHILD}={name}@".encode()
    for variable in variables:
        if variable.startswith(begin):
            return int(variable[len(begin) :])
    return None


def _kill_group(group: int, send: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, send)
