"""What the calls of one model share: their line, the provider's limits, and the breaker."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from actors.breaker import Breaker
from actors.line import Line
from actors.providers.pace import Pace, Paced
from actors.providers.port import Limits, Provider
from events.errors import RateLimited
from events.store import BlobStore

if TYPE_CHECKING:
    from actors.attempt import Attempt

LONGEST_RETRY_AFTER = 60.0  # seconds; a provider that wants a longer pause has failed
WORTH_TELLING = 1.0  # seconds of a wait
LOOKED_AGAIN = 1.0  # seconds after which a wait is thought over


@dataclass(frozen=True, slots=True)
class Desk:
    """What the attempts of one actor share.

    `line` bounds how many ask the provider at once, `pace` tells when the next one may, and
    `breaker` whether any may.
    """

    name: str
    provider: Provider
    blobs: BlobStore
    limits: Limits
    line: Line[Attempt]
    pace: Pace
    breaker: Breaker

    @classmethod
    def of(
        cls, provider: Provider, blobs: BlobStore, limits: Limits, provider_id: str, model: str
    ) -> Self:
        """The desk of one model's actor."""
        name = f"model {model!r} of provider {provider_id!r}"
        return cls(
            name,
            provider,
            blobs,
            limits,
            Line(name, limits.max_concurrency, limits.max_queue),
            provider.pace(model) if isinstance(provider, Paced) else Pace(),
            Breaker(name, limits.breaker_failures, limits.breaker_pause),
        )

    async def in_turn(self, tokens: float, tell: Callable[[str], None]) -> None:
        """Returns when the provider's limits, as far as they are known, leave room for a call.

        `tokens` is about what it takes of them; `tell` shows what it waits for. It does not wait
        without end: what is known is a guess, and the provider decides. Raises `RateLimited` where
        the provider said that it takes no call for long.
        """
        waited = told = 0.0
        while waited < LONGEST_RETRY_AFTER and (wait := self.pace.wait(tokens)) > 0:
            if wait > LONGEST_RETRY_AFTER:
                raise RateLimited(
                    f"{self.name} takes no call for another {wait:.0f} s, as its provider said:"
                    " ask then, or give the participant a fallback",
                    retry_after=wait,
                )
            wait *= random.uniform(1.0, 1.05)  # not all at once after it
            if wait >= WORTH_TELLING and waited + wait > told + WORTH_TELLING:
                told = waited + wait
                tell(f"waits {wait:.0f} s for the rate limit of its provider")
            # What is known changes with every answer, mostly for the better.
            wait = min(wait, LOOKED_AGAIN)
            await asyncio.sleep(wait)
            waited += wait

    def tell_places(self) -> None:
        """Have those who wait for a place tell how many are before them, where that changed."""
        for ahead, one in enumerate(self.line.waiting):
            one.tell(f"waits for its turn, {ahead} before it")

    def report(self) -> dict[str, Any]:
        """Who waits for a place, the next one first, how long for the provider, and the breaker."""
        waiting = [
            {"session": one.ask.session, "turn": one.ask.turn, "step": one.ask.step, "ahead": ahead}
            for ahead, one in enumerate(self.line.waiting)
        ]
        return {
            "queue": waiting,
            "held_for": round(self.pace.wait(), 1),
            "breaker": self.breaker.report(),
        }
