"""The tools that the participants of a turn are offered, from the turn's facts and its message."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from events.canonical import canonical_json
from events.values import Blob, Message

Load = Callable[[Blob], str]
Store = Callable[[bytes, str], Blob]

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool of a server; with `approval` a person grants or denies each call."""

    server: str
    tool: str
    approval: bool = False


@dataclass(frozen=True, slots=True)
class Offer:
    """What one participant is offered.

    `listed` is the JSON list that its model is shown; `calls` are the tools that the room calls,
    and `client` those that whoever posted the message calls itself, by name. Where one of the
    latter has to be called, `forced` is the list of these alone, which the model is shown at first.
    """

    listed: Blob
    calls: Mapping[str, Tool]
    client: tuple[str, ...] = ()
    forced: Blob | None = None


@dataclass(frozen=True, slots=True)
class Offers:
    """What each participant is offered; nothing by default."""

    by_participant: Mapping[str, Offer] = field(default_factory=dict)

    def of(self, participant: str) -> Offer | None:
        """What the participant is offered; None where that is nothing."""
        return self.by_participant.get(participant)

    def find(self, name: str, owner: str | None) -> Tool | None:
        """The tool of that name that `owner` is offered; None is a router that calls by itself.

        A router may call what any participant may, with approval where one of them needs it.
        """
        found = [offer.calls[name] for offer in self._of(owner) if name in offer.calls]
        return next((tool for tool in found if tool.approval), found[0] if found else None)

    def names(self, owner: str | None) -> list[str]:
        """What `owner` may call, sorted."""
        return sorted({name for offer in self._of(owner) for name in offer.calls})

    def _of(self, owner: str | None) -> Iterable[Offer]:
        if owner is None:
            return self.by_participant.values()
        offer = self.of(owner)
        return () if offer is None else (offer,)

    @classmethod
    def gathered(
        cls,
        participants: tuple[str, ...],
        facts: Mapping[str, Any],
        message: Message | None,
        load: Load,
        store: Store,
    ) -> Offers:
        """The offers of a turn. A client's own tools come before those of the same name."""
        client = message.tools if message is not None else None
        forced = client if message is not None and message.tool_choice == "required" else None
        own = _listed(load(client)) if client is not None else ()
        names = tuple(sorted(tool["name"] for tool in own))
        offers: dict[str, Offer] = {}
        for participant in participants:
            known = facts.get(participant, {}).get("tools")
            calls = {
                name: Tool(call["server"], call["tool"], call["approval"])
                for name, call in (known["calls"].items() if isinstance(known, dict) else ())
                if name not in names
            }
            if calls and client is None:
                offers[participant] = Offer(Blob.model_validate(known["offered"]), calls)
            elif calls:
                offered = _listed(load(Blob.model_validate(known["offered"])))
                both = [tool for tool in offered if tool["name"] in calls]
                both = sorted([*both, *own], key=lambda tool: tool["name"])
                listed = store(canonical_json(both), JSON)
                offers[participant] = Offer(listed, calls, names, forced)
            elif client is not None:
                offers[participant] = Offer(client, {}, names, forced)
        return cls(offers)


def _listed(text: str) -> tuple[dict[str, Any], ...]:
    return tuple(orjson.loads(text))
