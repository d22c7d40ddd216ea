"""What a participant is shown, and the digest of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest

from actors.routing import context
from actors.routing.steps import Answer
from actors.routing.turn import Turn
from events.types import ModelAsked
from events.values import Blob
from tests.sessions import Driven, config


def said(room: Driven, step: str) -> list[tuple[str, str]]:
    """The messages of a step of the open turn, without the system prompt."""
    return [(role, text) for role, text in room.request(step)[1] if role != "system"]


def talk(room: Driven, *texts: str) -> Driven:
    """Turns in which everyone answers, such as `a on one`, in the session's order."""
    for text in texts:
        room.post(text)
        while room.waiting:
            key = room.waiting[0]
            room.answer(key, f"{key.split(':')[1]} on {text}")
    return room


# --- modes -----------------------------------------------------------------------------------


def test_shared_shows_everyone_everything_labelled_but_ones_own() -> None:
    room = talk(Driven(names="ab"), "one")
    room.post("two")
    assert said(room, "ask:a:1") == [
        ("user", "one"),
        ("assistant", "a on one"),
        ("user", "[B (b)]: b on one\n\ntwo"),
    ]
    assert said(room, "ask:b:1") == [
        ("user", "one\n\n[A (a)]: a on one"),
        ("assistant", "b on one"),
        ("user", "two"),
    ]


def test_isolated_shows_ones_own_answers_only() -> None:
    room = talk(Driven(names="ab", history="isolated"), "one")
    room.post("two")
    assert said(room, "ask:b:1") == [("user", "one"), ("assistant", "b on one"), ("user", "two")]


def test_a_participant_may_have_a_mode_and_a_window_of_its_own() -> None:
    models = [model.model_dump(mode="json") for model in config("abc").models]
    models[0] |= {"history": "isolated", "window": 1}
    models[1] |= {"window": 3}
    room = talk(Driven(models=models), "one")
    room.post("two")
    assert said(room, "ask:a:1") == [("user", "two")]
    assert said(room, "ask:b:1") == [
        ("assistant", "b on one"),
        ("user", "[C (c)]: c on one\n\ntwo"),
    ]
    assert len(said(room, "ask:c:1")) == 3


def test_none_shows_what_the_person_said() -> None:
    async def route(turn: Turn) -> Any:
        return await turn.ask("a", history="none")

    room = talk(scripted(route), "one", "two")
    room.post("three")
    assert said(room, "ask:a:1") == [("user", "one\n\ntwo\n\nthree")]


def scripted(route: Any, **changes: Any) -> Driven:
    return Driven(
        source=Blob.of(b"source"),
        scripts=lambda _blob, _entry: route,
        **{"routing_pattern": "script", "script": "test:route"} | changes,
    )


def test_the_system_prompt_names_the_others_where_they_are_heard() -> None:
    models = [model.model_dump(mode="json") for model in config("abc").models]
    models[0] |= {"system_prompt": "Be brief.", "role": None}
    models[1] |= {"system_prompt": "Be brief.", "history": "isolated"}
    room = Driven(models=models)
    room.post()
    first = room.request("ask:a:1")[1][0]
    assert first == (
        "system",
        "Be brief.\n\nYou are a in a conversation with a user and B (b), C (c). What the others "
        "said begins with their name in square brackets. Write your own answer without such a "
        "name.",
    )
    assert room.request("ask:b:1")[1][0] == ("system", "Be brief.")
    alone = Driven(names="a")
    alone.post("Hi")
    assert alone.request("ask:a:1")[1] == [("user", "Hi")]


# --- what is seen ----------------------------------------------------------------------------


def test_nothing_that_lands_after_the_step_was_emitted_leaks_in() -> None:
    room = Driven(names="abc")
    room.post("one")
    before = room.request("ask:c:1")
    room.answer("ask:a:1", "leak")
    room.answer("ask:b:1", "leak")
    room.post("leak")
    assert room.request("ask:c:1") == before
    assert said(room, "ask:c:1") == [("user", "one")]


