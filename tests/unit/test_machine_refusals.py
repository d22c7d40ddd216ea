"""The session machine: inputs that do not fit change nothing."""

from __future__ import annotations

from typing import Any

import pytest

from actors.routing.batch import Given
from actors.routing.machine import SessionMachine
from actors.routing.turn import Turn
from events.errors import Refused
from events.turns import DEADLINE
from events.types import (
    ChanceDrawn,
    Input,
    ModelDiscarded,
    ModelReasked,
    Retry,
    SessionClosed,
    SessionCreated,
    SessionPaused,
    SessionReconfigured,
    SessionResumed,
    TimerFired,
    TurnCancelled,
    TurnQueued,
    TurnStarted,
)
from events.values import Message, Semantics
from tests.sessions import START, Blobs, Driven, answered, config, failed
from tests.unit.scripted import scripted


def refused(room: Driven, data: Input, match: str, **where: Any) -> None:
    before = state_of(room)
    with pytest.raises(Refused, match=match):
        room.give(data, **where)
    assert state_of(room) == before


def state_of(room: Driven) -> Any:
    return room.machine.session.position, room.waiting, len(room.machine.session.entries)


def test_inputs_of_another_turn_reach_nobody() -> None:
    room = Driven()
    room.post()
    room.cancel()
    room.post()
    for data in (answered(), failed(), ModelReasked(attempt=2, reason="silence")):
        refused(room, data, "the turn is not open", turn="t1", step="ask:a:1")
        refused(room, data, "the turn is not open", step="ask:a:1")
        refused(room, data, "nobody was asked that", turn="t2", step="ask:a:2")
        refused(room, data, "nobody was asked that", turn="t2")
    refused(room, TimerFired(), "the turn is not open", turn="t1", step=DEADLINE)
    refused(room, TimerFired(), "no such timer", turn="t2", step="timer:x:1")
    refused(room, ChanceDrawn(value=1), "the turn is not open", turn="t1", step="draw:chance:1")
    refused(room, ChanceDrawn(value=1), "no step waits", turn="t2", step="draw:chance:1")
    discarded = ModelDiscarded(attempt=1, reason="cancelled")
    refused(room, discarded, "no such step", turn="t2", step="ask:z:1")
    room.prove()


def test_a_step_ends_once() -> None:
    async def route(turn: Turn) -> None:
        await turn.draw()
        await turn.gather(turn.ask("a"), turn.ask("b"))

    room = scripted(route)
    room.post()
    room.draw("draw:chance:1", 1)
    refused(room, ChanceDrawn(value=2), "no step waits", turn="t1", step="draw:chance:1")
    room.answer("ask:a:1")
    refused(room, answered(), "record model.discarded", turn="t1", step="ask:a:1")
    room.pause()
    room.fail("ask:b:1")
    refused(room, answered(), "record model.discarded", turn="t1", step="ask:b:1")
    room.give(ModelDiscarded(attempt=1, reason="duplicate"), turn="t1", step="ask:a:1")
    room.prove()


def test_turns_start_once_and_one_at_a_time() -> None:
    room = Driven()
    room.post()
    basis: dict[str, Any] = {"facts": room.facts, "semantics": Semantics()}
    hello = TurnStarted(message=Message(content="Hi"), **basis)
    refused(room, hello, "turn t1 is open", turn="t2")
    room.cancel()
    refused(room, hello, "was started before", turn="t1")
    refused(room, hello, "needs an id")
    refused(room, TurnStarted(**basis), "there is no message", turn="t2")
    retry = Retry(turn="t9", participant="a")
    refused(room, TurnStarted(retry=retry, **basis), "does not exist", turn="t2")
    queued = TurnQueued(message=Message(content="Hi"))
    refused(room, queued, "the turn exists", turn="t1")
    refused(room, queued, "needs an id")
    refused(room, TurnCancelled(), "neither open nor queued", turn="t1")
    refused(room, TurnCancelled(), "neither open nor queued", turn="t7")
    room.pause()
    refused(room, hello, "the session is paused", turn="t2")
    refused(room, SessionPaused(), "is paused")
    room.resume()
    refused(room, SessionResumed(), "not paused")
    refused(room, SessionCreated(config=room.config), "created before")


def test_nothing_happens_before_a_session_is_created() -> None:
    machine = SessionMachine("s1", Blobs().load)
    for data in (SessionClosed(), SessionPaused(), SessionReconfigured(config=config())):
        with pytest.raises(Refused, match="no session yet"):
            machine.advance(Given(data, "user"), START)
    assert machine.session.position == 0
