"""A circuit breaker: a model whose provider keeps failing is left alone for a while."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from events.errors import BadResponse, ProviderError, ProviderUnavailable


class Breaker:
    """Opens after `failures` (0: never) in a row, for `pause` seconds; then one call may try.

    What counts is `ProviderUnavailable` where the provider does not say when it will be there
    again, and `BadResponse`: a cut answer, or one of another form. Any other answer of the provider
    shows that it is there.
    """

    def __init__(
        self, name: str, failures: int, pause: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._name = name
        self._most = failures
        self._pause = pause
        self._clock = clock
        self._failures = 0
        self._until: float | None = None
        self._trying = False
        self._last = ""

    @property
    def state(self) -> str:
        """`closed`, `open`, or `half-open` while one call may try or tries."""
        if self._until is None:
            return "closed"
        return "open" if self._clock() < self._until else "half-open"

    def report(self) -> dict[str, Any]:
        """Its state, the failures in a row, and the seconds until one call may try."""
        left = 0.0 if self._until is None else max(0.0, self._until - self._clock())
        return {"state": self.state, "failures": self._failures, "seconds": round(left, 1)}

    def check(self) -> None:
        """Raise a `ProviderUnavailable` that says until when, where no call may be sent now."""
        if self._until is None:
            return
        left = self._until - self._clock()
        if left > 0:
            at = datetime.now(UTC) + timedelta(seconds=left)
            when = f"is not asked until {at:%H:%M:%S} UTC, in {left:.0f} s"
            raise self._refusal(when, left)
        if self._trying:
            raise self._refusal("is being tried with another call", None)

    def _refusal(self, when: str, left: float | None) -> ProviderUnavailable:
        return ProviderUnavailable(
            f"{self._name} failed {self._failures} times in a row and {when}: ask then, or give"
            f" the participant a fallback. The last time: {self._last}",
            retry_after=left,
        )

    @contextmanager
    def call(self) -> Iterator[None]:
        """One call of the provider, if it may be sent (see `check`); learns from how it ends."""
        self.check()
        trying = self._until is not None
        self._trying = trying
        try:
            yield
        except ProviderUnavailable as error:
            if error.retry_after is None:
                self._failed(error.message, trying)
            raise
        except BadResponse as error:
            self._failed(error.message, trying)
            raise
        except ProviderError:
            self._close()
            raise
        else:
            self._close()
        finally:
            if trying:
                self._trying = False

    def _failed(self, why: str, trying: bool) -> None:
        self._failures += 1
        self._last = why[:400]
        if trying or (self._until is None and 0 < self._most <= self._failures):
            self._until = self._clock() + self._pause

    def _close(self) -> None:
        self._failures = 0
        self._until = None
