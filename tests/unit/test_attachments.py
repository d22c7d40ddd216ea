"""Files that belong to a message: what of them a participant is shown, and what that counts."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from actors.routing import context, spending, trimming
from events.prices import Prices, Rates
from events.types import ContextTrimmed
from events.values import Attachment, Message
from tests.sessions import Driven, config

PNG = b"\x89PNG\r\n\x1a\n0000"
NOTES = "Grüße\nand more"


def shown(room: Driven, step: str = "ask:a:1") -> list[context.Said]:
    """The messages of a step of the open turn, without the system prompt."""
    return [one for one in room.machine.request(step)[1] if one.role != "system"]


def files(room: Driven) -> tuple[Attachment, Attachment]:
    """A picture and a text."""
    return (
        room.blobs.attach("a b.png", PNG, "image/png"),
        room.blobs.attach("notes.md", NOTES.encode(), "text/markdown"),
    )


def test_texts_are_shown_with_their_name_and_pictures_beside_the_text() -> None:
    room = Driven(names="ab")
    picture, notes = files(room)
    room.post("Look", picture, notes)
    assert shown(room) == shown(room, "ask:b:1")
    assert shown(room) == [
        context.Said(
            "user",
            "Look\n\n[Attached image: a b.png]\n\n"
            "[Attached file: notes.md]\nGrüße\nand more\n[End of file: notes.md]",
            (picture,),
        )
    ]
    room.prove()


def test_pictures_of_messages_that_are_joined_stay_in_order() -> None:
    room = Driven(names="ab")
    first, second = (room.blobs.attach(f"{n}.png", PNG, "image/png") for n in "12")
    room.post("one", first)
    room.fail("ask:a:1")
    room.answer("ask:b:1", "seen")
    room.post("two", second)
    [said] = shown(room)
    assert said.images == (first, second)
    assert said.text.index("1.png") < said.text.index("[B (b)]: seen") < said.text.index("2.png")
    assert [one.images for one in shown(room, "ask:b:1")] == [(first,), (), (second,)]
    room.prove()


def test_a_message_of_attachments_only_is_a_turn() -> None:
    room = Driven(names="a")
    picture, _ = files(room)
    room.post("", picture)
    assert shown(room) == [context.Said("user", "[Attached image: a b.png]", (picture,))]


def test_what_a_window_leaves_out_goes_with_its_attachments() -> None:
    room = Driven(names="a", window=2)
    room.post("one", *files(room))
    room.answer("ask:a:1")
    room.post("two")
    assert shown(room) == [context.Said("assistant", "yes", ()), context.Said("user", "two", ())]
    room.prove()


def test_queued_turns_and_retries_show_them_too() -> None:
    room = Driven(names="ab")
    room.post("one")
    room.post("two", *files(room))
    for name in "ab":
        room.answer(f"ask:{name}:1")
    room.start("t2")
    first = shown(room)
    assert len(first[-1].images) == 1
    asked = room.asked("ask:a:1", "t2")
    for name in "ab":
        room.answer(f"ask:{name}:1")
    room.retry("t2", "a")
    assert shown(room) == first
    assert room.asked("ask:a:1", "t3").digest == asked.digest
    room.prove()


@pytest.mark.parametrize(
    "change", [{"name": "other.md"}, {"media_type": "text/x-rst"}, {"sha256": "0" * 64}, None]
)
def test_the_digest_covers_all_of_an_attachment(change: dict[str, Any] | None) -> None:
    def digest(*attached: Attachment) -> str:
        room = Driven(names="a")
        room.post("Look", *attached)
        return room.asked("ask:a:1").digest

    _, notes = files(Driven())
    assert digest(notes) == digest(notes)
    changed = () if change is None else (notes.model_copy(update=change),)
    assert digest(*changed) != digest(notes)


def test_attachments_count_where_the_conversation_is_too_long() -> None:
    limit = {"a": {"context_length": 2 * trimming.IMAGE}}
    room = Driven(names="a", facts=limit)
    for text in ("one", "two", "three"):
        room.post(text, room.blobs.attach(f"{text}.png", PNG, "image/png"))
        room.answer("ask:a:1")
    assert [told.skipped for told in room.data(ContextTrimmed)] == [1, 3]
    room.post("four")
    assert sum(len(one.images) for one in shown(room)) == 1
    room.prove()
    room = Driven(names="a", facts={"a": {"context_length": 1000}})
    room.post("one", room.blobs.attach("long.txt", b"word " * 1000))
    room.answer("ask:a:1")
    room.post("two")
    assert "word" not in str(shown(room))
    room.prove()


def test_attachments_count_in_the_most_that_a_call_can_cost() -> None:
    rates = Rates(input=Decimal(1_000_000), output=Decimal(1_000_000))
    fact = {"prices": Prices(table="test", rates=rates).model_dump(mode="json")}
    models = [one.model_dump(mode="json") | {"max_tokens": 9} for one in config("a").models]
    room = Driven(facts={"a": fact}, models=models, budget=1_000_000)
    picture, notes = files(room)
    room.post("Look")
    plain = room.asked("ask:a:1").reserved
    assert plain
    room.answer("ask:a:1", "")
    for attached, least in ((picture, spending.PER_IMAGE), (notes, len(NOTES.encode()))):
        other = Driven(facts={"a": fact}, models=models, budget=1_000_000, blobs=room.blobs)
        other.post("Look", attached)
        more = (other.asked("ask:a:1").reserved or 0) - plain
        [said] = shown(other)
        text = len(said.text.encode()) - len("Look")
        assert least + text - notes.size * (attached is notes) <= more <= least + text + 200
        other.prove()


NOTE = "[Image left out: a b.png; this model takes no images]"
BLIND: dict[str, Any] = {"images": False}


def test_a_model_that_takes_no_images_is_told_of_them_instead() -> None:
    room = Driven(names="abc", facts={"a": BLIND, "b": {"images": True}})
    picture, notes = files(room)
    room.post("Look", picture, notes)
    [said] = shown(room)
    assert said.images == ()
    assert said.text.startswith(f"Look\n\n{NOTE}\n\n[Attached file: notes.md]")
    for seeing in ("ask:b:1", "ask:c:1"):
        [said] = shown(room, seeing)
        assert said.images == (picture,), "those that take them, and those of whom it is not known"
    told = {name: room.asked(f"ask:{name}:1") for name in "abc"}
    assert [one.images_left_out for one in told.values()] == [1, 0, 0]
    for name in "abc":
        room.answer(f"ask:{name}:1")
    room.post("And now?")
    assert room.asked("ask:a:1", "t2").images_left_out == 1, "it is still in the conversation"
    assert NOTE in shown(room)[0].text
    room.prove()


def test_nothing_is_said_of_images_where_none_is_shown() -> None:
    room = Driven(names="a", facts={"a": BLIND}, window=1)
    room.post("one", *files(room))
    assert room.asked("ask:a:1").images_left_out == 1
    room.answer("ask:a:1")
    room.post("two")
    assert room.asked("ask:a:1", "t2").images_left_out == 0
    assert shown(room) == [context.Said("user", "two", ())]
    room.prove()


@pytest.mark.parametrize(("spare", "left_out"), [(BLIND, 1), ({"images": True}, 0), ({}, 0)])
def test_a_fallback_that_may_take_images_is_to_have_them(
    spare: dict[str, Any], left_out: int
) -> None:
    models = [one.model_dump(mode="json") for one in config("a").models]
    models[0]["fallbacks"] = [{"provider": "spare", "model_name": "one"}]
    room = Driven(facts={"a": BLIND | {"fallbacks": [spare]}}, models=models)
    room.post("Look", *files(room))
    assert room.asked("ask:a:1").images_left_out == left_out
    room.fail("ask:a:1")
    assert room.asked("ask:a:2").images_left_out == left_out
    assert len(shown(room, "ask:a:2")[0].images) == 1 - left_out
    room.prove()


def test_another_image_or_none_is_another_request() -> None:
    def digest(facts: dict[str, Any]) -> str:
        room = Driven(names="a", facts=facts)
        room.post("Look", files(room)[0])
        return room.asked("ask:a:1").digest

    assert digest({"a": BLIND}) != digest({"a": {"images": True}}) == digest({})


def test_images_that_are_left_out_take_no_room_and_cost_nothing() -> None:
    room = Driven(names="a", facts={"a": BLIND | {"context_length": trimming.IMAGE}})
    for text in ("one", "two", "three"):
        room.post(text, files(room)[0])
        room.answer("ask:a:1")
    assert not room.data(ContextTrimmed)
    rates = Rates(input=Decimal(1_000_000), output=Decimal(1_000_000))
    fact = BLIND | {"prices": Prices(table="test", rates=rates).model_dump(mode="json")}
    models = [one.model_dump(mode="json") | {"max_tokens": 9} for one in config("a").models]
    room = Driven(facts={"a": fact}, models=models, budget=1_000_000)
    room.post("Look", files(room)[0])
    assert (room.asked("ask:a:1").reserved or 0) < spending.PER_IMAGE
    room.prove()


def test_turns_of_the_second_context_showed_images_to_everyone() -> None:
    room = Driven(names="a", engine=1, facts={"a": BLIND})
    room.post("Look", files(room)[0])
    assert room.asked("ask:a:1").images_left_out == 0
    assert len(shown(room)[0].images) == 1
    room.prove()


def test_what_was_recorded_without_names_is_read() -> None:
    recorded = {"sha256": "0" * 64, "size": 3, "media_type": "image/png"}
    message = Message.model_validate_json(orjson.dumps({"content": "", "attachments": [recorded]}))
    assert [one.name for one in message.attachments] == [""]


@pytest.mark.parametrize("name", ["a\nb", "a\rb", "\x00", "a\u2028b", "\x85", "x" * 256])
def test_a_name_is_one_line(name: str) -> None:
    with pytest.raises(ValidationError):
        Attachment(sha256="0" * 64, size=3, name=name)
