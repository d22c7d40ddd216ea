"""The session machine: a workflow's run is one open turn, and its calls are steps of it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson
import pytest

from actors.messages import RunAsk, RunCall
from actors.routing.batch import Given
from actors.routing.digests import request_digest
from actors.routing.turn import WORKFLOW
from actors.running import decide_call
from events.errors import ConfigError, Refused
from events.prices import Prices, Rates
from events.runs import RunAsked, RunCalled, RunCompleted, RunFailed, RunRestarted
from events.tools import ToolRefused
from events.types import BudgetOverrun, ModelAsked, TurnCompleted, TurnFailed
from events.values import Parameters
from tests.sessions import Blobs, Driven, config
from tests.tool_calls import ADD, FIND, RISK, offered, returned

RUN = "run:langchain:1"
A, B = "a" * 64, "b" * 64


class Run(Driven):
    """A session that runs a workflow on two models, and may call tools."""

    def __init__(self, approval: bool = False, known: dict[str, Any] | None = None, **changes: Any):
        blobs = Blobs()
        workflow = {"framework": "langchain", "config": {"chain_type": "sequential"}}
        session = config("ab", routing_pattern="workflow", workflow=workflow, **changes)
        tools = offered(blobs)
        for call in tools["calls"].values():
            call["approval"] = approval
        facts = {WORKFLOW: {"tools": tools}, **(known or {})}
        super().__init__(session, facts=facts, blobs=blobs)
        self.numbers = 0

    def command(self, digest: str = A, **rest: Any) -> RunAsk:
        self.numbers += 1
        given = self.blobs.put(orjson.dumps([{"role": "user", "content": "Why?"}]), "json")
        whole = {
            "session": self.stream,
            "by": "run:s1",
            "id": f"c{self.numbers}",
            "turn": "t1",
            "attempt": 1,
            "participant": "a",
            "given": given,
            "parameters": Parameters(),
            "digest": digest,
        }
        return RunAsk.model_validate(whole | rest)

    def call(self, name: str = ADD, digest: str = B, **rest: Any) -> RunCall:
        self.numbers += 1
        whole = {
            "session": self.stream,
            "by": "run:s1",
            "id": f"c{self.numbers}",
            "turn": "t1",
            "attempt": 1,
            "name": name,
            "arguments": '{"n": 2}',
            "digest": digest,
        }
        return RunCall.model_validate(whole | rest)

    def carry_out(self, command: RunAsk | RunCall) -> tuple[str | None, str]:
        """The step that the call is, and what came of it."""
        decision = decide_call(self.machine.session, command)
        told = ""
        for given in decision.givens:
            told = self.give(
                given.data, by=given.by, command=given.command, turn=given.turn, step=given.step
            )
        return decision.step, told

    def restarts(self) -> str:
        again = RunRestarted(attempt=2, reason="it died")
        return self.give(again, turn=self.turn, step=RUN)

    def completes(self, output: str = "done") -> str:
        end = RunCompleted(attempt=1, output=output, result="{}", duration_ms=1.0)
        return self.give(end, by="workflow", turn=self.turn, step=RUN)


def test_what_the_run_asks_is_a_step_and_its_output_the_answer() -> None:
    room = Run()
    assert room.post('{"topic": "tea"}') == f"turn.started run.started({RUN})"
    told = room.carry_out(room.command(parameters=Parameters(temperature=0.1, extra={"n": 1})))
    assert told == ("ask:a:1", "run.asked(ask:a:1) model.asked(ask:a:1)")
    asked, messages = room.request("ask:a:1")
    assert messages == [("user", "Why?")]
    assert (asked.purpose, asked.public, asked.model) == ("workflow", False, "m-a")
    assert (asked.parameters.temperature, asked.parameters.extra) == (0.1, {"n": 1})
    turn = room.machine.session.open
    assert turn is not None
    assert request_digest(room.machine.session, turn, asked) == asked.digest
    assert room.answer("ask:a:1", "Because.") == "model.answered(ask:a:1)"
    assert room.completes("Tea is fine.") == f"run.completed({RUN}) turn.completed"
    assert room.last(TurnCompleted).answer == "Tea is fine."
    assert [entry.content for entry in room.machine.session.entries] == ['{"topic": "tea"}']
    room.prove()


def test_identical_calls_at_once_are_steps_of_their_own() -> None:
    room = Run()
    room.post()
    assert room.carry_out(room.command())[0] == "ask:a:1"
    assert room.carry_out(room.command())[0] == "ask:a:2"
    assert room.carry_out(room.command(participant="b"))[0] == "ask:b:1"
    repeated = room.command()
    assert room.carry_out(repeated)[0] == "ask:a:3"
    assert room.carry_out(repeated) == ("ask:a:3", "")
    assert set(room.waiting) == {RUN, "ask:a:1", "ask:a:2", "ask:b:1", "ask:a:3"}
    cancelled = room.completes()
    assert "model.cancelled(ask:a:2)" in cancelled
    assert cancelled.endswith("turn.completed")
    room.prove()


def test_a_run_that_begins_again_gets_what_it_got_and_asks_only_what_is_new() -> None:
    room = Run()
    room.post()
    room.carry_out(room.command())
    room.carry_out(room.command())
    room.carry_out(room.call())
    room.answer("ask:a:2", "the second was faster")
    room.give(returned("4"), turn="t1", step=f"call:{ADD}:1")
    assert room.restarts() == f"run.restarted({RUN})"
    with pytest.raises(Refused, match="a call of the one before"):
        decide_call(room.machine.session, room.command())
    again: dict[str, Any] = {"attempt": 2}
    assert room.carry_out(room.command(**again)) == ("ask:a:1", "run.matched(ask:a:1)")
    assert room.carry_out(room.call(**again)) == (f"call:{ADD}:1", f"run.matched(call:{ADD}:1)")
    assert room.carry_out(room.command(**again)) == ("ask:a:2", "run.matched(ask:a:2)")
    new = room.carry_out(room.command(**again))
    assert new == ("ask:a:3", "run.asked(ask:a:3) model.asked(ask:a:3)")
    room.completes()
    room.prove()


def test_the_runs_calls_of_tools_may_want_a_person() -> None:
    room = Run(approval=True)
    room.post()
    key, told = room.carry_out(room.call())
    assert told == f"run.called({key}) approval.requested({key})"
    room.completes()
    room.prove()
    free = Run()
    free.post()
    assert free.carry_out(free.call())[1].endswith(f"tool.called(call:{ADD}:1)")
    assert free.carry_out(free.call("no such tool"))[1].count("tool.refused(call:no_such_tool_")
    free.completes()
    free.prove()


def test_a_run_calls_no_tool_that_only_a_participant_is_granted() -> None:
    room = Run()
    room.facts = room.blobs.put(
        orjson.dumps(
            {
                "a": {"tools": offered(room.blobs, (ADD, RISK))},
                WORKFLOW: {"tools": offered(room.blobs, (ADD, FIND), approve=())},
            }
        ),
        "application/json",
    )
    room.post()
    assert room.carry_out(room.call(FIND))[1].endswith(f"tool.called(call:{FIND}:1)")
    assert room.carry_out(room.call(RISK, digest=A))[1].endswith(f"tool.refused(call:{RISK}:1)")
    assert room.last(ToolRefused).reason == (f"there is no tool '{RISK}': there are {ADD}, {FIND}")
    room.completes()
    room.prove()


def test_a_run_that_fails_ends_the_turn_with_its_reason() -> None:
    room = Run()
    room.post()
    failed = RunFailed(attempt=1, error="WorkflowFailed", message="no agent", retryable=False)
    assert room.give(failed, turn="t1", step=RUN) == f"run.failed({RUN}) turn.failed"
    end = room.last(TurnFailed)
    assert (end.reason, end.message) == ("run_failed", "no agent")
    room.prove()


def test_a_budget_covers_what_a_run_asks() -> None:
    prices = Prices(table="test", rates=Rates(input=Decimal(1), output=Decimal(1)))
    known = {"prices": prices.model_dump(mode="json"), "context_length": 1000}
    room = Run(known={"a": known}, budget={"limit": Decimal("0.000001")})
    room.post()
    told = room.carry_out(room.command(parameters=Parameters(max_tokens=1000)))[1]
    assert told.startswith("run.asked(ask:a:1) budget.exceeded(ask:a:1)"), told
    assert room.data(ModelAsked) == []
    assert len(room.data(BudgetOverrun)) == 1
    room.completes()
    room.prove()


def test_too_many_calls_end_the_turn() -> None:
    room = Run(max_steps=3)
    room.post()
    room.carry_out(room.command())
    room.carry_out(room.command())
    told = room.carry_out(room.command())[1]
    assert told.endswith("turn.failed")
    assert room.last(TurnFailed).reason == "too_many_steps"
    with pytest.raises(Refused, match="the run has ended"):
        decide_call(room.machine.session, room.command(turn="t1"))
    room.prove()


def test_a_paused_run_asks_nothing_and_what_came_meanwhile_is_told_then() -> None:
    room = Run()
    room.post()
    room.carry_out(room.command())
    room.pause()
    with pytest.raises(Refused, match="paused"):
        decide_call(room.machine.session, room.command())
    assert room.answer("ask:a:1") == "model.answered(ask:a:1)"
    room.completes()
    assert room.resume().endswith("turn.completed")
    room.prove()


def test_calls_that_do_not_fit_are_refused() -> None:
    room = Run()
    room.post()
    with pytest.raises(ConfigError, match="'nobody' is no model of this run: there are a, b"):
        decide_call(room.machine.session, room.command(participant="nobody"))
    wrong = RunCalled(attempt=1, name=ADD, arguments="{}", digest=A)
    with pytest.raises(Refused, match=f"the next step of that kind is call:{ADD}:1"):
        room.machine.advance(Given(wrong, "test", turn="t1", step=f"call:{ADD}:2"), room.at)
    other = Driven(config("ab"))
    other.post()
    asked = RunAsked(
        attempt=1,
        participant="a",
        given=other.blobs.put(b"[]"),
        parameters=Parameters(),
        digest=A,
    )
    with pytest.raises(Refused, match="no run makes that call"):
        other.machine.advance(Given(asked, "test", turn="t1", step="ask:a:2"), other.at)
