"""Arguments against a tool's schema."""

from __future__ import annotations

from typing import Any

import pytest

from actors.tools.arguments import LONGEST, Schema, parsed
from actors.tools.checking import Checker
from events.errors import BadArguments, ToolError


def test_text_that_is_no_object() -> None:
    assert parsed("") == parsed(" ") == parsed("{}") == {}
    for text in ("[1]", "1", "{", "null", '{"a": NaN}'):
        with pytest.raises(BadArguments):
            parsed(text)
    with pytest.raises(BadArguments, match="more than"):
        parsed('"' + "x" * LONGEST + '"')


async def test_integers_of_any_size_arrive_as_they_are() -> None:
    given = parsed('{"n": 123456789012345678901}')
    assert given == {"n": 123456789012345678901}
    whole = {"properties": {"n": {"type": "integer"}}}
    checker = Checker()
    try:
        await checker.check("t", whole, given)
        with pytest.raises(BadArguments, match="123456789012345678901 is not of type 'string'"):
            await checker.check("t", {"properties": {"n": {"type": "string"}}}, given)
    finally:
        await checker.stop()


@pytest.mark.parametrize(
    ("schema", "arguments", "why"),
    [
        ({"required": ["a"]}, {}, "'a' is a required property"),
        ({"properties": {"a": {"type": "integer"}}}, {"a": "1"}, "a: '1' is not of type"),
        (
            {"properties": {"a": {"items": {"enum": ["x"]}}}},
            {"a": ["x", "y"]},
            "a[1]: 'y' is not one of ['x']",
        ),
        (
            {"$defs": {"n": {"minimum": 3}}, "properties": {"a": {"$ref": "#/$defs/n"}}},
            {"a": 2},
            "a: 2 is less than the minimum of 3",
        ),
        (  # what `items` with a list means is of draft 7
            {
                "$schema": "http://json-schema.org/draft-07/schema#",
                "properties": {"a": {"items": [{"type": "string"}]}},
            },
            {"a": [1]},
            "a[0]: 1 is not of type 'string'",
        ),
    ],
)
def test_faults_are_said_with_their_place(
    schema: dict[str, Any], arguments: dict[str, Any], why: str
) -> None:
    with pytest.raises(BadArguments) as caught:
        Schema("t", schema).check(arguments)
    assert why in caught.value.message


def test_what_fits_passes() -> None:
    Schema("t", {"type": "object", "properties": {"a": {"type": "integer"}}}).check({"a": 1})
    Schema("t", {}).check({"anything": [1]})


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "no type"},
        {"properties": {"a": {"$ref": "http://127.0.0.1:1/schema"}}},
        {"properties": {"a": {"$ref": "#/$defs/none"}}},
    ],
)
def test_a_schema_that_is_none_is_no_fault_of_the_arguments(schema: dict[str, Any]) -> None:
    with pytest.raises(ToolError) as caught:
        Schema("t", schema).check({"a": 1})
    assert not isinstance(caught.value, BadArguments)


def test_a_schema_that_goes_round_and_round() -> None:
    endless = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}
    with pytest.raises(ToolError):
        Schema("t", endless).check({})
