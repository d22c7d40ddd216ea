"""A log to measure on: sessions of five participants, written by the session machine."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from itertools import cycle

from actors.routing.batch import Given
from actors.routing.machine import SessionMachine
from events.blobs import MemoryBlobs
from events.config import SessionConfig
from events.envelope import Event, now
from events.types import ModelAnswered, SessionCreated, TurnStarted
from events.values import Blob, Cost, Message, Semantics, Usage

WORDS = (
    "the river carries stones slowly down towards the open water, where it comes to rest".split()
)
ANSWER = 120  # words
PARTICIPANTS = 5


def sessions(count: int, turns: int, blobs: MemoryBlobs) -> list[list[list[Event]]]:
    """The batches of `count` sessions of so many broadcast turns each: 12 events a turn."""
    facts = blobs.put(b"{}", "application/json")
    return [_session(f"bench_{number}", turns, blobs, facts) for number in range(count)]


def _session(id: str, turns: int, blobs: MemoryBlobs, facts: Blob) -> list[list[Event]]:
    config = SessionConfig.model_validate(
        {
            "session_id": id,
            "models": [
                {"id": f"model_{n}", "provider": "acme", "model_name": f"m{n}", "role": f"role {n}"}
                for n in range(PARTICIPANTS)
            ],
        }
    )
    machine = SessionMachine(id, partial(_load, blobs))
    words = cycle(WORDS)
    batches = [machine.advance(Given(SessionCreated(config=config), "bench"), now())]
    for number in range(1, turns + 1):
        turn = f"t{number}"
        started = TurnStarted(
            message=Message(content=" ".join(next(words) for _ in range(20))),
            facts=facts,
            semantics=Semantics(),
        )
        batches.append(machine.advance(Given(started, "bench", turn=turn), now()))
        for step in machine.waiting:
            text = " ".join(next(words) for _ in range(ANSWER))
            given = Given(_answer(text), "bench", turn=turn, step=step)
            batches.append(machine.advance(given, now()))
    return batches


def _answer(text: str) -> ModelAnswered:
    return ModelAnswered(
        attempt=1,
        text=text,
        finish_reason="stop",
        usage=Usage(input=640, cache_read=512, output=180),
        usage_raw={"prompt_tokens": 1152, "completion_tokens": 180},
        cost=Cost(amount=Decimal("0.00341"), prices="bench"),
        served_model="m",
        first_token_ms=213.4,
        duration_ms=4310.7,
        rhythm=tuple(number for at in range(0, 4200, 100) for number in (at, 18)),
    )


def _load(blobs: MemoryBlobs, blob: Blob) -> str:
    return blobs.get(blob).decode()


def events(batches: Sequence[Sequence[Sequence[Event]]]) -> int:
    """How many events there are."""
    return sum(len(batch) for session in batches for batch in session)
