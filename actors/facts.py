"""What is known of models: from their providers, and from their actors as they learn it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from threading import Lock
from typing import Any

from pydantic import TypeAdapter

from actors.providers.config import Providers, create
from actors.providers.port import Capabilities
from events.errors import ConfigError
from events.prices import Prices

Model = tuple[str, str]
"""Provider and name."""

MODELS: TypeAdapter[tuple[Model, ...]] = TypeAdapter(tuple[Model, ...])
"""What a router is asked about, on `subjects.facts`."""
FACTS: TypeAdapter[tuple[dict[str, Any] | str, ...]] = TypeAdapter(tuple[dict[str, Any] | str, ...])
"""What it answers: of each model its fact, or why there is none."""


class ModelFacts:
    """Facts about models, for use by any thread; `revision` grows when one of them changes."""

    def __init__(self, providers: Providers, environment: Mapping[str, str]) -> None:
        self.revision = 0
        self._providers = providers
        self._environment = environment
        self._known: dict[Model, tuple[Capabilities, Prices | None]] = {}
        self._lock = Lock()

    def prices(self, model: Model) -> Prices | None:
        """What the model costs; None where that is not known."""
        return self._of(model)[1]

    def capabilities(self, model: Model) -> Capabilities:
        """What the model can do, as far as it is known."""
        return self._of(model)[0]

    def fact(self, model: Model) -> dict[str, Any]:
        """Both, as a turn's facts hold them."""
        capabilities, prices = self._of(model)
        return asdict(capabilities) | {"prices": prices and prices.model_dump(mode="json")}

    def told(self, models: Iterable[Model]) -> tuple[dict[str, Any] | str, ...]:
        """The fact of each, or why there is none."""
        found: list[dict[str, Any] | str] = []
        for model in models:
            try:
                found.append(self.fact(model))
            except ConfigError as error:
                found.append(error.message)
        return tuple(found)

    def learn(self, model: Model, capabilities: Capabilities) -> None:
        """The model's actor knows better."""
        known = self._known.get(model)
        if known is not None and known[0] != capabilities:
            with self._lock:
                self._known[model] = (capabilities, known[1])
                self.revision += 1

    def _of(self, model: Model) -> tuple[Capabilities, Prices | None]:
        """Raises a `ConfigError` where there is no such provider, or it cannot have the model."""
        known = self._known.get(model)
        if known is None:
            provider, name = model
            adapter = create(self._providers.find(provider), self._environment)
            with self._lock:
                known = self._known.setdefault(
                    model, (adapter.capabilities(name), adapter.prices(name))
                )
        return known
