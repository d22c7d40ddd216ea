"""The session machine: what follows from each input, live, restored and replayed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from actors.routing.batch import Given
from actors.routing.machine import SessionMachine
from actors.routing.registry import Route
from actors.routing.steps import Answer, Failure
from actors.routing.turn import Turn
from events.envelope import Event
from events.errors import ConfigError, Refused, ReplayDiverged, StoreError, UnknownEvent
from events.session import DEADLINE
from events.types import (
    ChanceDrawn,
    Input,
    ModelAnswered,
    ModelCancelled,
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
    TurnCompleted,
    TurnFailed,
    TurnQueued,
    TurnStarted,
)
from events.values import SPILL, Blob, Message, Semantics
from tests.sessions import START, Blobs, Driven, answered, config, failed


def scripted(route: Callable[[Turn], Any], **changes: Any) -> Driven:
    """A session whose router is `route`."""
    settings = {"routing_pattern": "script", "script": "test:route"} | changes
    script = Blob.of(b"source of test:route", "application/json")
    return Driven(source=script, scripts=lambda _blob, _entry: route, **settings)


# --- the queue -------------------------------------------------------------------------------


def test_a_message_behind_an_open_turn_waits_its_turn() -> None:
    room = Driven()
    room.post("one")
    assert room.post("two") == "turn.queued"
    assert room.post("three") == "turn.queued"
    session = room.machine.session
    assert session.queue == ["t2", "t3"]
    for name in "abc":
        room.answer(f"ask:{name}:1", f"{name} on one")
    assert room.start("t2").startswith("turn.started model.asked(ask:a:1)")
    assert session.queue == ["t3"]
    assert room.machine.request("ask:b:1")[1][-1][1].endswith("[C (c)]: c on one\n\ntwo")
    room.prove()


def test_a_queued_turn_can_be_cancelled_and_the_open_one_goes_on() -> None:
    room = Driven()
    room.post()
    room.post()
    room.post()
    assert room.cancel("t2") == "turn.cancelled"
    session = room.machine.session
    assert (session.queue, session.open and session.open.id) == (["t3"], "t1")
    assert room.answer("ask:a:1") == "model.answered(ask:a:1)"
    room.cancel("t1")
    room.cancel("t3")
    assert (session.queue, session.open) == ([], None)
    assert [turn.status for turn in session.turns.values()] == ["cancelled"] * 3
    room.prove()


# --- pause -----------------------------------------------------------------------------------


def test_a_paused_session_records_outcomes_and_issues_nothing_until_resumed() -> None:
    room = Driven(routing_pattern="coordinator", coordinator="a")
    room.post()
    room.pause()
    assert list(room.waiting) == ["ask:a:1"]
    assert room.answer("ask:a:1", "everyone") == "model.answered(ask:a:1)"
    assert list(room.waiting) == []
    assert room.resume() == (
        "session.resumed route.decided model.asked(ask:b:1) model.asked(ask:c:1)"
    )
    room.prove()


def test_held_outcomes_are_fed_in_their_order() -> None:
    async def route(turn: Turn) -> str:
        async def tell(name: str) -> None:
            await turn.ask(name)
            said.append(name)

        said: list[str] = []
        await turn.gather(*(tell(p.id) for p in turn.participants))
        return "".join(said)

    room = scripted(route)
    room.post()
    room.pause()
    for name in "cab":
        room.answer(f"ask:{name}:1")
    assert room.resume() == "session.resumed turn.completed"
    assert room.last(TurnCompleted).answer == "cab"
    room.prove()


def test_pauses_follow_each_other() -> None:
    room = Driven(names="ab", routing_pattern="round_robin", rounds=2)
    room.post()
    for step, following in (("ask:a:1", "ask:b:1"), ("ask:b:1", "ask:a:2"), ("ask:a:2", "ask:b:2")):
        room.pause()
        assert room.answer(step) == f"model.answered({step})"
        assert room.resume() == f"session.resumed route.decided model.asked({following})"
    room.prove()


def test_a_turn_called_off_in_a_pause_cancels_only_what_has_not_come() -> None:
    room = Driven()
    room.post()
    room.pause()
    room.answer("ask:b:1", "paid for")
    assert room.cancel() == "turn.cancelled model.cancelled(ask:a:1) model.cancelled(ask:c:1)"
    turn = room.machine.session.turns["t1"]
    assert isinstance(turn.steps["ask:b:1"].outcome, ModelAnswered)
    assert room.resume() == "session.resumed"
    assert room.post().startswith("turn.started")
    assert room.waiting == ("ask:a:1", "ask:b:1", "ask:c:1")
    room.prove()


def test_an_answer_that_came_in_a_pause_is_not_cancelled_when_it_loses() -> None:
    async def route(turn: Turn) -> Any:
        return await turn.first(turn.ask("a"), turn.ask("b"), turn.ask("c"))

    room = scripted(route)
    room.post()
    room.pause()
    room.answer("ask:b:1", "first")
    room.answer("ask:a:1", "second")
    assert room.resume() == "session.resumed model.cancelled(ask:c:1) turn.completed"
    assert room.last(TurnCompleted).answer_from == "ask:b:1"
    room.prove()


def test_a_turn_that_ends_with_the_first_held_outcome_leaves_the_others() -> None:
    async def route(turn: Turn) -> Any:
        turn.ask("b")
        return await turn.ask("a")

    room = scripted(route)
    room.post()
    room.post()
    room.pause()
    room.answer("ask:a:1")
    room.answer("ask:b:1")
    assert room.resume() == "session.resumed turn.completed"
    assert room.start("t2").endswith("model.asked(ask:b:1) model.asked(ask:a:1)")
    assert room.waiting == ("ask:b:1", "ask:a:1")
    room.prove()


def test_chance_and_timers_are_held_in_a_pause_too() -> None:
    async def route(turn: Turn) -> str:
        value, _ = await turn.gather(turn.draw(), turn.timer(5))
        return str(value)

    room = scripted(route)
    assert room.post() == "turn.started timer.set(timer:timer:1)"
    assert list(room.machine.draws) == ["draw:chance:1"]
    room.pause()
    assert room.draw("draw:chance:1", 4) == "chance.drawn(draw:chance:1)"
    assert list(room.machine.draws) == []
    room.fire("timer:timer:1")
    assert room.resume() == "session.resumed turn.completed"
    assert room.last(TurnCompleted).answer == "4"
    room.prove()


# --- time ------------------------------------------------------------------------------------


def test_the_deadline_cancels_what_is_open_and_fails_the_turn() -> None:
    room = Driven(deadline=90)
    room.post()
    room.answer("ask:b:1")
    assert room.fire(DEADLINE) == (
        "timer.fired(deadline) model.cancelled(ask:a:1) model.cancelled(ask:c:1) turn.failed"
    )
    end = room.last(TurnFailed)
    assert end.reason == "deadline"
    assert "deadline of 90 s" in end.message
    assert {data.reason for data in room.data(ModelCancelled)} == {"turn_ended"}
    assert room.waiting == ()
    room.prove()


def test_clocks_stand_still_in_a_pause() -> None:
    async def route(turn: Turn) -> None:
        await turn.timer(10)

    room = scripted(route, deadline=100)

    def left(seconds: float) -> dict[str, float]:
        at = START + timedelta(seconds=seconds)
        return {key: timer.remaining(at) for key, timer in room.machine.timers.items()}

    room.give(
        TurnStarted(
            message=Message(content="Hi"), facts=room.facts, semantics=Semantics(script=room.source)
        ),
        turn="t1",
        at=START,
    )
    assert left(4) == {DEADLINE: 96, "timer:timer:1": 6}
    room.give(SessionPaused(), at=START + timedelta(seconds=4))
    assert left(50) == {DEADLINE: 96, "timer:timer:1": 6}
    room.give(SessionResumed(), at=START + timedelta(seconds=54))
    assert left(55) == {DEADLINE: 95, "timer:timer:1": 5}
    assert left(1000) == {DEADLINE: 0, "timer:timer:1": 0}
    assert left(0) == {DEADLINE: 96, "timer:timer:1": 6}  # a clock that was put back
    room.prove()


def test_a_deadline_does_not_pass_in_a_pause() -> None:
    room = Driven()
    room.post()
    room.pause()
    with pytest.raises(Refused, match="stands still"):
        room.fire(DEADLINE)
    room.resume()
    assert room.fire(DEADLINE).endswith("turn.failed")
    room.prove()


def test_a_timer_that_lost_its_race_may_fire() -> None:
    async def route(turn: Turn) -> Any:
        await turn.first(turn.ask("a"), turn.timer(5, "patience"))
        return await turn.ask("b")

    room = scripted(route)
    room.post()
    assert room.answer("ask:a:1") == "model.answered(ask:a:1) model.asked(ask:b:1)"
    assert "timer:patience:1" not in room.machine.timers
    assert room.fire("timer:patience:1") == "timer.fired(timer:patience:1)"
    with pytest.raises(Refused, match="no such timer"):
        room.fire("timer:patience:1")
    assert room.answer("ask:b:1").endswith("turn.completed")
    room.prove()


def test_a_timer_that_wins_cancels_the_call() -> None:
    async def route(turn: Turn) -> Any:
        await turn.first(turn.ask("a"), turn.timer(5))
        return await turn.ask("b")

    room = scripted(route)
    room.post()
    assert room.fire("timer:timer:1") == (
        "timer.fired(timer:timer:1) model.cancelled(ask:a:1) model.asked(ask:b:1)"
    )
    assert room.last(ModelCancelled).reason == "race_lost"
    with pytest.raises(Refused, match=r"record model\.discarded"):
        room.answer("ask:a:1")
    room.give(ModelDiscarded(attempt=1, reason="cancelled"), turn="t1", step="ask:a:1")
    room.prove()


# --- retry and reconfigure -------------------------------------------------------------------


def test_a_retry_asks_one_participant_what_it_was_asked_then() -> None:
    room = Driven()
    room.post("one")
    for name in "abc":
        room.answer(f"ask:{name}:1", f"{name} on one")
    room.post("two")
    for name in "abc":
        room.answer(f"ask:{name}:1", f"{name} on two")
    assert room.retry("t1", "b") == "turn.started model.asked(ask:b:1)"
    asked, messages = room.machine.request("ask:b:1")
    assert asked.digest == room.asked("ask:b:1", "t1").digest
    assert [text for _, text in messages[1:]] == ["one"]
    assert room.answer("ask:b:1", "b once more") == "model.answered(ask:b:1) turn.completed"
    assert room.last(TurnCompleted).answer_from == "ask:b:1"
    entries = [(entry.content, entry.superseded_at) for entry in room.machine.session.entries]
    again = room.log[-2].position
    assert entries == [
        ("one", None),
        ("a on one", None),
        ("b on one", again),
        ("b once more", None),
        ("c on one", None),
        ("two", None),
        ("a on two", None),
        ("b on two", None),
        ("c on two", None),
    ]
    room.post("three")
    said = room.machine.request("ask:a:1")[1]
    assert "b once more" in str(said)
    assert "b on one" not in str(said)
    room.prove()


def test_a_retry_of_a_retry_goes_back_to_the_first_question() -> None:
    room = Driven()
    room.post("one")
    for name in "abc":
        room.answer(f"ask:{name}:1", f"{name}1")
    room.retry("t1", "b")
    room.answer("ask:b:1", "b2")
    room.retry("t2", "b")
    room.answer("ask:b:1", "b3")
    room.retry("t1", "b")
    room.answer("ask:b:1", "b4")
    digests = {room.asked("ask:b:1", turn).digest for turn in ("t1", "t2", "t3", "t4")}
    assert len(digests) == 1
    shown = [e.content for e in room.machine.session.entries if e.superseded_at is None]
    assert shown == ["one", "a1", "b4", "c1"]
    hidden = [e.content for e in room.machine.session.entries if e.superseded_at is not None]
    assert hidden == ["b1", "b2", "b3"]
    room.prove()


def test_a_participant_that_failed_can_be_asked_again() -> None:
    room = Driven()
    room.post("one")
    room.answer("ask:a:1", "a1")
    room.fail("ask:b:1")
    room.answer("ask:c:1", "c1")
    room.retry("t1", "b")
    assert room.fail("ask:b:1") == "model.failed(ask:b:1) turn.failed"
    room.retry("t2", "b")
    assert room.answer("ask:b:1", "b at last").endswith("turn.completed")
    assert [e.content for e in room.machine.session.entries] == ["one", "a1", "c1", "b at last"]
    assert all(e.superseded_at is None for e in room.machine.session.entries)
    room.prove()


def test_a_retry_leaves_out_what_was_left_out_and_keeps_the_window() -> None:
    async def route(turn: Turn) -> Any:
        await turn.gather(turn.ask("a"), turn.ask("b"))
        return await turn.ask("c", see="now", exclude=["ask:a:1"])

    room = scripted(route, window=2)
    room.post("one")
    room.answer("ask:a:1", "not for c")
    room.answer("ask:b:1", "for c")
    room.answer("ask:c:1", "c1")
    room.reconfigure(window=None)
    room.retry("t1", "c")
    asked, messages = room.machine.request("ask:c:1")
    assert asked.digest == room.asked("ask:c:1", "t1").digest
    assert asked.context == room.asked("ask:c:1", "t1").context
    assert messages[-1] == ("user", "one\n\n[B (b)]: for c")
    room.prove()


def test_a_retry_runs_on_the_configuration_of_now() -> None:
    room = Driven(names="ab")
    room.post()
    room.answer("ask:a:1")
    room.fail("ask:b:1")
    models = [model.model_dump(mode="json") for model in room.config.models]
    models[1]["model_name"] = "a better one"
    room.reconfigure(models=models)
    room.retry("t1", "b")
    assert room.asked("ask:b:1").model == "a better one"
    room.answer("ask:b:1")
    room.reconfigure(models=models[:1])
    assert room.retry("t1", "b") == "turn.started turn.failed"
    assert "'b' is not a participant" in room.last(TurnFailed).message
    room.prove()


def test_a_retry_of_somebody_who_was_never_asked_fails() -> None:
    room = Driven(routing_pattern="round_robin")
    room.post()
    room.answer("ask:a:1")
    assert room.retry("t1", "b") == "turn.started turn.failed"
    assert room.last(TurnFailed).message == "b was not asked for an answer in t1"
    room.prove()


def test_a_new_configuration_takes_effect_with_the_next_turn() -> None:
    room = Driven(names="ab", routing_pattern="round_robin", rounds=1, max_steps=50)
    room.post("one")
    room.post("two")
    room.reconfigure(routing_pattern="broadcast", deadline=5, max_steps=1)
    assert room.answer("ask:a:1") == (
        "model.answered(ask:a:1) route.decided model.asked(ask:b:1)"  # a second step, still
    )
    room.answer("ask:b:1")
    room.reconfigure(max_steps=9)
    assert room.start("t2") == "turn.started model.asked(ask:a:1) model.asked(ask:b:1)"
    assert room.machine.timers[DEADLINE].seconds == 5
    room.prove()


# --- close -----------------------------------------------------------------------------------


def test_a_closed_session_takes_nothing_more() -> None:
    room = Driven()
    room.post()
    room.cancel()
    room.close()
    for refused in (room.post, room.pause, room.resume, lambda: room.reconfigure(rounds=1)):
        with pytest.raises(Refused, match="the session is closed"):
            refused()
    assert room.machine.session.status == "closed"
    room.prove()


def test_a_turn_that_is_open_when_its_session_closes_ends_in_its_own_way() -> None:
    room = Driven(routing_pattern="coordinator", coordinator="a")
    room.post()
    room.post()
    room.pause()
    room.answer("ask:a:1", "everyone")
    assert room.close() == "session.closed route.decided model.asked(ask:b:1) model.asked(ask:c:1)"
    assert room.machine.timers[DEADLINE].armed_at == room.log[-1].at
    room.answer("ask:b:1")
    room.fail("ask:c:1")
    assert room.machine.session.turns["t1"].status == "completed"
    room.cancel("t2")
    assert room.machine.session.queue == []
    room.prove()


# --- what a router returns and raises --------------------------------------------------------


def ends(route: Callable[[Turn], Any]) -> TurnCompleted | TurnFailed:
    """How a turn ends in which a and b answer `yes` to whatever they are asked."""
    room = scripted(route)
    room.post()
    while room.waiting:
        room.answer(room.waiting[0])
    room.prove()
    end = room.log[-1].data
    assert isinstance(end, TurnCompleted | TurnFailed)
    return end


def returning(make: Callable[[Answer], Any]) -> Callable[[Turn], Any]:
    async def route(turn: Turn) -> Any:
        outcome = await turn.ask("a")
        assert isinstance(outcome, Answer)
        return make(outcome)

    return route


def test_what_a_router_returns_is_the_answer() -> None:
    assert ends(returning(lambda answer: answer)) == TurnCompleted(answer_from="ask:a:1")
    assert ends(returning(lambda answer: answer.text.upper())) == TurnCompleted(answer="YES")
    assert ends(returning(lambda answer: None)) == TurnCompleted()
    assert ends(returning(lambda answer: "")) == TurnCompleted(answer="")


def test_an_answer_that_the_router_changed_is_its_own_words() -> None:
    assert ends(returning(lambda answer: replace(answer, text="mine"))) == TurnCompleted(
        answer="mine"
    )
    assert ends(returning(lambda answer: replace(answer, step="ask:z:9"))) == TurnCompleted(
        answer="yes"
    )


def test_a_long_answer_of_the_router_is_a_blob_to_store() -> None:
    async def route(turn: Turn) -> str:
        return "é" * SPILL

    machine = scripted(route)
    given = Given(
        TurnStarted(
            message=Message(content="Hi"),
            facts=machine.facts,
            semantics=Semantics(script=machine.source),
        ),
        "user",
        turn="t1",
    )
    end = machine.machine.advance(given, START)[-1].data
    assert isinstance(end, TurnCompleted)
    assert isinstance(end.answer, Blob)
    assert machine.machine.texts.made == {end.answer.sha256: ("é" * SPILL).encode()}


def test_a_failure_is_no_answer() -> None:
    async def route(turn: Turn) -> Any:
        return await turn.ask("a")

    room = scripted(route)
    room.post()
    room.fail("ask:a:1", "no key")
    assert room.last(TurnFailed).reason == "nobody_answered"
    assert room.last(TurnFailed).message == "nobody answered: a: no key"
    assert ends(returning(lambda answer: Failure("a", answer.step, "X", "x"))) == TurnCompleted()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (True, "the router returned bool: return an Answer, a str or None"),
        (("a", "b"), "the router returned tuple: return an Answer, a str or None"),
        ("\ud800", "an answer is not valid Unicode (a lone surrogate)"),
        (Answer("a", "ask:a:1", 5), "the text of an answer is a str, not int"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_answer_is_a_fault(value: Any, message: str) -> None:
    end = ends(returning(lambda answer: value))
    assert end == TurnFailed(reason="router_fault", message=message)


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (KeyError("x"), "KeyError: 'x'"),
        (ValueError(object()), "ValueError: <object object at 0x...>"),
        (ValueError("\ud800 half"), "ValueError: ? half"),
        (ValueError("x" * 9000), "ValueError: " + "x" * 3988),
        (Unspeakable(), "Unspeakable: (its message could not be read)"),
        (SystemExit(1), "the router raised SystemExit"),
        (asyncio.CancelledError(), "the router raised CancelledError"),
    ],
)
def test_what_a_router_raises_is_told_the_same_in_every_process(
    error: BaseException, message: str
) -> None:
    def fault(answer: Answer) -> None:
        raise error

    assert ends(returning(fault)) == TurnFailed(reason="router_fault", message=message)


def test_a_router_that_recurses_without_end_is_told_the_same_at_every_depth() -> None:
    def deeper(answer: Answer) -> Any:
        return deeper(answer)

    message = "RecursionError: it recursed too deeply"
    assert ends(returning(deeper)) == TurnFailed(reason="router_fault", message=message)


def test_what_is_no_router_is_a_fault() -> None:
    def plain(turn: Turn) -> str:
        return "not async"

    async def generator(turn: Turn) -> Any:
        yield turn

    def bad(turn: Turn) -> None:
        raise SystemExit

    for route in (plain, generator):
        end = ends(route)
        assert isinstance(end, TurnFailed)
        assert end.message == "test:route must be an 'async def' that takes the turn"
    end = ends(bad)
    assert isinstance(end, TurnFailed)
    assert end.message == "SystemExit: "


MISUSE: dict[str, tuple[Callable[[Turn], object], str]] = {
    "nobody": (lambda turn: turn.ask("z"), "'z' is not a participant: there are a, b, c"),
    "no name": (
        lambda turn: turn.ask(turn.participants[0]),  # type: ignore[arg-type]
        "a participant's id is a str, not Participant",
    ),
    "instruction": (
        lambda turn: turn.ask("a", instruction=5),  # type: ignore[arg-type]
        "an instruction is a str, not int",
    ),
    "surrogate": (lambda turn: turn.ask("a", instruction="\udfff"), "lone surrogate"),
    "purpose": (lambda turn: turn.ask("a", purpose="x" * 65), "a purpose has at most 64"),
    "see": (
        lambda turn: turn.ask("a", see="later"),  # type: ignore[arg-type]
        "see is one of 'start', 'now'",
    ),
    "history": (
        lambda turn: turn.ask("a", history=["shared"]),  # type: ignore[arg-type]
        "history is one of None, 'shared', 'isolated', 'none'",
    ),
    "exclude": (lambda turn: turn.ask("a", exclude=["ask:a:1"]), "no step 'ask:a:1' of this turn"),
    "schema": (lambda turn: turn.ask("a", schema={"a": {1, 2}}), "a schema is JSON"),
    "schema list": (
        lambda turn: turn.ask("a", schema=[]),  # type: ignore[arg-type]
        "a schema is a dict, not list",
    ),
    "long schema": (lambda turn: turn.ask("a", schema={"a": "x" * SPILL}), "a schema has at most"),
    "timer": (
        lambda turn: turn.timer("5"),  # type: ignore[arg-type]
        "a timer takes seconds, not str",
    ),
    "negative": (lambda turn: turn.timer(-1), "a timer takes 0 to 86400 seconds"),
    "nan": (lambda turn: turn.timer(float("nan")), "a timer takes 0 to 86400 seconds"),
    "huge": (lambda turn: turn.timer(10**400), "a timer takes 0 to 86400 seconds"),
    "name": (lambda turn: turn.draw("a:b"), "the name of a timer or draw"),
    "decide": (lambda turn: turn.decide(["z"], "why"), "'z' is not a participant"),
    "reason": (lambda turn: turn.decide(["a"], "x" * 4001), "a reason has at most 4000"),
    "cast": (lambda turn: turn.cast("a", "z", "why"), "'z' is not a participant"),
    "tally": (lambda turn: turn.tally({"z": 1}, "a", None), "'z' is not a participant"),
}


@pytest.mark.parametrize("name", MISUSE)
def test_a_router_is_told_what_it_did_wrong(name: str) -> None:
    call, message = MISUSE[name]

    async def route(turn: Turn) -> None:
        call(turn)

    end = ends(route)
    assert isinstance(end, TurnFailed)
    assert message in end.message


def test_what_a_script_does_to_its_view_stays_in_its_view() -> None:
    schema: dict[str, Any] = {"enum": ("a", "b")}

    async def route(turn: Turn) -> Any:
        turn.participants[0].extra["seen"] = turn.id
        pending = turn.ask("a", schema=schema)
        schema["enum"] = ("c",)
        return await pending

    models = [{"id": "a", "provider": "test", "model_name": "m", "extra": {"top_k": 5}}]
    room = scripted(route, models=models)
    room.post()
    assert room.asked("ask:a:1").parameters.schema_ == {"enum": ["a", "b"]}
    assert room.asked("ask:a:1").parameters.extra == {"top_k": 5}
    schema["enum"] = ("a", "b")
    room.answer("ask:a:1")
    assert room.config.models[0].extra == {"top_k": 5}


# --- inputs that do not fit ------------------------------------------------------------------


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


# --- restore and replay ----------------------------------------------------------------------


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
        Semantics(engine=2),
        Semantics(context=2),
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
