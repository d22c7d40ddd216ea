"""What models say reaches a terminal as text and as nothing else."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from api.terminal_text import safe, safe_line, tail, wrapped

ANY_TEXT = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("\x1b[]m\x07\x9b\x9d\\;0123\r\n\t漢字👩\u200d🚀\u202e\u0301 "),
    ),
    max_size=300,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[1;1Hcleared", "cleared"),
        ("\x1b]0;another title\x07text", "text"),
        ("\x1b]8;;https://example.com\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]52;c;Y29weQ==\x07", ""),
        ("\x9b31mred", "red"),
        ("\x1bPq sixel\x1b\\after", "after"),
        ("\x1bcreset", "reset"),
        ("un\x1b]finished and more", "unfinished and more"),
        ("back\b\b\b\bforth", "backforth"),
        ("one\r\ntwo\rthree\x0bfour\u2028five", "one\ntwo\nthree\nfour\nfive"),
        ("evil\u202etxt.exe", "eviltxt.exe"),
        ("half a pair \ud83d.", "half a pair ."),
        ("[red]markup[/red] :smile: {x} \\[", "[red]markup[/red] :smile: {x} \\["),
        ("a\tb", "a    b"),
        ("漢字 👩\u200d🚀 e\u0301", "漢字 👩\u200d🚀 e\u0301"),
    ],
)
def test_only_what_can_be_read_is_left(text: str, shown: str) -> None:
    assert safe(text) == shown


def test_a_line_stays_a_line() -> None:
    assert safe_line(" one\n\n two\x1b[31m\tthree ") == "one two three"


@given(ANY_TEXT)
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    shown = safe(text)
    for character in shown:
        assert character == "\n" or unicodedata.category(character) not in ("Cc", "Cs")
    assert "\n" not in safe_line(text)
    assert safe(shown) == shown


@given(ANY_TEXT, st.integers(2, 40), st.integers(1, 10))
def test_lines_fit_and_lose_nothing_but_spaces(text: str, width: int, height: int) -> None:
    shown = safe(text)
    lines = list(wrapped(shown, width))
    assert all(cell_len(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(shown.split())
    last = tail(text, width, height)
    assert len(last) <= height
    assert all(cell_len(line) <= width for line in last)


def test_the_tail_is_what_was_said_last() -> None:
    text = " ".join(f"word{n}" for n in range(1000))
    lines = tail(text, 20, 4)
    assert len(lines) == 4
    assert lines[0].startswith("… word")
    assert lines[-1].endswith("word999")
    words = " ".join(lines).removeprefix("… ").split()
    assert text.endswith(" ".join(words))


def test_a_text_that_fits_is_whole() -> None:
    assert tail("one two\nthree", 10, 4) == ["one two", "three"]
    assert tail("", 10, 4) == [""]
    assert tail("text", 10, 0) == []


def test_long_words_and_wide_characters_are_broken_where_they_must_be() -> None:
    assert list(wrapped("a " + "x" * 9, 4)) == ["a", "xxxx", "xxxx", "x"]
    assert list(wrapped("漢字漢字", 5)) == ["漢字", "漢字"]
