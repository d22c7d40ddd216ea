"""Checks arguments where that cannot hold up the actor: in a process that may be ended.

What a schema costs is the server's choice, and what arguments cost is the model's: references that
double, patterns that backtrack and lists that are compared pair by pair take for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from pathlib import Path
from typing import Any, Final

import orjson
from pydantic_core import to_json

from actors.parent_death import tied
from actors.tools.arguments import Schema
from events.errors import BadArguments, ToolError

_log = logging.getLogger(__name__)

WITHIN: Final = 2.0  # seconds for a check
START_WITHIN: Final = 30.0  # seconds for the process to start
PLAIN_BYTES: Final = 8 * 1024
"""A schema that is longer is not checked in place."""
PLAIN_WORK: Final = 1_000_000
"""Nor where its bytes times those of the arguments are more, which bounds the comparisons."""

_PLAIN: Final = frozenset(
    """
    $schema additionalProperties const default description enum examples exclusiveMaximum
    exclusiveMinimum format items maxItems maxLength maxProperties maximum minItems minLength
    minProperties minimum properties required title type
    """.split()
)
_PROCESS: Final = ("-P", "-m", "actors.tools.checking_process")


class Checker:
    """Checks against schemas, by one process that is started when it is first needed.

    It is replaced where a check takes too long, and ends with ours, even if that is killed.
    """

    def __init__(self, within: float = WITHIN) -> None:
        self._within = within
        self._process: asyncio.subprocess.Process | None = None
        self._turns = asyncio.Lock()

    async def check(self, tool: str, schema: dict[str, Any], arguments: Any) -> None:
        """Raise what `Schema.check` raises, and `ToolError` where it takes too long."""
        try:
            given = to_json(arguments, inf_nan_mode="null")
        except ValueError:
            raise BadArguments("the arguments are nested too deeply") from None
        try:
            form = orjson.dumps(schema)
        except orjson.JSONEncodeError:
            raise ToolError(f"the schema of {tool!r} is nested too deeply") from None
        light = len(form) <= PLAIN_BYTES and len(form) * len(given) <= PLAIN_WORK
        if light and plain(schema):
            Schema(tool, schema).check(arguments)
            return
        line = b"[%b,%b,%b]\n" % (orjson.dumps(tool), form, given)
        async with self._turns:
            # One that has ended meanwhile is replaced.
            answer = await self._answer(line) or await self._answer(line)
        match answer:
            case {"bad": str(message)}:
                raise BadArguments(message)
            case {"error": str(message)}:
                raise ToolError(message)
            case None:
                raise ToolError("the arguments could not be checked, and nothing was called")

    async def stop(self) -> None:
        """End the process."""
        process = self._process
        self._kill()
        if process is not None:
            await process.wait()

    @property
    def pid(self) -> int | None:
        """That of the process, where there is one."""
        return self._process.pid if self._process else None

    async def _answer(self, line: bytes) -> dict[str, Any] | None:
        answer = b""
        try:
            process = self._process
            if process is None or process.returncode is not None:
                async with asyncio.timeout(START_WITHIN):
                    process = await self._started()
            assert process.stdin
            assert process.stdout
            async with asyncio.timeout(self._within):
                process.stdin.write(line)
                await process.stdin.drain()
                answer = await process.stdout.readline()
        except TimeoutError:
            raise ToolError(
                f"the arguments could not be checked in time ({self._within:g} s), and nothing was"
                " called: pass simpler ones"
            ) from None
        except OSError as error:
            _log.warning("the process that checks arguments: %s", error)
        finally:
            if not answer:  # it is at work still, or has ended
                self._kill()
        return orjson.loads(answer) if answer else None

    async def _started(self) -> asyncio.subprocess.Process:
        root = str(Path(__file__).parents[2])
        process = self._process = await asyncio.create_subprocess_exec(
            *tied((sys.executable, *_PROCESS)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": root},
        )
        assert process.stdout
        await process.stdout.readline()  # it is ready
        return process

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()


def plain(schema: Any) -> bool:
    """Whether checking takes no longer than reading: no references, patterns or alternatives."""
    if isinstance(schema, bool):
        return True
    if not isinstance(schema, dict) or schema.keys() - _PLAIN:
        return False
    properties = schema.get("properties", {})
    further = (schema.get("items", True), schema.get("additionalProperties", True))
    return isinstance(properties, dict) and all(map(plain, (*further, *properties.values())))
