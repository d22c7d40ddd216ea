"""The session machine restored and replayed: the same again, or where it diverges."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from actors.routing.context import VERSION
from actors.routing.machine import ENGINE
from actors.routing.registry import Route
from actors.routing.steps import Answer
from actors.routing.turn import Turn
from events.envelope import Event
from events.errors import ConfigError, ReplayDiverged, StoreError, UnknownEvent
from events.turns import DEADLINE
from events.types import ModelDiscarded, ModelReasked, TurnCompleted, TurnStarted
from events.values import Blob, Message, Semantics
from tests.sessions import Driven
from tests.unit.scripted import scripted


def test_a_restored_machine_waits_for_what_the_other_waited_for() -> None:
    room = Driven(routing_pattern="voting")
    room.post()
    room.answer("ask:b:1")
    room.give(ModelReasked(attempt=2, reason="silence"), turn="t1", step="ask:a:1")
    machine = room.restored()
    assert machine.waiting == ("ask:a:1", "ask:c:1")
    assert machine.session.turns["t1"].steps["ask:a:1"].attempt == 2
    assert machine.request("ask:a:1") == room.machine.request("ask:a:1")
    room.prove()


def test_everything_that_can_happen_to_a_session_survives_a_crash_anywhere() -> None:
    async def route(turn: Turn) -> Any:
        async def patient(name: str) -> Any:
            return await turn.first(turn.ask(name, see="now"), turn.timer(30, name))

        value = await turn.draw()
        turn.decide([turn.participants[value % 3].id], "by lot")
        outcomes = await turn.gather(*(patient(p.id) for p in turn.participants))
        keep = [one for one in outcomes if isinstance(one, Answer)]
        await turn.ask("a", instruction="sum up", see="now", exclude=[k.step for k in keep[:1]])
        return "; ".join(one.text for one in keep)

    room = scripted(route)
    room.post("one")
    room.post("two")
    room.post("three")
    room.draw("draw:chance:1", 7)
    room.pause()
    room.answer("ask:c:1", "c1")
    room.fire("timer:b:1")
    room.cancel("t3")
    room.reconfigure(history="isolated")
    room.resume()
    room.fire("timer:c:1")
    room.answer("ask:a:1", "a1")
    room.answer("ask:a:2", "summed up")
    assert room.last(TurnCompleted).answer == "a1; c1"
    room.start("t2")
    room.draw("draw:chance:1", 2)
    room.give(ModelReasked(attempt=2, reason="silence"), turn="t2", step="ask:b:1")
    room.fail("ask:b:1")
    room.give(ModelDiscarded(attempt=1, reason="duplicate"), turn="t2", step="ask:b:1")
    room.pause()
    room.answer("ask:a:1", "a2")
    room.cancel()
    room.resume()
    room.retry("t1", "c")
    room.fire(DEADLINE)
    room.retry("t4", "c")
    room.answer("ask:c:1", "c once more")
    room.post("four")
    room.draw("draw:chance:1", 0)
    room.close()
    room.prove()


def test_a_router_that_does_something_else_diverges_where_it_does() -> None:
    asks = ["a", "b"]

    async def route(turn: Turn) -> Any:
        await turn.ask("a")
        return await turn.ask(asks[1])

    room = scripted(route)
    room.post()
    room.answer("ask:a:1")
    room.answer("ask:b:1")
    asks[1] = "c"
    with pytest.raises(ReplayDiverged) as diverged:
        room.replay()
    assert diverged.value.position == 5
    assert isinstance(diverged.value.expected, Event)
    assert isinstance(diverged.value.actual, Event)
    assert (diverged.value.expected.step, diverged.value.actual.step) == ("ask:b:1", "ask:c:1")


def test_a_router_that_stops_sooner_or_goes_on_longer_diverges() -> None:
    steps = 2

    async def route(turn: Turn) -> Any:
        return [await turn.ask("a") for _ in range(steps)][-1]

    room = scripted(route)
    room.post()
    room.answer("ask:a:1")
    room.answer("ask:a:2")
    steps = 1
    with pytest.raises(ReplayDiverged, match=r"position 5: .*ModelAsked.*made .*TurnCompleted"):
        room.replay()
    steps = 3
    with pytest.raises(ReplayDiverged, match=r"position 7: .*TurnCompleted.*made .*ModelAsked"):
        room.replay()


def test_a_derived_event_that_nothing_made_diverges() -> None:
    room = Driven(names="a")
    room.post()
    log = room.log
    extra = replace(log[-1], position=log[-1].position + 1, step="ask:a:2")
    with pytest.raises(ReplayDiverged) as diverged:
        room.restored([*log, extra])
    assert (diverged.value.position, diverged.value.actual) == (4, "nothing")


def test_an_input_that_cannot_have_come_diverges() -> None:
    room = Driven()
    room.post()
    room.answer("ask:a:1")
    again = replace(room.log[-1], position=room.log[-1].position + 1)
    with pytest.raises(ReplayDiverged, match=r"position 7: .*record model\.discarded"):
        room.restored([*room.log, again])


def test_a_torn_batch_diverges() -> None:
    room = Driven()
    room.post()
    with pytest.raises(ReplayDiverged) as diverged:
        room.restored(room.log[:-1])
    assert (diverged.value.position, diverged.value.expected) == (5, "the end of the log")


def test_a_turn_of_another_release_is_not_run() -> None:
    for semantics in (
        Semantics(engine=ENGINE + 1),
        Semantics(context=VERSION + 1),
        Semantics(parsers=2),
        Semantics(router=99),
    ):
        room = Driven()
        started = TurnStarted(message=Message(content="Hi"), facts=room.facts, semantics=semantics)
        with pytest.raises(UnknownEvent, match=r"use the release|replay the session with"):
            room.give(started, turn="t1")


def test_what_this_process_lacks_is_no_fault_of_the_turn() -> None:
    def missing(blob: Blob, entry: str) -> Route:
        raise StoreError("the script is not in the store")

    settings: dict[str, Any] = {"routing_pattern": "script", "script": "test:route"}
    room = Driven(source=Blob.of(b"x"), scripts=missing, **settings)
    with pytest.raises(StoreError, match="not in the store"):
        room.post()
    room = Driven(source=Blob.of(b"x"), scripts=None, **settings)
    with pytest.raises(ConfigError, match="may run none"):
        room.post()
