"""The session machine: a conversation that is longer than a model can read is trimmed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.routing import trimming
from events.turns import Entry
from events.types import ContextTrimmed, ModelAsked
from events.values import Attachment
from tests.sessions import Driven


def entry(position: int, size: int, participant: str | None, images: int = 0) -> Entry:
    image = Attachment(sha256="0" * 64, size=9, media_type="image/png")
    return Entry(
        position,
        "t1",
        None,
        participant,
        participant or "",
        "x" * size,
        "",
        size,
        attachments=(image,) * images,
    )


def test_the_oldest_utterances_are_left_out_and_recorded() -> None:
    room = Driven(facts={"a": {"context_length": 500}})
    for text in ("one", "two", "three"):
        room.post(f"{text} {'word ' * 50}")
        for name in "abc":
            room.answer(f"ask:{name}:1", f"{name} on {text} {'so ' * 50}")
    assert room.post("four") == (
        "turn.started context.trimmed(ask:a:1) model.asked(ask:a:1) model.asked(ask:b:1)"
        " model.asked(ask:c:1)"
    )
    told = room.last(ContextTrimmed)
    assert (told.participant, told.rule) == ("a", "oldest_first")
    assert told.estimated > told.limit == 500 - 125
    asked = room.asked("ask:a:1", "t4")
    assert asked.context.skip == told.skipped > 0
    said = str(room.request("ask:a:1")[1])
    assert "a on one" not in said
    assert "c on three" in said
    assert "four" in said
    assert "a on one" in str(room.request("ask:b:1")[1]), "nothing limits the others"
    room.prove()


def test_the_last_message_is_never_left_out() -> None:
    room = Driven(facts={"a": {"context_length": 100}})
    room.post("word " * 500)
    assert not room.data(ContextTrimmed)
    assert "word" in str(room.request("ask:a:1")[1])
    for name in "abc":
        room.answer(f"ask:{name}:1")
    room.post("word " * 400)
    assert room.last(ContextTrimmed).skipped == 4, "all but the message itself"
    assert "yes" not in str(room.request("ask:a:1")[1][1:])
    room.prove()


def test_turns_of_the_first_context_were_never_trimmed() -> None:
    room = Driven(engine=1, facts={"a": {"context_length": 10}})
    for _ in range(2):
        room.post("word " * 500)
        for name in "abc":
            room.answer(f"ask:{name}:1")
    assert not room.data(ContextTrimmed)
    assert all(asked.context.skip == 0 for asked in room.data(ModelAsked))
    room.prove()


def test_what_was_trimmed_is_trimmed_in_a_retry() -> None:
    room = Driven(facts={"a": {"context_length": 400}})
    for text in ("one", "two"):
        room.post(f"{text} {'word ' * 80}")
        for name in "abc":
            room.answer(f"ask:{name}:1", f"{name} on {text} {'so ' * 80}")
    first = room.asked("ask:a:1", "t2")
    assert first.context.skip
    room.retry("t2", "a")
    again = room.asked("ask:a:1", "t3")
    assert (again.context, again.digest) == (first.context, first.digest)
    room.prove()


ENTRIES = st.lists(
    st.tuples(st.integers(0, 5000), st.sampled_from([None, "a", "b"]), st.integers(0, 2)),
    min_size=1,
    max_size=30,
)


@given(ENTRIES, st.integers(0, 500), st.integers(0, 20_000))
def test_no_more_is_left_out_than_has_to_be(
    sizes: list[tuple[int, str | None, int]], around: int, limit: int
) -> None:
    shown = [entry(n, *one) for n, one in enumerate(sizes, 1)]

    def needed(some: list[Entry]) -> int:
        images = sum(len(e.attachments) for e in some) * trimming.IMAGE
        return around + images + sum(trimming.tokens(e.size + len(e.label) + 4) for e in some)

    found = trimming.fit(shown, around, limit)
    last = max((n for n, e in enumerate(shown) if e.participant is None), default=0)
    assert found.estimated == needed(shown)
    assert found.skipped <= last
    assert needed(shown[found.skipped :]) <= limit or found.skipped == last
    if found.skipped:
        assert needed(shown[found.skipped - 1 :]) > limit
    total = sum(e.size for e in shown)
    images = sum(e.images for e in shown)
    assert around + trimming.most(total, len(shown), images) >= needed(shown)


@pytest.mark.parametrize(
    ("length", "max_tokens", "expected"),
    [(8000, None, 6000), (128_000, None, 123_904), (99, 9, 90)],
)
def test_there_is_room_left_for_the_answer(
    length: int, max_tokens: int | None, expected: int
) -> None:
    assert trimming.room(length, max_tokens) == expected
