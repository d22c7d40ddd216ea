"""What the configuration of every provider has in common."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from actors.prices import GivenPrices
from actors.providers.port import Limits
from events.values import Value


class Options(Value):
    """Base of a provider's options, the `config` of its entry in the provider file.

    `max_concurrency` bounds the calls that one model is working on at once, `max_queue` those that
    wait for that, `tries` how often one answer is asked for before it counts as failed. A model
    that failed `breaker_failures` times in a row (0: however often) is not asked for
    `breaker_pause` seconds. `prices` go before those of the vendor's list, by the name of a model
    or by a pattern such as `gpt-*`.
    """

    # What was given may hold a key: errors name the option and never its value.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    max_concurrency: int = Field(default=64, ge=1, le=10_000)
    max_queue: int = Field(default=1000, ge=0, le=100_000)
    tries: int = Field(default=3, ge=1, le=10)
    breaker_failures: int = Field(default=5, ge=0, le=1000)
    breaker_pause: float = Field(default=30.0, gt=0, le=3600)
    prices: dict[str, GivenPrices] = Field(default_factory=dict)

    @property
    def limits(self) -> Limits:
        """These bounds, in the form of the port."""
        return Limits(
            self.max_concurrency,
            self.tries,
            self.max_queue,
            self.breaker_failures,
            self.breaker_pause,
        )
