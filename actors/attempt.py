"""One attempt at one step: the provider asked, again where that helps, and what came of it."""

from __future__ import annotations

import asyncio
import logging
import random
import traceback
from collections.abc import Awaitable
from contextlib import aclosing
from typing import Any

import orjson

from actors.answer import Answer
from actors.deltas import DeltaStream, Status
from actors.desk import LONGEST_RETRY_AFTER, Desk
from actors.messages import Ask
from actors.prices import charged
from actors.providers.port import ChatRequest, Finished
from actors.request import ANYTHING, made
from events.errors import (
    BadResponse,
    ControlRoomError,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
)
from events.types import ModelAnswered, ModelDiscarded, ModelFailed
from events.values import SPILL, Blob, Cost, Text, ToolCall, Usage

_log = logging.getLogger(__name__)

FIRST_PAUSE, LAST_PAUSE = 0.5, 20.0  # seconds between two tries at a provider
LOADING_PAUSE = 1.0  # seconds, at least, until a model that is loading is asked again
CHARACTERS_OF_TOKEN = 4  # about, to guess what a call takes of a limit
STORE_PAUSE, LAST_STORE_PAUSE = 0.2, 5.0  # seconds between two tries to store a long text
LONGEST_RAW_USAGE = 16 * 1024  # bytes
LONGEST_TOOL_CALLS = 128 * 1024  # bytes, with their ids and what stands around them
MOST_TOOL_CALLS = 1024
LONGEST_ERROR = 2000  # characters

_TELLING_WHEN = (RateLimited, ProviderUnavailable)


