"""The tools that a workflow's run may call, and its calls of them: each is a step of its turn."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic_core import to_json

from actors.routing.chain import reason
from actors.routing.turn import WORKFLOW
from actors.run_tokens import RunToken
from api.doors import Doors
from api.run_calls import REPLAY, ToolQuestion
from events.tools import ToolReturned
from events.turns import ToolOutcome
from events.values import Attachment, Blob, Text


@dataclass(frozen=True, slots=True)
class Given:
    """What a tool gave back, or with `is_error` why it gave nothing."""

    text: str
    is_error: bool = False
    structured: dict[str, Any] | None = None
    attachments: tuple[Attachment, ...] = ()


class RunTools:
    """The tools of one run, as its turn's facts have them."""

    def __init__(self, doors: Doors, run: RunToken) -> None:
        self._doors = doors
        self._run = run

    async def listed(self) -> tuple[dict[str, Any], ...]:
        """Name, description and parameters (a JSON schema) of each; none where the run is over."""
        state = (await self._doors.states.get(self._run.session)).turns.get(self._run.turn)
        over = state is not None and state.end is not None and self._run.attempt < REPLAY
        if state is None or state.started is None or over:
            return ()
        facts = orjson.loads(await self._text(state.started.facts))
        tools = facts.get(WORKFLOW, {}).get("tools")
        if tools is None:
            return ()
        return tuple(orjson.loads(await self._text(Blob.model_validate(tools["offered"]))))

    async def call(self, name: str, arguments: dict[str, Any]) -> Given:
        """Call a tool by the name that it is listed under.

        Raises a `ProblemError` where the run is over. What goes wrong with the tool is told.
        """
        text = to_json(arguments, inf_nan_mode="null").decode()  # integers of any size
        calls, ticket = self._doors.runs.of(self._run), self._doors.runs.ticket(self._run)
        told = await calls.outcome(self._run, ToolQuestion(name, text), ticket)
        try:
            return await self._given(told.outcome)
        finally:
            told.passed_on()

    async def _given(self, outcome: object) -> Given:
        if not isinstance(outcome, ToolReturned):
            known = outcome if isinstance(outcome, ToolOutcome) else None
            return Given(reason(known), is_error=True)
        structured = None
        if outcome.structured is not None:
            structured = orjson.loads(await self._text(outcome.structured))
        return Given(
            await self._text(outcome.text),
            outcome.is_error,
            structured if isinstance(structured, dict) else None,
            outcome.attachments,
        )

    async def _text(self, text: Text) -> str:
        if isinstance(text, Blob):
            return await asyncio.to_thread(self._doors.room.load, text)
        return text
