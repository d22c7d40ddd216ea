"""What a participant is shown of calls of tools and of conversations that a client brought."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from actors.routing import chain, context, spending
from actors.routing.asking import Asking, Texts
from actors.routing.digests import request_digest
from actors.routing.offers import Offer, Offers
from actors.routing.steps import AskStep
from events.chat import WireMessage, written
from events.envelope import Event
from events.session import Session
from events.tools import (
    ApprovalDenied,
    ApprovalRequested,
    ToolCalled,
    ToolFailed,
    ToolRefused,
    ToolReturned,
    ToolUse,
)
from events.types import ModelAsked, Payload, SessionCreated, TurnStarted
from events.values import ContextRule, Message, Parameters, Semantics, Text, ToolCall
from tests.sessions import START, Blobs, answered, config

MODELS = [
    {"id": "a", "provider": "one", "model_name": "m", "system_prompt": "Be brief."},
    {"id": "b", "provider": "two", "model_name": "m"},
]


class Log:
    """A session folded from events by hand."""

    def __init__(self, message: Message | None = None) -> None:
        self.blobs = Blobs()
        self.session = Session("s1")
        self.give(SessionCreated(config=config(models=MODELS)))
        started = TurnStarted(
            message=message or Message(content="Where is the cat?"),
            facts=self.blobs.put(b"{}"),
            semantics=Semantics(engine=3, context=context.VERSION),
        )
        self.give(started, None)

    def give(self, data: Payload, step: str | None = None) -> None:
        position = self.session.position + 1
        turn = None if isinstance(data, SessionCreated) else "t1"
        self.session.apply(
            Event(stream="s1", position=position, at=START, by="x", turn=turn, step=step, data=data)
        )

    def ask(self, key: str = "ask:a:1", **changes: Any) -> ModelAsked:
        fields: dict[str, Any] = {
            "participant": "a",
            "provider": "one",
            "model": "m",
            "purpose": "answer",
            "context": ContextRule(mode="isolated", upto=2),
            "parameters": Parameters(),
            "digest": "0" * 64,
        }
        asked = ModelAsked(**fields | changes)
        self.give(asked, key)
        return asked

    def answer(self, key: str, *calls: tuple[str, str], text: Text = "", **rest: Any) -> None:
        wanted = tuple(ToolCall(id=id, name=name, arguments='{"at":1}') for id, name in calls)
        self.give(answered(text, tool_calls=wanted, finish_reason="tool_calls", **rest), key)

    def call(self, key: str, asked_in: str, id: str, outcome: Payload | None = None) -> None:
        use = ToolUse(
            name="cats__find", arguments="{}", participant="a", asked_in=asked_in, call_id=id
        )
        if isinstance(outcome, ToolRefused):
            self.give(outcome.model_copy(update={"use": use}), key)
            return
        if isinstance(outcome, ApprovalDenied):
            self.give(ApprovalRequested(use=use, server="cats", tool="find"), key)
        else:
            self.give(ToolCalled(use=use, server="cats", tool="find"), key)
        if outcome is not None:
            self.give(outcome, key)

    def said(self, asked: ModelAsked) -> list[context.Said]:
        parts = context.parts(self.session, self.session.turns["t1"], asked)
        return context.messages(parts, self.blobs.load)

    def digest(self, asked: ModelAsked) -> str:
        return request_digest(self.session, self.session.turns["t1"], asked)


def returned(text: Text = "on the mat", **rest: Any) -> ToolReturned:
    return ToolReturned(attempt=1, text=text, duration_ms=1, **rest)


def failed(message: str) -> ToolFailed:
    return ToolFailed(attempt=1, error="ToolError", message=message, retryable=False)


def refused(reason: str) -> ToolRefused:
    return ToolRefused(use=ToolUse(name="x", arguments="{}"), reason=reason)


def results(log: Log, asked: ModelAsked) -> list[str]:
    return [one.text for one in log.said(asked) if one.role == "tool"]


def test_a_chain_follows_the_conversation_calls_and_results_in_their_order() -> None:
    log = Log()
    log.ask()
    log.answer("ask:a:1", ("x", "cats__find"), ("y", "cats__feed"), text="Let me look.")
    log.call("call:cats__find:1", "ask:a:1", "x")
    log.call("call:cats__feed:1", "ask:a:1", "y", returned("fed"))
    log.give(returned(), "call:cats__find:1")  # the first call's outcome comes last
    log.ask("ask:a:2", continues="ask:a:1")
    log.answer("ask:a:2", ("z", "cats__find"))
    log.call("call:cats__find:2", "ask:a:2", "z", returned("gone"))
    asked = log.ask("ask:a:3", continues="ask:a:2")
    calls = [
        ToolCall(id="x", name="cats__find", arguments='{"at":1}'),
        ToolCall(id="y", name="cats__feed", arguments='{"at":1}'),
        ToolCall(id="z", name="cats__find", arguments='{"at":1}'),
    ]
    assert log.said(asked) == [
        context.Said("system", "Be brief."),
        context.Said("user", "Where is the cat?"),
        context.Said("assistant", "Let me look.", tool_calls=tuple(calls[:2])),
        context.Said("tool", "on the mat", tool_call_id="x"),
        context.Said("tool", "fed", tool_call_id="y"),
        context.Said("assistant", "", tool_calls=(calls[2],)),
        context.Said("tool", "gone", tool_call_id="z"),
    ]


def test_a_call_that_gave_nothing_is_told_as_an_error() -> None:
    log = Log()
    log.ask()
    log.answer("ask:a:1", *((str(n), "cats__find") for n in range(6)))
    outcomes = (
        failed("the server is down"),
        refused("there is no tool 'x'"),
        ApprovalDenied(reason="not today"),
        ApprovalDenied(),
        returned("no such cat", is_error=True),
    )
    for n, outcome in enumerate(outcomes):
        log.call(f"call:c:{n}", "ask:a:1", str(n), outcome)
    asked = log.ask("ask:a:2", continues="ask:a:1")
    told = [one for one in log.said(asked) if one.role == "tool"]
    assert [one.text for one in told] == [
        "Error: the server is down",
        "Error: there is no tool 'x'",
        "Error: a person did not allow this call: not today",
        "Error: a person did not allow this call",
        "Error: no such cat",
        "Error: the call was not made",
    ]
    assert all(one.is_error for one in told)


def test_structured_content_stands_in_for_a_text_and_nothing_is_said_to_be_nothing() -> None:
    log = Log()
    log.ask()
    log.answer("ask:a:1", ("x", "f"), ("y", "f"))
    log.call("call:f:1", "ask:a:1", "x", returned("", structured='{"cats":2}'))
    log.call("call:f:2", "ask:a:1", "y", returned(""))
    asked = log.ask("ask:a:2", continues="ask:a:1")
    assert results(log, asked) == ['{"cats":2}', chain.NOTHING]


def test_a_long_result_is_cut_and_says_so() -> None:
    log = Log()
    long = log.blobs.put(("é" * 70_000).encode())
    log.ask()
    log.answer("ask:a:1", ("x", "f"))
    log.call("call:f:1", "ask:a:1", "x", returned(long))
    asked = log.ask("ask:a:2", continues="ask:a:1")
    [text] = results(log, asked)
    assert text == "é" * chain.LONGEST_RESULT + chain.LEFT_OUT.format(10_000)
    parts = context.parts(log.session, log.session.turns["t1"], asked)
    assert len(text.encode()) <= parts[-1].size < 4 * chain.LONGEST_RESULT + 100


def test_pictures_of_a_tool_are_shown_to_who_sees_and_other_content_is_told_of() -> None:
    log = Log()
    picture = log.blobs.attach("cat.png", b"png", "image/png")
    drawing = log.blobs.attach("cat.svg", b"<svg/>", "image/svg+xml")
    log.ask()
    log.answer("ask:a:1", ("x", "f"))
    log.call("call:f:1", "ask:a:1", "x", returned("", attachments=(picture, drawing)))
    seen = log.said(log.ask("ask:a:2", continues="ask:a:1"))[-1]
    assert seen.images == (picture,)
    assert seen.text == (
        "[Attached image: cat.png]\n\n[Not shown: cat.svg, image/svg+xml, 6 bytes]"
    )
    blind = log.said(log.ask("ask:a:2", continues="ask:a:1", images_left_out=1))[-1]
    assert blind.images == ()
    assert "[Image left out: cat.png" in blind.text


def test_ids_are_the_models_own_and_made_up_for_another_or_where_they_repeat() -> None:
    log = Log()
    log.ask()
    log.answer("ask:a:1", ("same", "f"), ("same", "not a name!"), ("", "f"))
    for n, id in enumerate(("same", "ask_a_1_2", "")):
        log.call(f"call:f:{n}", "ask:a:1", id, returned(str(n)))
    asked = log.ask("ask:a:2", continues="ask:a:1")
    calls = log.said(asked)[-4].tool_calls
    assert [call.id for call in calls] == ["same", "ask_a_1_2", "call00003"]
    assert [call.name for call in calls] == ["f", "not_a_name_", "f"]
    assert [one.tool_call_id for one in log.said(asked)[-3:]] == [call.id for call in calls]
    other = log.ask("ask:a:2", continues="ask:a:1", provider="two")
    ids = [call.id for call in log.said(other)[-4].tool_calls]
    assert ids == ["call00001", "call00002", "call00003"]
    assert results(log, other) == ["0", "1", "2"]


def test_what_a_provider_wants_back_goes_to_the_same_model_alone() -> None:
    log = Log()
    log.ask()
    log.answer("ask:a:1", ("x", "f"), carried='["signed"]')
    log.call("call:f:1", "ask:a:1", "x", returned())
    same = log.ask("ask:a:2", continues="ask:a:1")
    assert log.said(same)[-2].carried == '["signed"]'
    for change in ({"provider": "two"}, {"model": "n"}):
        other = log.ask("ask:a:2", continues="ask:a:1", **change)
        assert log.said(other)[-2].carried is None


@pytest.mark.parametrize(
    "change", ["text", "arguments", "id", "result", "structured", "error", "picture", "carried"]
)
def test_whatever_is_shown_of_a_chain_is_in_the_digest(change: str) -> None:
    digests = set()
    for changed in (None, change):
        log = Log()
        log.ask()
        picture = log.blobs.attach("cat.png", b"png", "image/png")
        wanted = ToolCall(
            id="y" if changed == "id" else "x",
            name="f",
            arguments="{}" if changed == "arguments" else "[]",
        )
        carried = "[]" if changed == "carried" else None
        said = "Hm" if changed == "text" else ""
        log.give(answered(said, tool_calls=(wanted,), carried=carried), "ask:a:1")
        outcome = returned(
            {"result": "there", "structured": ""}.get(changed or "", "here"),
            structured="{}" if changed == "structured" else None,
            is_error=changed == "error",
            attachments=(picture,) if changed == "picture" else (),
        )
        log.call("call:f:1", "ask:a:1", wanted.id, outcome)
        digests.add(log.digest(log.ask("ask:a:2", continues="ask:a:1")))
    assert len(digests) == 2


def test_tools_choice_chain_and_given_are_in_the_digest() -> None:
    log = Log()
    plain = log.ask()
    log.answer("ask:a:1", ("x", "f"))
    log.call("call:f:1", "ask:a:1", "x", returned())
    blob = log.blobs.put(b"[]", "application/json")
    other = log.blobs.put(b"[ ]", "application/json")
    changes: list[dict[str, Any]] = [
        {},
        {"tools": blob},
        {"tools": other},
        {"tools": blob, "tool_choice": "none"},
        {"continues": "ask:a:1"},
        {"given": blob},
        {"given": other},
    ]
    digests = [log.digest(plain.model_copy(update=change)) for change in changes]
    assert len(set(digests)) == len(changes)


# --- what a client brought -----------------------------------------------------------------------


def conversation() -> tuple[WireMessage, ...]:
    call = ToolCall(id="c1", name="weather", arguments="{}")
    return (
        WireMessage(role="system", content="You are a pirate."),
        WireMessage(role="user", content="Hello"),
        WireMessage(role="assistant", content="", tool_calls=(call,)),
        WireMessage(role="tool", content="rain", tool_call_id="c1"),
        WireMessage(role="user", content="And now?"),
        WireMessage(role="user", content="Well?"),
    )


def brought(*messages: WireMessage) -> Log:
    content = written(messages)
    blobs = Blobs()
    given = blobs.put(content, "application/json")
    log = Log(Message(content="Well?", given=given))
    log.blobs.contents |= blobs.contents
    return log


def test_a_given_conversation_is_shown_in_place_of_the_message() -> None:
    log = brought(*conversation())
    [call] = conversation()[2].tool_calls
    assert log.said(log.ask()) == [
        context.Said("system", "Be brief.\n\nYou are a pirate."),
        context.Said("user", "Hello"),
        context.Said("assistant", "", tool_calls=(call,)),
        context.Said("tool", "rain", tool_call_id="c1"),
        context.Said("user", "And now?\n\nWell?"),
    ]
    [entry] = log.session.entries
    assert entry.size == len(written(conversation()))
    assert entry.beside


def test_given_system_messages_come_first_without_a_prompt_of_the_participants() -> None:
    log = brought(*conversation())
    shown = log.said(log.ask(participant="b", provider="two"))
    assert shown[0] == context.Said("system", "You are a pirate.")
    assert [one.role for one in shown] == ["system", "user", "assistant", "tool", "user"]


def test_given_pictures_are_shown_or_told_of() -> None:
    blobs = Blobs()
    picture = blobs.attach("cat.png", b"png", "image/png")
    log = brought(WireMessage(role="user", content="What is this?", images=(picture,)))
    assert log.said(log.ask())[-1].images == (picture,)
    blind = log.said(log.ask(images_left_out=1))[-1]
    assert blind.images == ()
    assert "[Image left out: cat.png" in blind.text


def test_a_step_with_messages_of_its_own_is_shown_these_alone() -> None:
    log = Log()
    given = log.blobs.put(written(conversation()), "application/json")
    asked = log.ask(given=given, context=ContextRule(mode="none", upto=2))
    shown = log.said(asked)
    assert shown[0].text == "Be brief.\n\nYou are a pirate."
    assert not any("cat" in one.text for one in shown)


# --- what it costs -------------------------------------------------------------------------------

PRICES = {"table": "t", "rates": {"input": "1000000"}}
"""A dollar a token of input."""


def test_a_budget_counts_tools_results_and_given_messages() -> None:
    facts = {"prices": PRICES, "context_length": 1000}
    log = brought(*conversation())
    turn = log.session.turns["t1"]
    plain = log.ask()
    most = spending.most(log.session, turn, plain, facts)
    assert most >= len(written(conversation()))
    tools = log.blobs.put(orjson.dumps([{"name": "x" * 500}]), "application/json")
    offered = spending.most(log.session, turn, plain.model_copy(update={"tools": tools}), facts)
    assert offered == most + tools.size + spending.PER_TOOLS
    log.answer("ask:a:1", ("x", "f"))
    log.call("call:f:1", "ask:a:1", "x", returned("y" * 5000))
    asked = log.ask("ask:a:2", continues="ask:a:1")
    assert spending.most(log.session, turn, asked, facts) > most + 5000


# --- what fits -----------------------------------------------------------------------------------


def test_older_messages_make_room_for_a_chain_and_the_chain_stays_whole() -> None:
    log = Log(Message(content="old " * 100))
    log.ask()
    log.give(answered("older " * 100), "ask:a:1")
    turn = log.session.turns["t1"]
    log.session.entries.append(replace(log.session.entries[0], content="Now?", size=4))
    log.ask("ask:a:2")
    log.answer("ask:a:2", ("x", "f"))
    log.call("call:f:1", "ask:a:2", "x", returned("y" * 1200))
    asking = Asking(log.session, Texts(log.blobs.load))
    tools = log.blobs.put(b" " * 600, "application/json")
    asking.offers = Offers({"a": Offer(tools, {})})
    step = AskStep(
        "ask:a:3",
        "a",
        history="isolated",
        upto=log.session.position,
        continues="ask:a:2",
        tool_choice="none",
    )
    whole, nothing = asking.asked(turn, step, 10_000, False)
    assert nothing is None
    asked, trimmed = asking.asked(turn, step, 1000, False)
    assert trimmed is not None
    assert (trimmed.skipped, asked.context.skip) == (2, 2)
    assert trimmed.estimated > 400 + 200 + 330
    told = [one for one in log.said(asked) if one.role != "system"]
    assert [one.role for one in told] == ["user", "assistant", "tool"]
    assert told[0].text == "Now?"
    assert told[-1].text == "y" * 1200
    assert (asked.tools, asked.tool_choice, asked.continues) == (tools, "none", "ask:a:2")
    for one in (whole, asked):
        assert one.digest == log.digest(one)
    without, _ = asking.asked(turn, step._replace(tools=False, tool_choice=None), 10_000, False)
    assert without.digest == log.digest(without) != whole.digest


def test_results_are_shortened_where_a_model_cannot_read_them_and_nothing_else_is_left() -> None:
    log = Log(Message(content="Now?"))
    log.ask()
    log.answer("ask:a:1", ("x", "f"), ("y", "f"))
    log.call("call:f:1", "ask:a:1", "x", returned("y" * 50_000))
    log.call("call:f:2", "ask:a:1", "y", returned("short"))
    asking = Asking(log.session, Texts(log.blobs.load))
    step = AskStep("ask:a:2", "a", history="isolated", upto=2, continues="ask:a:1")
    turn = log.session.turns["t1"]
    limits = []
    for length in (100_000, 20_000, 8000, 100):
        asked, trimmed = asking.asked(turn, step, length, False)
        assert trimmed is None
        assert asked.digest == log.digest(asked)
        limits.append(asked.result_limit)
        first, second = results(log, asked)
        assert second == "short"
        shown = asked.result_limit or 50_000
        assert first.startswith("y" * shown)
        assert first.count("y") == shown
        assert ("left out" in first) is (shown < 50_000)
        parts = context.parts(log.session, turn, asked)
        assert all(
            len(text.encode()) <= part.size
            for text, part in zip((first, second), parts[-2:], strict=True)
        )
    assert limits == [None, 30_000, 15_000, 1875]


def test_pictures_of_a_chain_count_among_those_left_out() -> None:
    log = Log()
    picture = log.blobs.attach("cat.png", b"png", "image/png")
    log.ask()
    log.answer("ask:a:1", ("x", "f"))
    log.call("call:f:1", "ask:a:1", "x", returned(attachments=(picture, picture)))
    asking = Asking(log.session, Texts(log.blobs.load))
    step = AskStep("ask:a:2", "a", history="isolated", upto=2, continues="ask:a:1")
    turn = log.session.turns["t1"]
    blind, _ = asking.asked(turn, step, None, True)
    assert blind.images_left_out == 2
    assert blind.digest == log.digest(blind)
    seeing, _ = asking.asked(turn, step, None, False)
    assert seeing.images_left_out == 0
    assert seeing.digest != blind.digest


def test_a_step_with_messages_of_its_own_has_their_digest() -> None:
    log = Log()
    given = log.blobs.put(written(conversation()), "application/json")
    asking = Asking(log.session, Texts(log.blobs.load))
    asked, trimmed = asking.asked(
        log.session.turns["t1"], AskStep("ask:a:1", "a", given=given), 10, False
    )
    assert trimmed is None
    assert asked.given == given
    assert asked.digest == log.digest(asked)
    assert [one.role for one in log.said(asked)] == ["system", "user", "assistant", "tool", "user"]
