"""A child process of the room that is started again whenever it ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from actors.parent_death import tied
from api.running import note

_log = logging.getLogger(__name__)

FIRST_PAUSE, LAST_PAUSE = 0.1, 10.0
"""Seconds before a child that ended is started again; doubled while it keeps ending."""
STEADY = 30.0
"""Seconds after which a child counts as running well."""
LAST_WORDS = 2000
"""Characters of a child's log that are shown when it ends."""


class Child:
    """One child, kept running from `start` until `stop`.

    It dies with this process, however that dies, and has a session of its own, so that Ctrl-C in a
    terminal reaches only us. Its output goes to the file `log`, its process id to the folder `run`.
    `sweep` is called, in a thread, whenever it has ended by itself, before it is started again.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        log: Path,
        run: Path,
        sweep: Callable[[], object] | None = None,
    ) -> None:
        self.name = name
        self._command = tied(command)
        self._environment = dict(environment)
        self._log = log
        self._run = run
        self._sweep = sweep
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def start(self) -> None:
        """Returns when it has been started the first time."""
        await self._spawn()
        self._keeper = asyncio.create_task(self._keep(), name=f"keep-{self.name}")

    async def stop(self, within: float) -> None:
        """End it: politely first, by force after `within` seconds."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), within)
        except TimeoutError:
            _log.warning("%s did not end within %g s and is killed", self.name, within)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _spawn(self) -> None:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )
        note(self._run, self.name, self._process.pid)

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE
        while True:
            assert self._process is not None
            began = loop.time()
            code = await self._process.wait()
            if loop.time() - began > STEADY:
                pause = FIRST_PAUSE
            said = self._last_words() if code > 0 else ""
            _log.warning("%s %s; starting it again%s", self.name, how_ended(code), said)
            if self._sweep is not None:
                await asyncio.to_thread(self._sweep)
            while True:
                await asyncio.sleep(pause)
                pause = min(2 * pause, LAST_PAUSE)
                try:
                    await self._spawn()
                    break
                except OSError as error:
                    _log.error("%s does not start: %s", self.name, error)

    def _last_words(self) -> str:
        """Where its log is, and the last line there."""
        try:
            with self._log.open("rb") as log:
                log.seek(0, os.SEEK_END)
                log.seek(max(0, log.tell() - LAST_WORDS))
                lines = log.read().decode("utf-8", "replace").strip().splitlines()
        except OSError:
            return ""
        return f"; last in {self._log}: {lines[-1].strip()}" if lines else ""


def how_ended(code: int) -> str:
    """An exit code in words; a negative one is a signal's."""
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
