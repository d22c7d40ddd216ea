"""Events for the tests of the log: every type there is, and streams of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from events.envelope import Event
from events.types import (
    ModelAnswered,
    ModelAsked,
    Payload,
    TurnCancelled,
    TurnCompleted,
    TurnStarted,
)
from events.values import (
    Blob,
    ContextRule,
    Cost,
    Message,
    Parameters,
    Semantics,
    Usage,
)
from tests.payload_samples import COUNTS, IDS, PAYLOAD_STRATEGIES, TEXT, maybe

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@st.composite
def events(draw: st.DrawFn, payloads: SearchStrategy[Any] | None = None) -> Event:
    """Any event that can be stored."""
    data = draw(payloads if payloads is not None else st.one_of(*PAYLOAD_STRATEGIES.values()))
    return Event(
        stream=draw(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1,
                            max_size=40)),
        position=draw(st.integers(1, 2**63 - 1)),
        at=NOON + draw(st.timedeltas(timedelta(days=-9999), timedelta(days=9999))),
        by=draw(TEXT),
        data=data,
        command=draw(maybe(TEXT)),
        turn=draw(maybe(IDS)),
        step=draw(maybe(TEXT)),
        cause=draw(maybe(COUNTS)),
    )  # fmt: skip


# --- streams ----------------------------------------------------------------------------------


def event(stream: str, position: int, data: Payload, turn: str | None = None) -> Event:
    return Event(
        stream,
        position,
        NOON + timedelta(seconds=position),
        "user:ada",
        data,
        command=f"command-{position}",
        turn=turn,
        cause=position - 1 or None,
    )


def answered(text: str = "Measure twice, cut once.") -> ModelAnswered:
    return ModelAnswered(
        attempt=1,
        text=text,
        finish_reason="stop",
        usage=Usage(input=900, output=120),
        usage_raw={"prompt_tokens": 900, "completion_tokens": 120, "details": {"cached": 0}},
        cost=Cost(amount=Decimal("0.00123"), prices="2026-11"),
        first_token_ms=231.5,
        duration_ms=1834.0,
        rhythm=(0, 8, 20, 16),
    )


def asked(participant: str = "architect") -> ModelAsked:
    return ModelAsked(
        participant=participant,
        provider="openai",
        model="gpt-4",
        purpose="answer",
        context=ContextRule(upto=1),
        parameters=Parameters(temperature=0.7, max_tokens=2000),
        digest="ab" * 32,
    )


def started(text: str = "How do we begin?") -> TurnStarted:
    return TurnStarted(message=Message(content=text), facts=Blob.of(b"{}"), semantics=Semantics())


def batch(stream: str, after: int, *payloads: Payload, turn: str | None = None) -> list[Event]:
    """Events of those payloads at the positions behind `after`."""
    return [event(stream, after + n, data, turn) for n, data in enumerate(payloads, 1)]


def notes(stream: str, after: int, *texts: str) -> list[Event]:
    """Events that say those texts."""
    return batch(stream, after, *(TurnCancelled(reason=text) for text in texts))


def said(stored: Sequence[Event]) -> list[str]:
    """What events made by `notes` say."""
    return [one.data.reason for one in stored if isinstance(one.data, TurnCancelled)]


def turn_of(stream: str, after: int, turn: str, participants: int = 2) -> list[Event]:
    """A whole turn: started, everybody asked, everybody answered, completed."""
    return batch(
        stream,
        after,
        started(),
        *(asked(f"model_{n}") for n in range(participants)),
        *(answered(f"Answer {n} in {turn}. " + "Word. " * 20) for n in range(participants)),
        TurnCompleted(answer_from="ask:model_0:1"),
        turn=turn,
    )
