"""No arguments are refused that a validator of JSON schema would let pass."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema.validators import Draft7Validator, Draft202012Validator

from actors.routing.fitting import unfit

NAMES = st.sampled_from(["a", "b", "c"])
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([0.0, 1.5, -2.0, "", "a", "ab"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
TYPES = st.sampled_from(["null", "boolean", "string", "array", "object", "number", "integer"])


def schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Schemas of which `inner` may be parts. They say little, so that much passes."""
    some = st.lists(inner, min_size=1, max_size=2)
    keywords = {
        "type": TYPES | st.lists(TYPES, min_size=1, max_size=2, unique=True),
        "enum": st.lists(VALUES, min_size=1, max_size=3),
        "const": VALUES,
        "properties": st.dictionaries(NAMES, inner, min_size=1, max_size=2),
        "required": st.lists(NAMES, max_size=2, unique=True),
        "additionalProperties": inner,
        "patternProperties": st.fixed_dictionaries({"^a": inner}),
        "items": inner,
        "anyOf": some,
        "oneOf": some,
        "allOf": some,
        "not": inner,
        "minimum": st.integers(-1, 1),
        "maximum": st.integers(-1, 1),
        "minLength": st.integers(0, 2),
        "maxItems": st.integers(0, 2),
        "$ref": st.sampled_from(["#/$defs/a", "#/definitions/b", "#"]),
    }
    chosen = st.lists(st.sampled_from([*keywords]), min_size=1, max_size=2, unique=True)
    return chosen.flatmap(lambda few: st.fixed_dictionaries({name: keywords[name] for name in few}))


PARTS = st.recursive(st.booleans(), schemas, max_leaves=8)


@settings(max_examples=400)
@given(schema=schemas(PARTS), parts=st.tuples(PARTS, PARTS), value=VALUES)
def test_what_is_refused_would_not_pass(schema: Any, parts: tuple[Any, Any], value: Any) -> None:
    arguments = {"n": value}
    whole = {
        "properties": {"n": schema},
        "$defs": {"a": parts[0]},
        "definitions": {"b": parts[1]},
    }
    if unfit(orjson.dumps(arguments).decode(), whole) is None:
        return
    for validator in (Draft7Validator, Draft202012Validator):
        try:
            assert not validator(whole).is_valid(arguments), validator
        except RecursionError:
            continue  # it refers to itself, and no validator lets it pass
