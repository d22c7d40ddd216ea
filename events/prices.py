"""Prices of a model, and what a call costs by them: in decimals, never floats."""

from __future__ import annotations

from decimal import Decimal

from pydantic import Field

from events.values import Cost, Usage, Value

MILLION = Decimal(1_000_000)
HOUR = Decimal(3600)


class Rates(Value):
    """US dollars for a million tokens."""

    input: Decimal = Field(default=Decimal(0), ge=0)
    cache_read: Decimal = Field(default=Decimal(0), ge=0)
    cache_write: Decimal = Field(default=Decimal(0), ge=0)
    output: Decimal = Field(default=Decimal(0), ge=0)
    reasoning: Decimal = Field(default=Decimal(0), ge=0)


class Tier(Value):
    """Rates for all tokens of a call whose input, cached or not, is longer than `above` tokens."""

    above: int = Field(ge=0)
    rates: Rates


class Prices(Value):
    """What one model costs, by the table of that name and version.

    `request` is US dollars for each call, `hour` for each hour that a call takes, such as the
    running cost of one's own hardware.
    """

    table: str
    rates: Rates = Rates()
    tiers: tuple[Tier, ...] = ()
    request: Decimal = Field(default=Decimal(0), ge=0)
    hour: Decimal = Field(default=Decimal(0), ge=0)

    def cost(self, usage: Usage, seconds: float) -> Cost:
        """What a call of that usage and duration costs, exactly."""
        length = usage.input + usage.cache_read + usage.cache_write
        rates = self.rates
        for tier in self.tiers:
            if length > tier.above:
                rates = tier.rates
        tokens = (
            usage.input * rates.input
            + usage.cache_read * rates.cache_read
            + usage.cache_write * rates.cache_write
            + usage.output * rates.output
            + usage.reasoning * rates.reasoning
        )
        amount = tokens / MILLION + self.request
        if self.hour:
            amount += Decimal(str(round(seconds, 3))) * self.hour / HOUR
        return Cost(amount=amount, prices=self.table)

    def most(self, input_tokens: int, output_tokens: int, seconds: float) -> Decimal:
        """The most that a call can cost with at most so many tokens and seconds."""
        every = [self.rates, *(tier.rates for tier in self.tiers)]
        dearest = max(max(rate.input, rate.cache_read, rate.cache_write) for rate in every)
        longest = max(max(rate.output, rate.reasoning) for rate in every)
        tokens = input_tokens * dearest + output_tokens * longest
        return tokens / MILLION + self.request + Decimal(str(seconds)) * self.hour / HOUR
