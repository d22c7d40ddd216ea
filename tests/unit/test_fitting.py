"""Arguments that cannot fit a schema are told from those that may, in bounded work."""

from __future__ import annotations

import json
from typing import Any

import pytest

from actors.routing.fitting import LONGEST, schemas, unfit


def one(schema: Any, value: Any, **root: Any) -> str | None:
    """What is said of a value under `n`, whose schema that is."""
    told = unfit(json.dumps({"n": value}), {"properties": {"n": schema}} | root)
    return told and told.removeprefix("the arguments do not fit: ")


@pytest.mark.parametrize(
    ("schema", "value", "told"),
    [
        ({"type": "string"}, 1, "n: 1 is not of type string"),
        ({"type": "string"}, "", None),
        ({"type": "integer"}, 1.5, "n: 1.5 is not of type integer"),
        ({"type": "integer"}, 2.0, None),
        ({"type": "integer"}, True, "n: true is not of type integer"),
        ({"type": ["string", "null"]}, None, None),
        ({"type": ["string", "null"]}, {}, "n: {...} is not of type string or null"),
        ({"type": ["string", "strange"]}, 1, None),
        ({"enum": ["a", 1]}, "b", 'n: "b" is none of ["a", 1]'),
        ({"enum": ["a", 1]}, True, 'n: true is none of ["a", 1]'),
        ({"enum": ["a", 1]}, 1.0, None),
        ({"enum": [{}]}, {"a": 1}, None),
        ({"const": "a"}, "b", 'n: "b" is none of ["a"]'),
        ({"minimum": 1}, 0, "n: 0 does not keep to minimum 1"),
        ({"maximum": 1}, "2", None),
        ({"maxLength": 2}, "abc", 'n: "abc" does not keep to maxLength 2'),
        ({"minItems": 2}, [1], "n: [1] does not keep to minItems 2"),
        ({"items": {"type": "string"}}, ["a", 1], "n[1]: 1 is not of type string"),
        ({"items": {"type": "string"}, "prefixItems": [{}]}, [1], None),
        ({"required": ["a"]}, {}, 'n: "a" is missing'),
        ({"required": ["a"]}, [], None),
        (
            {"properties": {"a": {}}, "additionalProperties": False},
            {"b": 1},
            'n: there is no "b", only ["a"]',
        ),
        ({"additionalProperties": False, "patternProperties": {"b": {}}}, {"b": 1}, None),
        ({"additionalProperties": {"type": "null"}}, {"b": 1}, "n.b: 1 is not of type null"),
        (
            {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "x",
            'n: "x" is not of type integer, and n: "x" is not of type null',
        ),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, None, None),
        ({"oneOf": [{}, {}]}, None, None),
        ({"allOf": [{}, {"type": "null"}]}, 1, "n: 1 is not of type null"),
        (False, 1, "n: nothing may stand there"),
        ({"pattern": "^a"}, "b", None),
        ({"not": {}}, 1, None),
        ({"$id": "https://example.org/x", "type": "null"}, 1, None),
    ],
)
def test_what_is_wrong_is_told(schema: Any, value: Any, told: str | None) -> None:
    assert one(schema, value) == told


def test_references_within_the_schema_are_followed() -> None:
    city = {"type": "object", "properties": {"name": {"type": "string"}}}
    ref = {"$ref": "#/$defs/City", "type": "null"}
    assert one(ref, {"name": 1}, **{"$defs": {"City": city}}) == "n.name: 1 is not of type string"
    for elsewhere in ("#/$defs/Town", "other.json", "#", "#/$defs/a~1b"):
        assert one({"$ref": elsewhere}, 1, **{"$defs": {"City": city}}) is None


def test_what_is_no_json_object_is_told() -> None:
    assert "not JSON" in str(unfit("{", {}))
    assert unfit("[]", {}) == "the arguments have to be a JSON object"
    assert unfit(" ", {"required": ["a"]}) == 'the arguments do not fit: "a" is missing'


@pytest.mark.parametrize(
    "schema", [None, True, [], {"$schema": "http://json-schema.org/draft-04/"}]
)
def test_of_what_is_not_understood_nothing_is_said(schema: Any) -> None:
    if isinstance(schema, dict):
        schema = schema | {"required": ["a"]}
    assert unfit("{}", schema) is None


def test_three_faults_are_told() -> None:
    told = unfit("{}", {"required": list("abcde")})
    assert told == 'the arguments do not fit: "a" is missing; "b" is missing; "c" is missing'


@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        ({"properties": {"n": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"$ref": "#/$defs/a"}}}, [1]),
        ({"properties": {"n": {"items": {"enum": list(range(1000))}}}}, [999] * 99 + [-1]),
        ({"properties": {"n": {"type": "null"}}}, "x" * LONGEST),
    ],
    ids=["endless", "much", "long"],
)
def test_what_takes_long_to_say_is_left_to_the_tool_server(schema: Any, arguments: Any) -> None:
    found = unfit(json.dumps({"n": arguments}), schema)
    assert found is None


def test_what_was_found_before_it_took_long_is_told() -> None:
    told = one({"items": {"enum": list(range(1000))}}, [-1] + [999] * 99)
    assert told is not None
    assert told.startswith("n[0]: -1 is none of [0, 1, 2,")
    assert told.count("none of") == 1


def test_alternatives_within_alternatives_end() -> None:
    both = {"anyOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}]}
    schema = {"properties": {"n": both}, "$defs": {"a": {"properties": {"n": both}}}}
    nested: Any = {"n": 1}
    for _ in range(30):
        nested = {"n": nested}
    assert unfit(json.dumps(nested), schema) is None


def test_a_list_of_tools_has_their_schemas() -> None:
    listed = [{"name": "a", "parameters": {"type": "object"}}, {"name": "b"}]
    assert schemas(json.dumps(listed)) == {"a": {"type": "object"}, "b": None}
