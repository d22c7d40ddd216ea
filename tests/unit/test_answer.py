"""What an event keeps of an answer: its text, what it cost, and how it came."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.answer import MOST_PAIRS, Answer, coarser
from actors.providers.port import Delta
from events.values import Usage

pairs = st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9)), max_size=200)


@given(pairs, st.integers(1, 64))
def test_a_coarser_rhythm_has_the_same_characters_and_begins_as_early(
    gaps: list[tuple[int, int]], most: int
) -> None:
    at, rhythm = 0, []
    for gap, count in gaps:
        at += gap
        rhythm.append((at, count))
    coarse = coarser(rhythm, most)
    assert len(coarse) <= most
    assert sum(count for _, count in coarse) == sum(count for _, count in rhythm)
    assert coarse[:1] == [] or coarse[0][0] == rhythm[0][0]
    times = [time for time, _ in coarse]
    assert times == sorted(set(times))


def test_a_long_answer_keeps_a_short_rhythm() -> None:
    answer = Answer(began=10.0)
    for n in range(20_000):
        answer.add(Delta("text", "ab"), 12.0 + n * 0.01)
    assert answer.first_token_ms == 2000
    assert len(answer.rhythm) <= 2 * MOST_PAIRS
    assert answer.rhythm[0] == 0
    assert sum(answer.rhythm[1::2]) == len(answer.text) == 40_000
    assert 150_000 < answer.rhythm[-2] < 200_000


def test_reasoning_is_no_part_of_text_and_rhythm() -> None:
    answer = Answer(began=0.0)
    answer.add(Delta("reasoning", "Hm."), 1.0)
    assert (answer.text, answer.reasoning, answer.rhythm) == ("", "Hm.", ())
    answer.add(Delta("text", "Yes"), 1.5)
    assert (answer.text, answer.reasoning, answer.rhythm) == ("Yes", "Hm.", (500, 3))
    assert answer.estimated_usage(input_characters=9) == Usage(
        input=3, output=1, reasoning=1, estimated=True
    )


def test_nothing_yet() -> None:
    answer = Answer(began=0.0)
    assert (answer.text, answer.reasoning, answer.first_token_ms, answer.rhythm) == (
        "",
        None,
        None,
        (),
    )


def test_a_text_that_no_encoding_takes_is_made_valid() -> None:
    answer = Answer(began=0.0)
    answer.add(Delta("text", "a\ud83d"), 0.0)
    answer.add(Delta("text", "é"), 0.0)
    assert answer.text.encode().decode() == answer.text
    assert (answer.text[0], answer.text[-1], len(answer.text)) == ("a", "é", 3)
