"""What a participant is shown of a conversation that a client brought."""

from __future__ import annotations

import orjson

from actors.routing import context
from actors.routing.asking import Asking, Texts
from actors.routing.steps import AskStep
from events.chat import WireMessage, read, written
from events.values import ContextRule
from tests.sessions import Blobs
from tests.unit.folded_calls import Log, brought, conversation


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


def test_who_speaks_is_kept_and_neighbours_of_several_names_say_so_in_words() -> None:
    log = brought(
        WireMessage(role="user", content="Design a hat."),
        WireMessage(role="assistant", content="Red.", name="planner"),
        WireMessage(role="user", content="No.", name="critic"),
        WireMessage(role="user", content="Never.", name="critic"),
        WireMessage(role="assistant", content="Blue.", name="planner"),
        WireMessage(role="user", content="No.", name="critic"),
        WireMessage(role="user", content="Yes.", name="poet"),
        WireMessage(role="user", content="Well?"),
    )
    assert log.said(log.ask(participant="b", provider="two")) == [
        context.Said("user", "Design a hat."),
        context.Said("assistant", "Red.", name="planner"),
        context.Said("user", "No.\n\nNever.", name="critic"),
        context.Said("assistant", "Blue.", name="planner"),
        context.Said("user", "critic: No.\n\npoet: Yes.\n\nWell?"),
    ]


def test_a_list_without_names_is_written_as_it_always_was() -> None:
    keys = "role content images tool_calls tool_call_id is_error carried".split()
    plain = WireMessage(role="user", content="Hello")
    named = WireMessage(role="user", content="Hello", name="ada")
    one, other = orjson.loads(written([plain, named]))
    assert list(one) == keys
    assert other["name"] == "ada"
    assert read(written([plain, named])) == (plain, named)


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
