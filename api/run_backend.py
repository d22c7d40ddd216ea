"""The door for models as a workflow's run finds it: each participant is a model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress

import orjson

from actors.routing.spending import explained
from actors.run_tokens import RunToken
from api.doors import Doors
from api.openai_door.backend import Answering, Backend, Card, Completion, Said
from api.openai_door.bringing import Brought
from api.openai_door.completion import FAILURES, FINISHED
from api.openai_door.faults import DoorError
from api.problems import ProblemError
from api.run_calls import REPLAY, Question, Told
from api.turnstile import numbered
from events.config import SessionConfig
from events.types import BudgetOverrun, ModelAnswered, ModelFailed
from events.values import Blob, Text


class RunModels(Backend):
    """The models of one run. Every call is a step of its turn."""

    def __init__(self, doors: Doors, run: RunToken, number: str | None = None) -> None:
        self._doors = doors
        self._run = run
        self._calls = doors.runs.of(run)
        # Its place is that of its arrival, before anything of it is read or stored.
        self._ticket = doors.runs.ticket(run, numbered(number))

    def leave(self) -> None:
        """No call came of it, or it is over: those behind it need not wait."""
        self._ticket.leave()

    async def cards(self) -> tuple[Card, ...]:
        config = await self._config()
        return tuple(Card(one.id, one.provider) for one in config.models)

    async def card(self, name: str) -> Card:
        cards = await self.cards()
        for card in cards:
            if card.id == name:
                return card
        names = ", ".join(card.id for card in cards)
        raise DoorError(
            404, f"{name!r:.200} is no model of this run: there are {names}", code="model_not_found"
        )

    @asynccontextmanager
    async def answering(
        self, brought: Brought, key: str | None, *, pieces: bool
    ) -> AsyncIterator[Answering]:
        await self.card(brought.model)
        question = Question(
            brought.model,
            brought.messages,
            brought.tools,
            brought.tool_choice,
            brought.parameters,
        )
        shown: asyncio.Queue[str | None] = asyncio.Queue()
        show = shown.put_nowait if pieces else None
        outcome = self._calls.outcome(self._run, question, self._ticket, show=show, key=key)
        asking = RunAnswering(self._doors, self._run, question, outcome, shown)
        try:
            yield asking
        finally:
            await asking.leave()

    async def _config(self) -> SessionConfig:
        state = await self._doors.states.get(self._run.session)
        turn = state.turns.get(self._run.turn)
        if turn is None or turn.config is None:
            raise DoorError(404, "there is no such run", code="not_found")
        if turn.end is not None and self._run.attempt < REPLAY:
            raise DoorError(409, f"the run has ended ({turn.status})", code="conflict")
        return turn.config


class RunAnswering(Answering):
    """A question of a run that is under way."""

    def __init__(
        self,
        doors: Doors,
        run: RunToken,
        question: Question,
        outcome: Coroutine[None, None, Told],
        shown: asyncio.Queue[str | None],
    ) -> None:
        self._doors = doors
        self._shown = shown
        self._task = asyncio.create_task(outcome)
        self._task.add_done_callback(lambda _: self._shown.put_nowait(None))
        self._run = run
        self._digest = question.digest

    @property
    def id(self) -> str:
        return f"chatcmpl-{self._run.session}-{self._digest[:12]}"

    async def pieces(self) -> AsyncIterator[Said | Completion]:
        said = ""
        while (frame := await self._shown.get()) is not None:
            piece = orjson.loads(frame)
            if piece["channel"] == "reasoning":
                yield Said("reasoning", piece["text"])
            elif piece["channel"] == "text" and piece["seq"] == len(said):
                said += piece["text"]
                yield Said("content", piece["text"])
        completion = await self.completion()
        if not completion.text.startswith(said):
            raise DoorError(
                502, "what was streamed broke off and was said anew: ask again", code="broken_off"
            )
        if rest := completion.text[len(said) :]:
            yield Said("content", rest)
        yield completion

    async def completion(self) -> Completion:
        outcome = (await self._task).outcome
        if isinstance(outcome, ModelAnswered):
            return await self._completion(outcome)
        if isinstance(outcome, ModelFailed):
            status, code = FAILURES.get(outcome.error, (502, "upstream_error"))
            raise DoorError(status, outcome.message, code=code)
        if isinstance(outcome, BudgetOverrun):
            raise DoorError(429, explained(outcome), code="insufficient_quota")
        raise DoorError(409, "the run was called off", code="cancelled")

    async def cancel(self) -> None:
        """The step goes on: what it costs is spent, and a repeated run finds its outcome."""

    async def leave(self) -> None:
        """Nobody waits any more; what was told has been passed on."""
        self._task.cancel()
        with suppress(asyncio.CancelledError, ProblemError, DoorError):
            await self._task
        if not self._task.cancelled() and self._task.exception() is None:
            self._task.result().passed_on()

    async def _completion(self, answer: ModelAnswered) -> Completion:
        calls = answer.tool_calls
        finish = "tool_calls" if calls else FINISHED.get(answer.finish_reason, "stop")
        return Completion(
            text=await self._text(answer.text),
            finish_reason=finish,
            usage=answer.usage,
            reasoning=await self._text(answer.reasoning) if answer.reasoning else None,
            tool_calls=calls,
            place={"session": self._run.session, "turn": self._run.turn},
        )

    async def _text(self, text: Text) -> str:
        if isinstance(text, Blob):
            return await asyncio.to_thread(self._doors.room.load, text)
        return text
