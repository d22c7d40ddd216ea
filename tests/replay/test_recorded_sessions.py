"""Sessions that were recorded once replay for ever, event for event."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import orjson
import pytest

from actors.routing import coordinator
from actors.routing.registry import ROUTERS
from actors.routing.steps import Answer
from actors.routing.turn import Turn
from actors.scripts import load
from events.config import Pattern
from events.envelope import Event
from events.errors import ReplayDiverged
from events.types import PAYLOADS, ModelAsked, RouteDecided, TurnCompleted
from tests.recorded import Recorded, dumps, read
from tests.replay.record import RECORDED
from tests.sessions import Blobs, replay

FOLDER = Path(__file__).parent / "sessions"
NAMES = sorted(path.stem for path in FOLDER.glob("*.jsonl"))


def run(recorded: Recorded) -> int:
    """Replay a session; returns how many events were made again and found equal."""
    blobs = Blobs()
    blobs.contents |= recorded.contents
    machine = replay(
        recorded.events[0].stream,
        recorded.events,
        blobs,
        lambda blob, entry: load(recorded.contents[blob.sha256], entry),
    )
    return machine.session.position


@pytest.mark.parametrize("name", NAMES)
def test_a_recorded_session_replays(name: str) -> None:
    recorded = read(FOLDER / f"{name}.jsonl")
    assert run(recorded) == len(recorded.events) > 15


@pytest.mark.parametrize("name", NAMES)
def test_a_recorded_session_is_read_as_it_was_written(name: str) -> None:
    path = FOLDER / f"{name}.jsonl"
    recorded = read(path)
    again = dumps(recorded.about, recorded.events, recorded.contents)
    for now, then in zip(again.splitlines(), path.read_bytes().splitlines(), strict=True):
        assert_holds(orjson.loads(now), orjson.loads(then))


def assert_holds(now: Any, then: Any) -> None:
    """What was written is there as it was; what releases since then added to it says nothing."""
    if isinstance(then, dict):
        assert then.keys() <= now.keys()
        for key, value in now.items():
            if key in then:
                assert_holds(value, then[key])
            else:
                assert not value, f"{key} says something that was not written"
    elif isinstance(then, list):
        assert len(now) == len(then)
        for one, other in zip(now, then, strict=True):
            assert_holds(one, other)
    else:
        assert now == then


def test_the_recorded_sessions_hold_every_event_that_replay_makes() -> None:
    assert {session.__name__ for session in RECORDED} <= set(NAMES)
    recorded = [event for name in NAMES for event in read(FOLDER / f"{name}.jsonl").events]
    made = {payload.type for payload in PAYLOADS if payload.kind == "derived"}
    assert made - {event.type for event in recorded} == set()


Route = Callable[[Turn], Coroutine[Any, Any, Any]]


async def backwards(turn: Turn) -> Answer | None:
    """A broadcast that asks the last one first."""
    outcomes = await turn.gather(*(turn.ask(p.id) for p in reversed(turn.participants)))
    answers = [outcome for outcome in outcomes if isinstance(outcome, Answer)]
    return answers[0] if len(answers) == 1 else None


async def favours(turn: Turn) -> Any:
    """A broadcast that takes the first answer for the turn's."""
    outcomes = await turn.gather(*(turn.ask(p.id) for p in turn.participants))
    return next((outcome for outcome in outcomes if isinstance(outcome, Answer)), None)


async def whispers(turn: Turn) -> Any:
    """A broadcast with another instruction: only what is asked differs, not who."""
    await turn.gather(*(turn.ask(p.id, instruction="Be brief.") for p in turn.participants))


async def stops(turn: Turn) -> Any:
    """A coordinator that does not join the answers."""
    chosen = await coordinator._plan(turn, turn.participants[0].id)
    await turn.gather(*(turn.ask(participant) for participant in chosen))


async def crowns(turn: Turn) -> Any:
    """A vote that is not held."""
    proposals = await turn.gather(*(turn.ask(p.id, purpose="proposal") for p in turn.participants))
    return proposals[0]


def diverged(recorded: Recorded) -> tuple[int, Event, Event]:
    """Where a replay diverges, what the log holds there, and what was made instead."""
    with pytest.raises(ReplayDiverged, match=r"the log holds .*, replay made ") as caught:
        run(recorded)
    found = caught.value
    assert isinstance(found.expected, Event)
    assert isinstance(found.actual, Event)
    assert found.expected == recorded.events[found.position - 1]
    assert found.actual.position == found.position
    return found.position, found.expected, found.actual


@pytest.mark.parametrize(
    ("pattern", "doctored", "where"),
    [
        ("broadcast", backwards, (3, "model.asked ask:ada:1", "model.asked ask:cyd:1")),
        ("broadcast", whispers, (3, "model.asked ask:ada:1", "model.asked ask:ada:1")),
        ("broadcast", favours, (9, "turn.completed None", "turn.completed None")),
        ("coordinator", stops, (12, "model.asked ask:ada:3", "turn.completed None")),
        ("voting", crowns, (9, "model.asked ask:ada:2", "turn.completed None")),
    ],
)
def test_a_doctored_router_diverges_where_it_does_something_else(
    monkeypatch: pytest.MonkeyPatch,
    pattern: Pattern,
    doctored: Route,
    where: tuple[int, str, str],
) -> None:
    monkeypatch.setitem(ROUTERS, (pattern, 1), doctored)
    position, expected, actual = diverged(read(FOLDER / f"{pattern}.jsonl"))
    told = [f"{event.type} {event.step}" for event in (expected, actual)]
    assert (position, *told) == where


def test_a_divergence_says_what_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = read(FOLDER / "broadcast.jsonl")
    monkeypatch.setitem(ROUTERS, ("broadcast", 1), favours)
    _, expected, actual = diverged(recorded)
    assert expected.data == TurnCompleted()
    assert actual.data == TurnCompleted(answer_from="ask:ada:1")
    monkeypatch.setitem(ROUTERS, ("broadcast", 1), whispers)
    _, expected, actual = diverged(recorded)
    assert isinstance(expected.data, ModelAsked)
    assert isinstance(actual.data, ModelAsked)
    assert (expected.data.instruction, actual.data.instruction) == (None, "Be brief.")
    assert expected.data.digest != actual.data.digest


def test_a_script_that_was_changed_after_the_fact_diverges() -> None:
    recorded = read(FOLDER / "lottery.jsonl")
    contents = {
        sha: text.replace(b"number % len(ids)", b"(number + 1) % len(ids)")
        for sha, text in recorded.contents.items()
    }
    position, expected, _ = diverged(Recorded(recorded.about, recorded.events, contents))
    assert position == 4
    assert isinstance(expected.data, RouteDecided)