def test_now_shows_what_was_answered_in_this_turn_and_start_does_not() -> None:
    async def route(turn: Turn) -> Any:
        first = await turn.ask("a")
        slow = turn.ask("b", see="now")
        await turn.ask("c")
        assert isinstance(first, Answer)
        await turn.gather(
            slow,
            turn.ask("c", see="now"),
            turn.ask("c", see="now", exclude=[first.step]),
            turn.ask("c", instruction="Sum up.", see="now"),
        )

    room = scripted(route)
    room.post("one")
    room.answer("ask:a:1", "A1")
    assert said(room, "ask:c:1") == [("user", "one")]
    room.answer("ask:c:1", "C1")
    assert said(room, "ask:b:1") == [("user", "one\n\n[A (a)]: A1")]
    assert said(room, "ask:c:2") == [("user", "one\n\n[A (a)]: A1"), ("assistant", "C1")]
    assert said(room, "ask:c:3") == [("user", "one"), ("assistant", "C1")]
    assert said(room, "ask:c:4")[-1] == ("user", "Sum up.")


def test_exclusions_are_of_this_turn_alone() -> None:
    async def route(turn: Turn) -> Any:
        await turn.ask("a")
        return await turn.ask("b", see="now", exclude=["ask:a:1"])

    room = scripted(route)
    room.post("one")
    room.answer("ask:a:1", "earlier")
    room.answer("ask:b:1", "B1")
    room.post("two")
    room.answer("ask:a:1", "left out")
    assert said(room, "ask:b:1") == [
        ("user", "one\n\n[A (a)]: earlier"),
        ("assistant", "B1"),
        ("user", "two"),
    ]


def test_answers_that_are_not_public_or_empty_are_no_part_of_the_conversation() -> None:
    async def route(turn: Turn) -> Any:
        await turn.gather(turn.ask("a", public=False), turn.ask("b"))
        return await turn.ask("c", see="now")

    room = scripted(route)
    room.post("one")
    room.answer("ask:a:1", "a plan")
    room.answer("ask:b:1", "")
    assert said(room, "ask:c:1") == [("user", "one")]


def test_a_window_counts_what_is_visible() -> None:
    room = talk(Driven(names="abc", history="isolated", window=2), "one")
    room.post("two")
    assert said(room, "ask:b:1") == [("assistant", "b on one"), ("user", "two")]


def test_a_superseded_answer_stays_visible_to_those_who_saw_it() -> None:
    room = talk(Driven(names="ab"), "one", "two")
    room.retry("t1", "a")
    room.answer("ask:a:1", "a again")
    turn = room.machine.session.turns["t2"]
    old = turn.steps["ask:b:1"].asked
    assert old is not None
    parts = context.parts(room.machine.session, turn, old)
    assert "a on one" in [part.content for part in parts]
    assert "a again" not in [part.content for part in parts]
    room.post("three")
    assert "a again" in str(said(room, "ask:b:1"))
    assert "a on one" not in str(said(room, "ask:b:1"))


def test_labels_are_those_of_the_time() -> None:
    room = talk(Driven(names="ab"), "one")
    models = [model.model_dump(mode="json") for model in room.config.models]
    models[1]["role"] = "critic"
    room.reconfigure(models=models)
    room.post("two")
    assert "[B (b)]: b on one" in str(said(room, "ask:a:1"))


# --- messages --------------------------------------------------------------------------------


def test_neighbours_of_one_role_are_joined() -> None:
    room = talk(Driven(names="abc"), "one")
    room.post("two")
    roles = [role for role, _ in room.request("ask:b:1")[1]]
    assert roles == ["system", "user", "assistant", "user"]
    assert said(room, "ask:b:1")[0][1] == "one\n\n[A (a)]: a on one"


