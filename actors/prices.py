"""The prices of a vendor's models, from a named table that is kept up by others."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from ipaddress import ip_address
from typing import Any, Protocol, runtime_checkable
from urllib.parse import urlsplit

from pydantic import Field

from events.prices import Prices, Rates, Tier
from events.values import Value

OWN_MACHINE = Prices(table="own machine")
"""Nobody sends a bill for it."""

_KINDS = {
    "input": "input_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "output": "output_mtok",
    "reasoning": "output_reasoning_mtok",
}
_INSTEAD = {"cache_read": "input", "cache_write": "input", "reasoning": "output"}
"""As what these are charged where the table has no price of their own for them."""


class GivenPrices(Value):
    """Prices in a provider's configuration: US dollars for a million tokens, a request, an hour.

    What is not given is free; cached input costs what input does, and reasoning what output does.
    """

    input: Decimal = Field(default=Decimal(0), ge=0)
    output: Decimal = Field(default=Decimal(0), ge=0)
    cache_read: Decimal | None = Field(default=None, ge=0)
    cache_write: Decimal | None = Field(default=None, ge=0)
    request: Decimal = Field(default=Decimal(0), ge=0)
    hour: Decimal = Field(default=Decimal(0), ge=0)
    table: str = "provider file"

    @property
    def prices(self) -> Prices:
        """The same, as they are recorded."""
        rates = Rates(
            input=self.input,
            output=self.output,
            reasoning=self.output,
            cache_read=self.input if self.cache_read is None else self.cache_read,
            cache_write=self.input if self.cache_write is None else self.cache_write,
        )
        return Prices(table=self.table, rates=rates, request=self.request, hour=self.hour)


def given_for(
    model: str, given: Mapping[str, GivenPrices], served: str | None = None
) -> Prices | None:
    """The prices given for `model`: under its name, or under the first pattern that fits it.

    Where another one `served` it, that one's name goes first, and its pattern too; but a price
    under the name that was asked for goes before patterns.
    """
    names = (model,) if served is None else (served, model)
    for name in names:
        if name in given:
            return given[name].prices
    for name in names:
        for pattern, one in given.items():
            if fnmatchcase(name, pattern):
                return one.prices
    return None


@runtime_checkable
class ServedPrices(Protocol):
    """A provider that knows what an answer costs that another model served."""

    def served_prices(self, model: str, served: str) -> Prices | None:
        """What an answer of `served` costs where `model` was asked for; None if not known."""
        ...


class Priced(Protocol):
    """A provider, as far as prices go."""

    def prices(self, model: str) -> Prices | None:
        """What `model` costs now."""
        ...


def charged(provider: Priced, asked: str, served: str | None) -> tuple[Prices | None, str | None]:
    """The prices of an answer, and a note where they are not simply those of what was asked."""
    prices = provider.prices(asked)
    if not served or served == asked:
        return prices, None
    if isinstance(provider, ServedPrices):
        its = provider.served_prices(asked, served)
    else:
        its = prices or provider.prices(served)
    if its is None:
        return None, None
    if its != prices:
        return its, f"priced as {served:.100}, which served it"
    if provider.prices(served) is None and not served.startswith(asked):
        return its, f"no price is known of {served:.100}, which served it: priced as {asked:.100}"
    return its, None


class PriceTable:
    """The price list of the vendor behind one API address.

    Models at addresses of this machine or of a private network are free. The table, whose import
    takes half a second, is loaded for other addresses when this is made.
    """

    def __init__(self, api_url: str) -> None:
        self._api_url = api_url
        self._private = is_private(api_url)
        self._known: dict[str, Prices | None] = {}
        if not self._private:
            import genai_prices

            self._name = f"genai-prices {genai_prices.__version__}"

    def prices(self, model: str) -> Prices | None:
        """What `model` costs today; None where it is not known."""
        if self._private:
            return OWN_MACHINE
        if model not in self._known:
            self._known[model] = self._looked_up(model)
        return self._known[model]

    def _looked_up(self, model: str) -> Prices | None:
        from genai_prices.data_snapshot import get_snapshot

        try:
            _, info = get_snapshot().find_provider_model(model, None, None, self._api_url)
        except (LookupError, ValueError):
            return None
        price = info.get_prices(datetime.now(UTC))
        if price.input_mtok is None and price.output_mtok is None:
            return None  # sold by the second, the picture or the like
        return _prices(price, self._name)


def _prices(price: Any, table: str) -> Prices:
    """Prices of the table in our form."""
    from genai_prices.types import TieredPrices

    listed = {kind: getattr(price, name) for kind, name in _KINDS.items()}
    for kind, instead in _INSTEAD.items():
        if listed[kind] is None:
            listed[kind] = listed[instead]
    tiered = [one for one in listed.values() if isinstance(one, TieredPrices)]
    starts = sorted({tier.start for one in tiered for tier in one.tiers})

    def rates(length: int) -> Rates:
        return Rates(**{kind: _rate(one, length) for kind, one in listed.items()})

    return Prices(
        table=table,
        rates=rates(0),
        tiers=tuple(Tier(above=start, rates=rates(start + 1)) for start in starts),
        request=(price.requests_kcount or Decimal(0)) / 1000,
    )


def _rate(listed: Any, length: int) -> Decimal:
    """The rate of one kind of tokens in a call with so many tokens of input."""
    if listed is None:
        return Decimal(0)
    if isinstance(listed, Decimal):
        return listed
    rate: Decimal = listed.base
    for tier in listed.tiers:
        if length > tier.start:
            rate = tier.price
    return rate


def is_private(api_url: str) -> bool:
    """Whether the address is of this machine or of a private network."""
    host = urlsplit(api_url).hostname or ""
    try:
        return not ip_address(host).is_global
    except ValueError:
        return host == "localhost" or "." not in host or host.endswith((".local", ".internal"))
