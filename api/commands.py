"""Commands to the routers, over NATS."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from pydantic import ValidationError

from actors import subjects
from actors.bus import Bus, Unreachable
from actors.messages import Accepted, AnyCommand, Problem, Reply, RunCommand
from actors.presets import DeletePreset, Kept, SavePreset
from api.idempotency import HEADER
from api.problems import ProblemError, kind_of
from events.errors import ToolStarting, ToolUnavailable
from events.partitions import PARTITIONS
from events.presets import stream_of

TRIES = 3
PATIENCE = 4.0  # seconds for one try
PAUSE = 0.5  # seconds before a router that could not commit is asked again
STARTING = 30.0  # seconds in which a tool server that is needed has to have started

_BEFORE = (ToolUnavailable.__name__, ToolStarting.__name__)
"""Errors for which a router turns a command down before anything is recorded.

With an error of the store it may be recorded all the same.
"""

R = TypeVar("R", Reply, Kept)


class Commands:
    """Sends commands to the routers of their sessions."""

    def __init__(self, bus: Bus, *, tries: int = TRIES, patience: float = PATIENCE) -> None:
        self._bus = bus
        self._tries = tries
        self._patience = patience

    async def send(self, command: AnyCommand | RunCommand) -> Accepted:
        """Have `command` carried out; when this returns, it is committed.

        A command that was not answered is sent again under the same id, which the router
        recognises, so it takes effect once at most. Raises a `ProblemError`: 503 where no router
        answers within `tries` times `patience` seconds, or where it cannot now, which tells
        whether it may take effect all the same; else what the router says against it.
        """
        subject = subjects.commands(subjects.partition(command.session))
        reply = await self._answer(subject, command, Reply)
        assert reply.accepted
        return reply.accepted

    async def keep(self, command: SavePreset | DeletePreset) -> int:
        """The same for a command to a preset; gives the position of its last event."""
        subject = subjects.presets(subjects.partition(stream_of(command.name)))
        kept = await self._answer(subject, command, Kept)
        assert kept.position
        return kept.position

    async def _answer(
        self,
        subject: str,
        command: AnyCommand | RunCommand | SavePreset | DeletePreset,
        kind: type[R],
    ) -> R:
        """The answer that says that it is committed; raises a `ProblemError` for any other."""
        why, certain = "the room's router does not answer", True
        clock = asyncio.get_running_loop().time
        tries, until = self._tries, clock() + STARTING
        while tries > 0:
            tries -= 1
            try:
                reply = kind.model_validate_json(
                    await self._bus.request(subject, command, timeout=self._patience)
                )
            except Unreachable:
                certain = False
                continue
            except ValidationError:
                certain = False
                break  # a router of another release
            if reply.problem is None:
                return reply
            if reply.problem.status != 503:
                raise _refusal(reply.problem)
            why = reply.problem.message
            certain = certain and reply.problem.error in _BEFORE
            if reply.problem.error == ToolStarting.__name__ and clock() < until:
                tries = self._tries
            await asyncio.sleep(PAUSE)
        effect = "nothing was done" if certain else "this may or may not take effect"
        raise ProblemError(
            "unavailable",
            f"{why.rstrip('.')}; {effect}: send the same request again"
            f"{' later' if certain else ''}, with the Idempotency-Key of this answer",
            headers={HEADER: command.id},
            uncertain=not certain,
        )

    async def missing_routers(self, within: float = 1.0) -> tuple[int, ...]:
        """The partitions whose router does not answer within so many seconds."""

        async def answers(part: int) -> bool:
            try:
                await self._bus.request(subjects.ping(part), b"{}", timeout=within)
            except Unreachable:
                return False
            return True

        answered = await asyncio.gather(*map(answers, range(PARTITIONS)))
        return tuple(part for part, there in enumerate(answered) if not there)


def _refusal(problem: Problem) -> ProblemError:
    return ProblemError(kind_of(problem.status), problem.message)
