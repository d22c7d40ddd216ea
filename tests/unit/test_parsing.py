"""What models write is read forgivingly, and the same way everywhere."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from actors.routing.parsing import MAX_DEPTH, MAX_TRIES, first_object, named_participants
from events.config import Participant


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"x": 1}', {"x": 1}),
        ('  {"x": 1} and {"x": 2}', {"x": 1}),
        ('```json\n{"x": [1, {"y": "}"}]}\n```', {"x": [1, {"y": "}"}]}),
        ('Use {braces} and {"a": 1}, then {"x": 2}.', {"x": 2}),
        ('{"a": 1}', {"a": 1}),  # none has the key: the first of all
        ('{"a": {"x": 3}}', {"x": 3}),
        ('"{" {"x": 4}', {"x": 4}),
        ('{"x": "unfinished} {"x": 5}', {"x": 5}),
        ('{"x": "a \\" quote"}', {"x": 'a " quote'}),
        ('don\'t say "x {"x": 6}', {"x": 6}),
        ("{'x': 1}", None),
        ('{"x": NaN}', None),
        ('{"x": "\\ud800"}', None),
        ('{"x": "é 😀"}', {"x": "é 😀"}),
        ("[1, 2]", None),
        ("", None),
        ("no braces", None),
        ("}{", None),
    ],
)
def test_first_object(text: str, found: Any) -> None:
    assert first_object(text, "x") == found


def test_depth_is_bounded_by_the_text_not_by_the_stack() -> None:
    def nested(depth: int) -> str:
        return '{"x":' * depth + "1" + "}" * depth

    def deep(text: str, frames: int) -> dict[str, Any] | None:
        return deep(text, frames - 1) if frames else first_object(text, "x")

    within, beyond = nested(MAX_DEPTH), nested(MAX_DEPTH + MAX_TRIES)
    for frames in (0, sys.getrecursionlimit() - 200):
        assert deep(within, frames) == json.loads(within)
        assert deep(beyond, frames) is None


def test_tries_are_bounded() -> None:
    assert first_object("{ " * (MAX_TRIES - 1) + '{"x": 1}', "x") == {"x": 1}
    assert first_object("{ " * MAX_TRIES + '{"x": 1}', "x") is None


@pytest.mark.parametrize(
    "text", ["{" * 300_000, '{"' * 300_000, '{"a' + "\\" * 300_000, "[{" * 99_999]
)
def test_text_that_never_closes_is_read_to_its_end_and_no_further(text: str) -> None:
    assert first_object(text, "x") is None


PEOPLE = tuple(
    Participant(id=id, provider="p", model_name="m", role=role)
    for id, role in (
        ("m1", "Architect"),
        ("m2", "Coder"),
        ("m3", "coder"),
        ("m4", None),
        ("M4", "m1"),
    )
)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("m1", ("m1",)),
        (["m2", "m1", "m2"], ("m2", "m1")),
        ("M1", ("m1",)),  # an id in another case, and also somebody's role: ids are stricter
        ("architect", ("m1",)),
        ("ARCHITECT (M1)", ("m1",)),
        ("  [Architect (m1)] ", ("m1",)),
        ("coder", ()),  # two have that role
        ("Coder (m2)", ("m2",)),
        (["m4", "M4"], ("m4", "M4")),
        (["", " ", "nobody", 5, None, ["m1"], {"id": "m1"}], ()),
        (None, ()),
        ({"m1": "m2"}, ()),
        ("'m2'", ("m2",)),
    ],
)
def test_named_participants(value: Any, found: tuple[str, ...]) -> None:
    assert named_participants(value, PEOPLE) == found
