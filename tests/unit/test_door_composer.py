"""What a client at the door sees grow, by what happens in a turn."""

from __future__ import annotations

from typing import Any

import pytest

from api.openai_door.backend import Said
from api.openai_door.composing import Composer, manner_of
from events.config import SessionConfig


def session(seats: str = "a b", **changes: Any) -> SessionConfig:
    models = [{"id": id, "provider": "p", "model_name": "m"} for id in seats.split()]
    return SessionConfig.model_validate({"session_id": "s", "models": models} | changes)


class Watched:
    """A composer, and what it has shown by channel."""

    def __init__(self, config: SessionConfig) -> None:
        self.composer = Composer(config)
        self.shown = {"content": "", "reasoning": ""}

    def ask(self, *participants: str, purpose: str = "answer", n: int = 1) -> None:
        for id in participants:
            payload = {"participant": id, "purpose": purpose}
            self.composer.asked(f"ask:{id}:{n}", payload)

    def say(self, id: str, text: str, seq: int = 0, attempt: int = 1, n: int = 1) -> None:
        self._show(self.composer.piece(f"ask:{id}:{n}", attempt, "text", seq, text))

    def answer(self, id: str, text: str, n: int = 1) -> None:
        self._show(self.composer.answered(f"ask:{id}:{n}", text))

    def fail(self, id: str, n: int = 1) -> None:
        self._show(self.composer.ended(f"ask:{id}:{n}"))

    def rest(self, answer: str) -> None:
        self._show(self.composer.rest(answer))

    def _show(self, said: Any) -> None:
        for one in said:
            assert isinstance(one, Said)
            self.shown[one.channel] += one.text


@pytest.mark.parametrize(
    ("config", "manner"),
    [
        (session("a"), "one"),
        (session("a b", routing_pattern="round_robin"), "one"),
        (session("a b", routing_pattern="round_robin", rounds=2), "last"),
        (session("a b"), "all"),
        (session("a b", routing_pattern="voting"), "last"),
        (session("a", routing_pattern="script", script="m:f"), "last"),
    ],
)
def test_the_manner_is_that_of_the_pattern(config: SessionConfig, manner: str) -> None:
    assert manner_of(config) == manner


def test_one_is_heard_word_by_word() -> None:
    watched = Watched(session("a"))
    watched.ask("a")
    watched.say("a", "One ")
    assert watched.shown["content"] == "One "
    watched.say("a", "One ")  # a repetition
    watched.say("a", "e two", seq=2)
    assert watched.shown["content"] == "One two"
    watched.answer("a", "One two three")
    watched.rest("One two three")
    assert watched.shown == {"content": "One two three", "reasoning": ""}
    assert not watched.composer.broken


def test_what_is_missing_comes_with_the_whole() -> None:
    watched = Watched(session("a"))
    watched.ask("a")
    watched.say("a", "late", seq=7)  # what was before it is lost
    assert watched.shown["content"] == ""
    watched.answer("a", "Far too late")
    assert watched.shown["content"] == "Far too late"


def test_what_one_says_before_it_calls_a_tool_stands_before_the_answer() -> None:
    watched = Watched(session("a"))
    watched.ask("a")
    watched.say("a", "Let me look.")
    watched.answer("a", "Let me look.")
    watched.ask("a", n=2)
    watched.say("a", "Five", n=2)
    watched.answer("a", "Five.", n=2)
    watched.rest("Five.")
    assert watched.shown["content"] == "Let me look.\n\nFive."
    assert not watched.composer.broken


@pytest.mark.parametrize("again", ["reasked", "piece", "fallback", "other"])
def test_what_was_shown_and_does_not_count_is_told(again: str) -> None:
    watched = Watched(session("a"))
    watched.ask("a")
    watched.say("a", "First")
    match again:
        case "reasked":
            watched.composer.reasked("ask:a:1", 2)
            watched.answer("a", "Second")
        case "piece":
            watched.say("a", "Second", attempt=2)
            watched.answer("a", "Second")
        case "fallback":
            watched.fail("a")
            watched.ask("a", n=2)
            watched.answer("a", "Second", n=2)
        case _:
            watched.answer("a", "Second")
    watched.rest("Second")
    assert watched.shown["content"] == "First"
    assert watched.composer.broken


def test_what_failed_in_silence_is_nobodys_loss() -> None:
    watched = Watched(session("a"))
    watched.ask("a")
    watched.fail("a")
    watched.ask("a", n=2)
    watched.answer("a", "Second", n=2)
    watched.rest("Second")
    assert watched.shown["content"] == "Second"
    assert not watched.composer.broken


def test_of_all_the_first_to_speak_is_heard_and_the_others_after_it() -> None:
    watched = Watched(session("a b c"))
    watched.ask("a", "b", "c")
    watched.say("b", "B1 ")
    watched.say("a", "A1")
    assert watched.shown["content"] == "**b**\n\nB1 "
    watched.answer("c", "C")
    watched.answer("b", "B1 B2")
    assert watched.shown["content"] == "**b**\n\nB1 B2\n\n**c**\n\nC\n\n**a**\n\nA1"
    watched.say("a", " A2", seq=2)
    watched.fail("a")
    watched.rest("whatever")
    assert watched.shown["content"].endswith("**a**\n\nA1 A2 [broken off]")
    assert not watched.composer.broken
    assert watched.shown["reasoning"] == ""


def test_what_leads_to_an_answer_is_reasoning() -> None:
    watched = Watched(session("a b", routing_pattern="coordinator", coordinator="a"))
    watched.composer.asked("ask:a:1", {"participant": "a", "purpose": "plan", "public": False})
    watched.answer("a", "nobody sees the plan")
    watched.ask("b")
    watched.answer("b", "An idea")
    watched.ask("a", purpose="synthesis", n=2)
    watched.say("a", "The end", n=2)
    assert watched.shown == {"content": "The end", "reasoning": "**b**\n\nAn idea"}
    watched.answer("a", "The end.", n=2)
    watched.rest("The end.")
    assert watched.shown["content"] == "The end."
    assert not watched.composer.broken


def test_an_answer_that_nobody_spoke_comes_at_the_end() -> None:
    watched = Watched(session("a", routing_pattern="script", script="m:f"))
    watched.ask("a")
    watched.answer("a", "raw")
    watched.rest("polished")
    assert watched.shown == {"content": "polished", "reasoning": "**a**\n\nraw"}
    assert not watched.composer.broken
