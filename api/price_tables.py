"""Price tables: what the providers charge today, those of the room's file, and one in a request.

The file is `prices.json` in the data directory, JSON or YAML: names of tables, in each the
providers, in each of them the models, with prices as in the provider file; `*` and other patterns
stand for several. It is read when it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import AfterValidator, TypeAdapter, ValidationError

from actors.prices import GivenPrices, charged, given_for
from actors.providers.config import Providers, create
from actors.providers.port import Provider
from events.errors import ConfigError
from events.faults import faults
from events.prices import Prices
from projections.repricing import Table

CURRENT = "current"
"""The name of what the providers charge today."""
FILE = "prices.json"

_MOST, _LEAST = Decimal(1_000_000_000), Decimal("1e-12")


def _reasonable(prices: GivenPrices) -> GivenPrices:
    for name in ("input", "output", "cache_read", "cache_write", "request", "hour"):
        if (value := getattr(prices, name)) and not _LEAST <= value <= _MOST:
            raise ValueError(f"{name}: a price is 0, or between {_LEAST} and {_MOST}")
    return prices


Given = Mapping[str, Mapping[str, Annotated[GivenPrices, AfterValidator(_reasonable)]]]
"""Prices by provider and model, or by patterns of either."""

_TABLES: TypeAdapter[Mapping[str, Given]] = TypeAdapter(Mapping[str, Given])


def given_table(name: str, given: Given) -> Table:
    """The table with these prices: a name goes before patterns, then the first that fits."""

    def prices(provider: str, model: str, served: str | None) -> Prices | None:
        models = given.get(provider)
        if models is None:
            models = next((of for name, of in given.items() if fnmatchcase(provider, name)), {})
        return given_for(model, models, served)

    return Table(name, prices)


def named_table(home: Path, name: str) -> Table:
    """A table of the room's file; a `ConfigError` says which there are."""
    tables = _tables(home / FILE)
    if name not in tables:
        names = ", ".join((CURRENT, *tables))
        raise ConfigError(
            f"prices: there is no price table {name!r:.80}: use one of {names}, or add it to"
            f" {FILE} in the room's data directory"
        )
    return given_table(name, tables[name])


def _tables(path: Path) -> Mapping[str, Given]:
    try:
        return _TABLES.validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except ValidationError as error:
        fault = faults(error.errors(include_input=False, include_url=False))[0]
        where = ".".join(map(str, fault.place))
        raise ConfigError(f"{path.name}: {where}: {fault.message}") from None
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path.name} cannot be read: {type(error).__name__}") from None


class CurrentProviders:
    """The configured providers, made as they are asked for; close it in the end. For one thread."""

    def __init__(self, providers: Providers, environment: Mapping[str, str]) -> None:
        self._providers = providers
        self._environment = environment
        self._made: dict[str, Provider | None] = {}

    def get(self, name: str) -> Provider | None:
        """The provider, None where it is not configured (any more) or lacks what it needs."""
        if name not in self._made:
            try:
                self._made[name] = create(self._providers.find(name), self._environment)
            except ConfigError:
                self._made[name] = None
        return self._made[name]

    def prices(self, provider: str, model: str, served: str | None) -> Prices | None:
        """What the provider charges today."""
        made = self.get(provider)
        return None if made is None else charged(made, model, served)[0]

    async def close(self) -> None:
        """Give back connections."""
        for provider in self._made.values():
            if provider is not None:
                await provider.close()
