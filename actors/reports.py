"""What the models that run say of themselves, to whoever asks all their hosts at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any, Literal
from uuid import uuid4

from pydantic import TypeAdapter, ValidationError

from actors import subjects
from actors.bus import Bus, Msg
from events.values import Value

_log = logging.getLogger(__name__)

QUIET, LONGEST = 0.2, 1.0  # seconds without a further answer, and in all


class BreakerReport(Value):
    """Whether a model is asked, its failures in a row, and the seconds until it is tried."""

    state: Literal["closed", "open", "half-open"]
    failures: int
    seconds: float


class ModelReport(Value):
    """One actor of a model: calls by what becomes of them, and what holds back further ones.

    `held_for` is how many seconds its provider takes no call, as far as that is known.
    """

    provider: str
    model: str
    running: int
    waiting: int
    answered: int
    failed: int
    held_for: float
    breaker: BreakerReport


class Question(Value):
    """Who wants to know; every host answers to that subject."""

    reply: str


_REPORTS = TypeAdapter(tuple[ModelReport, ...])


async def tell(bus: Bus, msg: Msg, health: Iterable[Mapping[str, Any]]) -> None:
    """Answer for one host, by what its actors give as their health."""
    try:
        question = Question.model_validate_json(msg.data)
    except ValidationError:
        _log.warning("a question for reports is malformed")
        return
    if not question.reply.startswith(subjects.REPORTED):
        return
    reports = tuple(
        ModelReport.model_validate({name: one[name] for name in ModelReport.model_fields})
        for one in health
    )
    await bus.publish(question.reply, _REPORTS.dump_json(reports))


async def collect(bus: Bus) -> tuple[ModelReport, ...]:
    """The report of every actor of a model that runs now; a host that is late is left out."""
    came: asyncio.Queue[bytes] = asyncio.Queue()
    reply = f"{subjects.REPORTED}{uuid4().hex}"
    subscription = await bus.subscribe(reply, lambda msg: came.put_nowait(msg.data))
    reports: list[ModelReport] = []
    try:
        async with asyncio.timeout(LONGEST):
            await bus.publish(subjects.REPORT, Question(reply=reply))
            while True:
                async with asyncio.timeout(QUIET):
                    data = await came.get()
                reports += _REPORTS.validate_json(data)
    except TimeoutError:
        return tuple(sorted(reports, key=lambda one: (one.provider, one.model)))
    finally:
        await subscription.unsubscribe()
