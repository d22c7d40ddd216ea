"""Logs of every kind of session, to replay as they are and changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from events.envelope import Event
from events.turns import DEADLINE
from events.types import Derived, ModelReasked, TimerFired
from projections.replay import Replay, verify
from tests.session_logs import SessionLog, answered, failed, session_config


def run(log: SessionLog, events: Sequence[Event] | None = None) -> Replay:
    return verify(log.events if events is None else events, log.load)


def broadcast() -> SessionLog:
    log = SessionLog(session_config())
    log.post("one")
    log.play(random=Random(1))
    log.post("two")
    log.outcome("ask:bob:1", failed())
    log.play()
    return log


def coordinator() -> SessionLog:
    log = SessionLog(session_config(pattern="coordinator"))
    log.post("one")
    log.play()
    log.post("two")
    log.outcome("ask:ada:1", answered("no plan at all"))
    log.play()
    return log


def voting() -> SessionLog:
    log = SessionLog(session_config(pattern="voting"))
    log.post("one")
    log.play(random=Random(3))
    return log


def debate() -> SessionLog:
    log = SessionLog(session_config(pattern="round_robin", rounds=2))
    log.post("one")
    log.play()
    return log


def one_after_another() -> SessionLog:
    log = SessionLog(session_config(pattern="round_robin"))
    for text in ("one", "two", "three", "four"):
        log.post(text)
        log.play()
    return log


def eventful() -> SessionLog:
    """Retries, queued and cancelled turns, a pause, a new configuration, a deadline, long texts."""
    log = SessionLog(session_config())
    first = log.post("one")
    log.post("queued")
    unwanted = log.post("queued and called off")
    log.cancel(unwanted, "never mind")
    log.outcome("ask:ada:1", answered(log.blobs.put(b"long " * 20_000)))
    log.pause()
    log.outcome("ask:cyd:1", answered("while paused"))
    log.resume()
    log.outcome("ask:bob:1", ModelReasked(attempt=2, reason="nothing was heard"))
    log.outcome("ask:bob:1", failed(attempt=2))
    log.play()
    log.retry(first, "bob")
    log.play()
    log.retry(first, "ada")
    log.play()
    log.reconfigure(models=[m.model_dump() for m in log.config.models[:2]], title="smaller")
    slow = log.post("too slow")
    log.outcome("ask:ada:1", answered("just in time"))
    log.give(TimerFired(), slow, DEADLINE)
    log.cancel(log.post("away with it"))
    log.post("open when closed")
    log.post("queued when closed")
    log.close()
    return log


KINDS = [broadcast, coordinator, voting, debate, one_after_another, eventful]
every_kind = pytest.mark.parametrize("make", KINDS)


def with_data(log: SessionLog, type: type[Derived], **changes: Any) -> tuple[list[Event], Event]:
    """The log with its last event of that type changed, and that event as it was."""
    events = log.events
    index = max(i for i, event in enumerate(events) if isinstance(event.data, type))
    true = events[index]
    events[index] = replace(true, data=true.data.model_copy(update=changes))
    return events, true
