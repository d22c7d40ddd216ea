"""What turns stand on in this room: configured providers, facts about models, router versions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actors import scripts
from actors.deciding import Ground
from actors.providers.config import Providers, create, missing
from actors.providers.port import Capabilities
from actors.routing import context
from actors.routing.machine import ENGINE, PARSERS
from actors.routing.registry import CURRENT
from events.canonical import canonical_json
from events.config import SessionConfig
from events.errors import ConfigError
from events.store import BlobStore
from events.values import Blob, Semantics


class Grounds:
    """Checks configurations against what this room has, and gathers the facts of turns."""

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
        self._blobs = blobs
        self._scripts = script_folder
        self._max = max_participants
        self._known: dict[tuple[str, str], Capabilities] = {}
        self._stored: dict[bytes, Blob] = {}

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
            self._capabilities(participant.provider, participant.model_name)
        if config.routing_pattern == "script":
            scripts.collect(self._scripts, config.script or "")

    def ground(self, config: SessionConfig, retry: bool) -> Ground:
        """The facts of a turn under `config`, stored, and the versions that decide it."""
        facts = {
            participant.id: _fact(self._capabilities(participant.provider, participant.model_name))
            for participant in config.models
        }
        script = None
        if config.routing_pattern == "script" and not retry:
            script = self._store(scripts.collect(self._scripts, config.script or ""))
        return Ground(
            self._store(canonical_json(facts)),
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

    def _store(self, content: bytes) -> Blob:
        blob = self._stored.get(content)
        if blob is None:
            blob = self._stored[content] = self._blobs.put(content, "application/json")
            while len(self._stored) > 256:
                del self._stored[next(iter(self._stored))]
        return blob


def _fact(known: Capabilities) -> dict[str, Any]:
    return {
        "structured_output": known.structured_output,
        "tools": known.tools,
        "context_length": known.context_length,
    }
