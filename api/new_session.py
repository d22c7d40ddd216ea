"""Configurations of sessions for those who name only the models, or not even these."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from events.errors import ConfigError

MOST = 5
"""Participants of a session that nobody chose the models of."""
CATALOGUE = 16
"""A provider with more models than this offers a catalogue, from which a person has to choose."""

ROLES: Mapping[str, str] = {
    "architect": "You are an architect: you look at the design of the whole and its boundaries.",
    "coder": "You are a coder: you say how you would build it, concretely and in small steps.",
    "reviewer": "You are a reviewer: you look for faults, gaps and risks, and how to mend them.",
    "critic": "You are a critic: you question the premises and argue the other side.",
    "tester": "You are a tester: you say how to find out whether it works, and where it breaks.",
}
_BRIEF = " Answer briefly, in plain English."
_NOT_FOR_TALK = re.compile(r"embed|rerank|whisper|tts|dall-e|moderation|bge-", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Choice:
    """A model for a session, and its role where one was named."""

    provider: str
    model: str
    role: str | None = None


REHEARSALS = tuple(Choice("rehearsal", "steady") for _ in range(MOST))


def choices(text: str) -> tuple[Choice, ...]:
    """The models that `[ROLE=]PROVIDER/MODEL,...` names; a model's name may have slashes.

    Raises `ConfigError` that shows how to write it.
    """
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        role, equals, rest = part.partition("=")
        if not equals or "/" in role:
            role, rest = "", part
        provider, slash, model = rest.partition("/")
        if not (slash and provider and model):
            raise ConfigError(
                f"{part!r} names no model: write PROVIDER/MODEL or ROLE=PROVIDER/MODEL, such as"
                " rehearsal/steady; 'control-room models' lists them"
            )
        found.append(Choice(provider, model, role.strip() or None))
    if not found:
        raise ConfigError("no model is named: write PROVIDER/MODEL, with commas between several")
    return tuple(found)


def rehearsing(providers: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """The ids of those providers that only rehearse."""
    return frozenset(each["id"] for each in providers if each["type"] == "rehearsal")


def offered(chosen: Sequence[Choice], providers: Sequence[Mapping[str, Any]]) -> None:
    """Raises `ConfigError` where a model is of no provider of the room."""
    known = [each["id"] for each in providers]
    for each in chosen:
        if each.provider not in known:
            raise ConfigError(
                f"the room has no provider {each.provider!r}: it has {', '.join(known)}"
                " ('control-room providers')"
            )


def usual(
    models: Sequence[Mapping[str, Any]], rehearsals: frozenset[str] = frozenset({"rehearsal"})
) -> tuple[Choice, ...]:
    """Five models out of those that a room lists: real ones where it has any, else rehearsals.

    Real ones are taken in turn from every provider that offers few enough of them to be meant.
    """
    offered: dict[str, list[str]] = {}
    for each in models:
        if each["provider"] not in rehearsals and not _NOT_FOR_TALK.search(each["model_name"]):
            offered.setdefault(each["provider"], []).append(each["model_name"])
    few = {provider: names for provider, names in offered.items() if len(names) <= CATALOGUE}
    turns = [
        Choice(provider, names[n])
        for n in range(CATALOGUE)
        for provider, names in few.items()
        if n < len(names)
    ]
    return tuple(turns[:MOST]) or REHEARSALS


def session_config(
    chosen: Sequence[Choice],
    pattern: str = "broadcast",
    title: str | None = None,
    **more: Any,
) -> dict[str, Any]:
    """The configuration of a session; the first model coordinates, where the pattern asks for it.

    Who has no role of their own gets one of `ROLES`, in their order.
    """
    models: list[dict[str, Any]] = []
    free = [role for role in ROLES if role not in {choice.role for choice in chosen}]
    for choice in chosen:
        role = choice.role or (free.pop(0) if free else "participant")
        prompt = ROLES.get(role, f"You are the {role} in this conversation.")
        models.append(
            {
                "id": _id(role, {model["id"] for model in models}),
                "provider": choice.provider,
                "model_name": choice.model,
                "role": role,
                "system_prompt": prompt + _BRIEF,
            }
        )
    config: dict[str, Any] = {"routing_pattern": pattern, "models": models, **more}
    if pattern == "coordinator":
        config["coordinator"] = models[0]["id"]
    if title is not None:
        config["title"] = title
    return config


def _id(role: str, taken: set[str]) -> str:
    """An id made of `role` that nobody else has."""
    base = re.sub(r"[^A-Za-z0-9_-]+", "-", role).strip("-")[:48] or "participant"
    names = [base, *(f"{base}-{n}" for n in range(2, len(taken) + 3))]
    return next(name for name in names if name not in taken)