def test_long_texts_are_read_where_they_lie() -> None:
    room = Driven(names="ab")
    long = "x" * 70_000
    blob = room.blobs.put(long.encode())
    room.post(blob)
    room.answer("ask:a:1", room.blobs.put(b"long answer"))
    room.answer("ask:b:1")
    room.post("two")
    assert said(room, "ask:b:1")[0] == ("user", f"{long}\n\n[A (a)]: long answer")


# --- digests ---------------------------------------------------------------------------------


def test_a_digest_is_what_it_says() -> None:
    models = [model.model_dump(mode="json") for model in config("ab").models]
    models[0] |= {"system_prompt": "Be brief.", "temperature": 0.5, "history": "isolated"}
    room = Driven(models=models)
    room.post("Grüße")
    room.answer("ask:b:1", "not for a")
    room.answer("ask:a:1", "Hallo")
    room.post("two")
    lines = [
        [None, "", sha256("Grüße".encode()).hexdigest()],
        ["a", "A (a)", sha256(b"Hallo").hexdigest()],
        [None, "", sha256(b"two").hexdigest()],
        {
            "chat_template": None,
            "instruction": None,
            "name": "m-a",
            "parameters": {
                "extra": {},
                "max_tokens": None,
                "schema": None,
                "seed": None,
                "stop": [],
                "temperature": 0.5,
                "top_p": None,
            },
            "participant": "a",
            "provider": "test",
            "system": sha256(b"Be brief.").hexdigest(),
        },
    ]
    text = "\n".join(json.dumps(line, separators=(",", ":")) for line in lines)
    assert room.asked("ask:a:1").digest == sha256(text.encode()).hexdigest()


def digests(text: str, *, as_blobs: bool) -> Iterator[str]:
    async def route(turn: Turn) -> Any:
        await turn.ask("a")
        return await turn.ask("b", instruction=text, see="now")

    room = scripted(route)
    content = room.blobs.put(text.encode()) if as_blobs else text
    for _ in range(2):
        room.post(content)
        yield room.asked("ask:a:1").digest
        room.answer("ask:a:1", content)
        yield room.asked("ask:b:1").digest
        room.answer("ask:b:1", "fine")


@pytest.mark.parametrize("text", ["short", "é😀" * 20_000])
def test_a_digest_is_the_same_for_a_text_and_its_blob(text: str) -> None:
    assert list(digests(text, as_blobs=True)) == list(digests(text, as_blobs=False))


def test_a_digest_tells_every_difference() -> None:
    base: dict[str, Any] = {"names": "ab"}
    variants: list[dict[str, Any]] = [{}, {"history": "isolated"}]
    for change in (
        {"system_prompt": "x"},
        {"temperature": 0.1},
        {"seed": 1},
        {"model_name": "other"},
        {"provider": "other"},
        {"chat_template": "other"},
        {"stop_sequences": ["x"]},
        {"extra": {"top_k": 1}},
    ):
        models = [model.model_dump(mode="json") for model in config("ab").models]
        variants.append({"models": [models[0] | change, models[1]]})
    seen = set()
    for variant in variants:
        room = talk(Driven(**base | variant), "one")
        room.post("two")
        seen.add(room.asked("ask:a:1").digest)
    for text in ("two", "two "):
        room = talk(Driven(**base), "one ")
        room.post(text)
        seen.add(room.asked("ask:a:1").digest)
    assert len(seen) == len(variants) + 2


def test_digests_made_from_the_last_one_equal_digests_made_anew() -> None:
    room = talk(Driven(names="abc", routing_pattern="voting"), "one", "two")
    talk(room, "three")
    room.retry("t2", "b")
    room.answer("ask:b:1", "b again")
    talk(room, "four")
    models = [model.model_dump(mode="json") for model in room.config.models]
    models[0]["system_prompt"] = "From now on, be brief."
    room.reconfigure(models=models)
    talk(room, "five")
    room.reconfigure(window=4)
    talk(room, "six")
    room.reconfigure(window=None, history="isolated")
    talk(room, "seven", "eight")
    assert len(room.data(ModelAsked)) == 8 * 6 + 1
    room.prove()
