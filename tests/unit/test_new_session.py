"""Sessions for those who name only models, or not even these."""

from __future__ import annotations

import pytest

from api.new_session import CATALOGUE, MOST, REHEARSALS, Choice, choices, session_config, usual
from events.config import SessionConfig
from events.errors import ConfigError


def listed(**names: list[str]) -> list[dict[str, str]]:
    """What a room lists as its models, besides the rehearsal."""
    found = [("rehearsal", "steady"), ("rehearsal", "slow")]
    found += [(provider, name) for provider, models in names.items() for name in models]
    return [{"provider": provider, "model_name": name} for provider, name in found]


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("rehearsal/steady", (Choice("rehearsal", "steady"),)),
        (" a/b , c/d ,", (Choice("a", "b"), Choice("c", "d"))),
        ("hub/org/model:7b", (Choice("hub", "org/model:7b"),)),
        ("pro=ollama/llama3", (Choice("ollama", "llama3", "pro"),)),
        ("a/b=c", (Choice("a", "b=c"),)),
        ("=a/b", (Choice("a", "b"),)),
    ],
)
def test_models_by_name(text: str, chosen: tuple[Choice, ...]) -> None:
    assert choices(text) == chosen


@pytest.mark.parametrize("text", ["", " , ", "steady", "/steady", "rehearsal/", "role=steady"])
def test_what_names_no_model_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match="PROVIDER/MODEL"):
        choices(text)


def test_without_real_models_five_rehearse() -> None:
    assert usual(listed()) == REHEARSALS
    assert len(REHEARSALS) == MOST


def test_real_models_are_taken_in_turn_from_every_provider() -> None:
    chosen = usual(listed(ollama=["a", "b", "nomic-embed-text"], lmstudio=["c"]))
    assert chosen == (Choice("ollama", "a"), Choice("lmstudio", "c"), Choice("ollama", "b"))


def test_no_more_than_five() -> None:
    assert len(usual(listed(ollama=list("abcdefg")))) == MOST


def test_nobody_chooses_from_a_catalogue_but_a_person() -> None:
    many = [f"gpt-{n}" for n in range(CATALOGUE + 1)]
    assert usual(listed(openai=many)) == REHEARSALS
    assert usual(listed(openai=many, ollama=["a"])) == (Choice("ollama", "a"),)


def test_other_providers_may_rehearse_too() -> None:
    rehearsals = frozenset({"rehearsal", "paced"})
    assert usual(listed(paced=["steady"]), rehearsals) == REHEARSALS


@pytest.mark.parametrize("pattern", ["broadcast", "coordinator", "round_robin", "voting"])
def test_the_configuration_is_one(pattern: str) -> None:
    chosen = (*REHEARSALS[:3], Choice("a", "b", "critic"), Choice("a", "b", "critic"))
    config = session_config(chosen, pattern, "A title", tags=["one"])
    session = SessionConfig.model_validate(config | {"session_id": "s1"})
    assert session.routing_pattern == pattern
    assert [model.id for model in session.models] == [
        "architect", "coder", "reviewer", "critic", "critic-2",
    ]  # fmt: skip
    assert session.coordinator == ("architect" if pattern == "coordinator" else None)
    assert all(model.system_prompt for model in session.models)


def test_roles_of_any_kind_become_ids() -> None:
    roles = ["Müller & Söhne", "漢字", "x" * 400, "a b"]
    config = session_config([Choice("p", "m", role) for role in roles])
    SessionConfig.model_validate(config | {"session_id": "s1"})
    assert [model["role"] for model in config["models"]] == roles
    assert [model["id"] for model in config["models"]][:2] == ["M-ller-S-hne", "participant"]


def test_more_models_than_roles() -> None:
    config = session_config([Choice("p", "m")] * 8)
    ids = [model["id"] for model in config["models"]]
    assert ids[5:] == ["participant", "participant-2", "participant-3"]
