"""What turns stand on in this room: configured providers, facts about models, router versions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

from actors import scripts
from actors.deciding import Ground
from actors.providers.config import Providers, create, missing
from actors.providers.port import Capabilities
from actors.routing import context
from actors.routing.machine import ENGINE, PARSERS
from actors.routing.registry import CURRENT
from events.blobs import Remembered
from events.canonical import canonical_json
from events.config import SessionConfig
from events.errors import ConfigError
from events.store import BlobStore
from events.values import Blob, Semantics

Seats = tuple[tuple[str, str, str], ...]
"""Participant, provider and model of each seat."""

KEPT = 256
"""Sets of facts kept at hand; as many short blobs are."""


class Grounds:
    """Checks configurations against what this room has, and gathers the facts of turns.

    For use by any thread: whatever is not `ready` reads and writes files.
    """

    def __init__(
        self,
        providers: Providers,
        environment: Mapping[str, str],
        blobs: BlobStore,
        *,
        script_folder: Path,
        max_participants: int = 5,
    ) -> None:
        self._providers = providers
        self._environment = environment
        self.kept = Remembered(blobs)
        """The blobs, with what turns stand on at hand."""
        self._scripts = script_folder
        self._max = max_participants
        self._known: dict[tuple[str, str], Capabilities] = {}
        self._facts: dict[Seats, Blob] = {}
        self._lock = Lock()

    def check(self, config: SessionConfig) -> None:
        """Raise a `ConfigError` that says what to set where `config` cannot run in this room."""
        if len(config.models) > self._max:
            raise ConfigError(
                f"{len(config.models)} participants are more than the {self._max} allowed here: "
                "leave some out, or raise CONTROL_ROOM_MAX_PARTICIPANTS"
            )
        for participant in config.models:
            spec = self._providers.find(participant.provider)
            if unset := missing(spec, self._environment):
                raise ConfigError(
                    f"participant {participant.id!r}: provider {spec.id!r} needs the environment "
                    f"variable {', '.join(unset)}: set it and start the room again"
                )
        self._stored_facts(config)
        if config.routing_pattern == "script":
            scripts.collect(self._scripts, config.script or "")

    def ready(self, config: SessionConfig | None) -> bool:
        """Whether `ground` has all at hand; else it reads and writes files, and is for a thread."""
        scripted = config is None or config.routing_pattern == "script"
        return not scripted and config is not None and _seats(config) in self._facts

    def ground(self, config: SessionConfig, retry: bool) -> Ground:
        """The facts of a turn under `config`, stored, and the versions that decide it."""
        script = None
        if config.routing_pattern == "script" and not retry:
            source = scripts.collect(self._scripts, config.script or "")
            script = self.kept.put(source, "application/json")
        return Ground(
            self._stored_facts(config),
            Semantics(
                engine=ENGINE,
                router=CURRENT[config.routing_pattern],
                context=context.VERSION,
                parsers=PARSERS,
                script=script,
            ),
        )

    def _capabilities(self, provider: str, model: str) -> Capabilities:
        known = self._known.get((provider, model))
        if known is None:
            adapter = create(self._providers.find(provider), self._environment)
            known = self._known[provider, model] = adapter.capabilities(model)
        return known

    def _stored_facts(self, config: SessionConfig) -> Blob:
        """What is known of the participants' models, stored; the same for the same models."""
        seats = _seats(config)
        blob = self._facts.get(seats)
        if blob is None:
            facts = {id: _fact(self._capabilities(*model)) for id, *model in seats}
            blob = self.kept.put(canonical_json(facts), "application/json")
            with self._lock:
                self._facts[seats] = blob
                if len(self._facts) > KEPT:
                    del self._facts[next(iter(self._facts))]
        return blob


def _seats(config: SessionConfig) -> Seats:
    return tuple((one.id, one.provider, one.model_name) for one in config.models)


def _fact(known: Capabilities) -> dict[str, Any]:
    return {
        "structured_output": known.structured_output,
        "tools": known.tools,
        "context_length": known.context_length,
    }