class Attempt:
    """Answers one question.

    Await `answered` once; where it raises a `ControlRoomError`, `failed` tells of it; where its
    task was cancelled, `discarded` does.
    """

    def __init__(self, desk: Desk, ask: Ask, deltas: DeltaStream) -> None:
        self.ask = ask
        self.deltas = deltas
        self.waiting = True
        """For a place, for the provider's limits, or for the time of the next try."""
        self._desk = desk
        self._answer = Answer(asyncio.get_running_loop().time())
        self._tries = 0
        self._loadings = 0  # of these tries, those that found the model loading
        self._loading_since = 0.0
        self._characters = 0  # of the request
        self._told = ""
        self._notes: list[str] = []

    async def answered(self) -> ModelAnswered:
        """The whole answer; pieces go to the deltas as they come.

        A failure that may pass is tried again, at most as often as the limits say and only where
        the server has surely not worked on it: what it has may have to be paid for, and was held
        once. Where the line is full, or the breaker open, it fails without asking.
        """
        request = await self._request()
        pause = FIRST_PAUSE
        desk = self._desk
        while True:
            desk.breaker.check()
            async with desk.line.place(self, again=self._tries > 0):
                tokens = 1 + self._characters / CHARACTERS_OF_TOKEN
                await desk.in_turn(tokens, self.tell)
                desk.breaker.check()
                self.waiting = False
                self._tries += 1
                try:
                    with desk.pace.call(tokens), desk.breaker.call():
                        finished = await self._try(request)
                    return await self._to_answered(finished)
                except ProviderError as error:
                    if isinstance(error, _TELLING_WHEN) and error.retry_after is not None:
                        desk.pace.hold(error.retry_after)
                    wait = self._wait_after(error, pause)
                    if wait is None:
                        raise
                    if not _loading(error):
                        self._notes.append(f"try {self._tries} failed: {type(error).__name__}")
            self.waiting = True
            await asyncio.sleep(wait)
            pause = min(2 * pause, LAST_PAUSE)

    def tell(self, status: str) -> None:
        """Show why nothing comes yet, to whoever watches."""
        if status != self._told:
            self._told = status
            self.deltas.add(Status(f"{status}\n"))

    def _wait_after(self, error: ProviderError, pause: float) -> float | None:
        """Seconds until the next try; None where there shall be none."""
        if not error.retryable or self._accepted(error):
            return None
        after = error.retry_after if isinstance(error, _TELLING_WHEN) else None
        if within := _loading(error):
            return self._wait_for_loading(within, after or 0.0)
        if self._tries - self._loadings >= self._desk.limits.tries:
            return None
        if after is not None:
            if after > LONGEST_RETRY_AFTER:
                return None
            # Not before it, and not all at once after it.
            return after + random.uniform(0, 0.2 * pause)
        return pause * random.uniform(0.5, 1.0)

    def _wait_for_loading(self, within: float, after: float) -> float | None:
        """The same while the model is loading: those tries do not count, but their time does."""
        now = asyncio.get_running_loop().time()
        if not self._loadings:
            self._loading_since = now
            self._notes.append("waited for the model to load")
        self._loadings += 1
        left = self._loading_since + within - now
        if left <= 0:
            return None
        self.tell("waits for its model to load")
        return min(left, max(after, LOADING_PAUSE) * random.uniform(1.0, 1.1))

    async def _try(self, request: ChatRequest) -> Finished:
        """Ask the provider once; returns when its answer is complete."""
        answer, deltas = self._answer, self.deltas
        clock = asyncio.get_running_loop().time
        answer.began = clock()
        finished: Finished | None = None
        try:
            async with aclosing(self._desk.provider.stream(request)) as stream:
                async for item in stream:
                    if isinstance(item, Finished):
                        finished = item
                    else:
                        answer.add(item, clock())
                        deltas.add(item)
        except ControlRoomError:
            raise
        except Exception as error:
            # The text of the error may hold anything, a key too; where it came from does not.
            what = type(error).__name__
            where = "".join(traceback.format_tb(error.__traceback__))
            _log.error("provider %r raised %s:\n%s", self.ask.provider, what, where)
            raise BadResponse(
                f"provider {self.ask.provider!r} failed in a way that it should not ({what}):"
                " this is a fault in its code",
                retryable=False,
            ).after_work() from None
        answer.finished = finished
        if finished is None:
            cut = BadResponse("the stream ended before the answer was complete: ask again")
            raise cut.after_work()
        _check(finished.tool_calls)
        return finished

    async def _request(self) -> ChatRequest:
        desk, model = self._desk, self.ask.model
        try:
            able = desk.provider.capabilities(model)
        except ControlRoomError:  # it has no such model, and says so when it is asked
            able = ANYTHING
        names: bool = getattr(desk.provider, "takes_names", False)
        asked = await made(self.ask, desk.name, able, desk.blobs, names=names)
        self._characters = asked.characters
        self._notes += asked.notes
        return asked.request

    # --- outcomes ------------------------------------------------------------------------------

    async def _to_answered(self, finished: Finished) -> ModelAnswered:
        answer = self._answer
        duration_ms = self._duration_ms()
        usage = finished.usage or answer.estimated_usage(self._characters)
        raw = finished.usage_raw
        if raw is not None and _size(raw) > LONGEST_RAW_USAGE:
            raw = None
        reasoning = answer.reasoning
        served = finished.served_model
        prices, note = charged(self._desk.provider, self.ask.model, served)
        return ModelAnswered(
            attempt=self.ask.attempt,
            text=await self._stored(answer.text),
            reasoning=None if reasoning is None else await self._stored(reasoning),
            tool_calls=finished.tool_calls,
            carried=None if finished.carried is None else await self._stored(finished.carried),
            finish_reason=finished.finish_reason,
            usage=usage,
            usage_raw=raw,
            # By the recorded duration, so that anybody can calculate it again.
            cost=None if prices is None else prices.cost(usage, duration_ms / 1000),
            served_model=served,
            first_token_ms=answer.first_token_ms,
            duration_ms=duration_ms,
            rhythm=answer.rhythm,
            notes=(*self._notes, *finished.notes, *((note,) if note else ())),
        )

    async def failed(self, error: ControlRoomError) -> ModelFailed:
        """The failure, with what had come by then, and what that must have cost."""
        accepted, finished = self._accepted(error), self._answer.finished
        usage = self._answer.estimated_usage(self._characters) if accepted else None
        told = finished or (error if isinstance(error, ProviderError) else None)
        if told is not None and told.usage is not None:
            usage = told.usage
        duration_ms = self._duration_ms() if self._tries else None
        return ModelFailed(
            attempt=self.ask.attempt,
            error=type(error).__name__,
            message=error.message[:LONGEST_ERROR],
            retryable=error.retryable,
            tries=max(1, self._tries),
            partial=await self._partial(),
            usage=usage,
            cost=self._cost(usage, duration_ms),
            accepted=accepted,
            duration_ms=duration_ms,
        )

    def _accepted(self, error: ControlRoomError) -> bool:
        """Whether the server may have worked on the answer."""
        told = isinstance(error, ProviderError) and error.accepted
        return told or self._answer.first is not None or self._answer.finished is not None

    async def discarded(self) -> ModelDiscarded:
        """The end of a call that was cancelled, with what it must have cost by then."""
        usage = self._answer.estimated_usage(self._characters) if self._tries else None
        duration_ms = self._duration_ms() if self._tries else None
        return ModelDiscarded(
            attempt=self.ask.attempt,
            reason="cancelled",
            partial=await self._partial(),
            usage=usage,
            cost=self._cost(usage, duration_ms),
            duration_ms=duration_ms,
        )

    def _duration_ms(self) -> float:
        """Of the last try."""
        return round((asyncio.get_running_loop().time() - self._answer.began) * 1000, 3)

    def _cost(self, usage: Usage | None, duration_ms: float | None) -> Cost | None:
        """Of what came to no answer, by the prices of what was asked."""
        prices = self._desk.provider.prices(self.ask.model)
        if usage is None or prices is None:
            return None
        return prices.cost(usage, (duration_ms or 0) / 1000)

    async def _partial(self) -> Text | None:
        text = self._answer.text
        return await self._stored(text) if text else None

    # --- long texts ----------------------------------------------------------------------------

    async def _stored(self, text: str) -> Text:
        """The text itself, or its blob where it is too long for an event."""
        if _size(text) <= SPILL:
            return text
        content = text.encode()
        pause = STORE_PAUSE
        while True:
            put: Awaitable[Blob] = asyncio.to_thread(self._desk.blobs.put, content)
            try:
                return await put
            except (ControlRoomError, OSError) as error:
                # A full disk is emptied some day, and the answer is paid for already.
                _log.error("an answer of %s cannot be stored: %s", self.ask.model, error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LAST_STORE_PAUSE)


def _loading(error: ProviderError) -> float | None:
    """Seconds for which the model may go on loading, where that is all."""
    return error.loads_within if isinstance(error, ProviderUnavailable) else None


def _check(calls: tuple[ToolCall, ...]) -> None:
    """Raise `BadResponse` where the calls of one answer are more than an event can keep."""
    size = _size([call.model_dump() for call in calls]) if len(calls) <= MOST_TOOL_CALLS else 0
    if len(calls) > MOST_TOOL_CALLS:
        many = f"one answer has {len(calls)} tool calls, more than the {MOST_TOOL_CALLS}"
    elif size > LONGEST_TOOL_CALLS:
        many = f"the tool calls of one answer have {size} bytes, more than the {LONGEST_TOOL_CALLS}"
    else:
        return
    raise BadResponse(f"{many} that an event can keep").after_work()


def _size(value: Any) -> int:
    """Bytes as JSON, in which the outcome travels."""
    return len(orjson.dumps(value, default=str))
