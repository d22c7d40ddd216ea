"""What is wrong with a value is said in plain words, and not in those of a library."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from events.config import SessionConfig
from events.faults import faults


def wrong(top: dict[str, Any], one: dict[str, Any]) -> list[tuple[str, str]]:
    """The faults of a session with these changes, of it and of its only participant."""
    model = {"id": "a", "provider": "p", "model_name": "m", **one}
    given = {"session_id": "s", "models": [model], **top}
    with pytest.raises(ValidationError) as caught:
        SessionConfig.model_validate_json(json.dumps(given))
    return [(".".join(map(str, place)), said) for place, said in faults(caught.value.errors())]


@pytest.mark.parametrize(
    ("top", "one", "field", "says"),
    [
        ({}, {"fallbacks": "x"}, "models.0.fallbacks", "has to be a list, such as [{"),
        ({}, {"fallbacks": ["x"]}, "models.0.fallbacks.0", "has to be an object, with its keys"),
        ({}, {"temperature": "hot"}, "models.0.temperature", "has to be a number"),
        ({}, {"temperature": 9}, "models.0.temperature", "has to be at most 2"),
        ({}, {"max_tokens": 1.5}, "models.0.max_tokens", "has to be a whole number"),
        ({}, {"id": "a b"}, "models.0.id", "an id has 1 to 64 letters, digits, '_' and '-'"),
        ({}, {"extra": 3}, "models.0.extra", "has to be an object, with its keys in braces"),
        ({}, {"model_name": 3}, "models.0.model_name", "has to be a text, in quotation marks"),
        ({}, {"model_name": ""}, "models.0.model_name", "is empty: give at least one"),
        ({}, {"spare": 3}, "models.0.spare", "unknown key: remove it or correct its name"),
        ({"models": []}, {}, "models", "is empty: give at least one"),
        ({"models": [3]}, {}, "models.0", "has to be an object, with its keys in braces"),
        ({"budget": "abc"}, {}, "budget.limit", "has to be a number of US dollars, such as 2.50"),
        ({"budget": -1}, {}, "budget.limit", "has to be greater than 0"),
        ({"budget": []}, {}, "budget", "has to be an object, with its keys in braces, such as 2.5"),
        ({"history": "x"}, {}, "history", "has to be 'shared' or 'isolated'"),
        ({"is_youtube_run": "?"}, {}, "is_youtube_run", "has to be true or false"),
        ({"tags": ["x"] * 65}, {}, "tags", "has more than 64 items"),
        ({"title": "x" * 513}, {}, "title", "has more than 512 characters"),
        ({"script": "?"}, {}, "script", "has to match the pattern"),
        ({"coordinator": "zed"}, {}, "", "coordinator 'zed' is not a participant: use one of a"),
    ],
)
def test_a_fault_is_one_and_says_what_to_do(
    top: dict[str, Any], one: dict[str, Any], field: str, says: str
) -> None:
    [(place, said)] = wrong(top, one)
    assert place == field
    assert said.startswith(says)
    assert "nput" not in said


def test_a_list_that_is_too_short_by_itself_is_named() -> None:
    assert [place for place, _ in wrong({"models": [], "rounds": -1}, {})] == ["models", "rounds"]
