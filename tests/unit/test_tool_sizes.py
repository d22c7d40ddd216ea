"""What calls of tools and given conversations cost, and how they are made to fit a model."""

from __future__ import annotations

from dataclasses import replace

import orjson

from actors.routing import context, spending
from actors.routing.asking import Asking, Texts
from actors.routing.offers import Offer, Offers
from actors.routing.steps import AskStep
from events.chat import written
from events.values import Message
from tests.sessions import answered
from tests.unit.folded_calls import Log, brought, conversation, results, returned

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
