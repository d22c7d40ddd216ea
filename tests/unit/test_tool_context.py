"""What a participant is shown of calls of tools."""

from __future__ import annotations

from typing import Any

import pytest

from actors.routing import chain, context
from actors.routing.tool_loop import TOLD
from events.tools import (
    ApprovalDenied,
)
from events.values import ToolCall
from tests.sessions import answered
from tests.unit.folded_calls import Log, failed, refused, results, returned


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


def test_ids_differ_within_a_chain() -> None:
    log = Log()
    log.ask()
    log.answer("ask:a:1", ("same", "f"))
    log.call("call:f:1", "ask:a:1", "same", returned("first"))
    log.ask("ask:a:2", continues="ask:a:1")
    log.answer("ask:a:2", ("same", "f"), ("call00002", "f"))
    log.call("call:f:2", "ask:a:2", "same", returned("second"))
    log.call("call:f:3", "ask:a:2", "call00002", returned("third"))
    asked = log.ask("ask:a:3", continues="ask:a:2")
    said = log.said(asked)
    ids = [call.id for one in said for call in one.tool_calls]
    assert ids == ["same", "call00002", "call00003"]
    assert [one.tool_call_id for one in said if one.role == "tool"] == ids
    assert results(log, asked) == ["first", "second", "third"]


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


def test_what_is_told_of_one_answer_ends_after_so_many_calls() -> None:
    log = Log()
    log.ask()
    log.answer("ask:a:1", *((f"x{n}", "f") for n in range(TOLD + 5)))
    for n in range(TOLD):
        log.call(f"call:f:{n}", "ask:a:1", f"x{n}", returned(str(n)))
    asked = log.ask("ask:a:2", continues="ask:a:1")
    [calls] = [one.tool_calls for one in log.said(asked) if one.tool_calls]
    assert [call.id for call in calls] == [f"x{n}" for n in range(TOLD)]
    assert results(log, asked) == [str(n) for n in range(TOLD)]
