"""The rate limits of one model, learned from what its provider's answers say of them.

OpenAI, Azure and most compatible servers send `x-ratelimit-remaining-requests` and the like with
every answer, Anthropic `anthropic-ratelimit-requests-remaining`. In both, what is used up comes
back steadily, and `reset` tells when all of it is back.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol, runtime_checkable

LONGEST_LEARNED: Final = 60.0  # seconds; limits of a day are only guessed at by steady return
LONGEST_HELD: Final = 3600.0  # seconds, whatever the provider says

_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|d|h|m|s)")
_UNITS: Final = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0,
}  # fmt: skip


@runtime_checkable
class Paced(Protocol):
    """A provider that learns the rate limits of its models."""

    def pace(self, model: str) -> Pace:
        """What is known of that model's limits: always the same object."""
        ...


@dataclass(slots=True)
class _Bucket:
    """So much was left of `limit` at `at`, and all of it is back at `full`."""

    limit: float | None
    left: float
    at: float
    full: float
    spent: float = 0.0

    def wait(self, wanted: float, now: float) -> float:
        """Seconds until there is as much as is wanted."""
        if now >= self.full or (self.limit is not None and wanted > self.limit):
            return 0.0  # what never fits is the server's to refuse
        if self.limit is None or self.limit <= self.left:
            return 0.0 if self.left - self.spent >= wanted else self.full - now
        return max(0.0, (wanted + self.spent - self.there(now)) / self._rate(self.limit))

    def there(self, now: float) -> float:
        """What has come back by now, before it is full."""
        if self.limit is None or self.limit <= self.left:
            return self.left
        return self.left + self._rate(self.limit) * (now - self.at)

    def _rate(self, limit: float) -> float:
        return (limit - self.left) / (self.full - self.at)

    def bound(self, other: _Bucket, now: float) -> None:
        """Hold no more than `other`, which may be the newer of the two."""
        if now < other.full and other.limit == self.limit and other.there(now) < self.left:
            self.left = other.there(now)
            self.full = max(self.full, other.full)


@dataclass(frozen=True, slots=True)
class _Call:
    """One that is under way, and was sent at `at`."""

    tokens: float
    at: float


class Pace:
    """When the next call of one model may be sent. `clock` is in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}
        self._held_until = 0.0
        self._unanswered: dict[int, _Call] = {}  # the longest under way first
        self._sent = 0

    def learn(self, headers: Mapping[str, str], *, limited: bool = False) -> None:
        """Take note of the headers of an answer; `limited` where it was refused for its rate.

        It is taken for that of the call that is longest under way; what the others take may not be
        counted in it yet.
        """
        now = self._clock()
        oldest = next(iter(self._unanswered), None)
        answered = None if oldest is None else self._unanswered.pop(oldest)
        for kind in ("requests", "tokens", "input-tokens"):
            bucket = _bucket(headers, kind, now)
            if bucket is not None:
                known = self._buckets.get(kind)
                if known is not None and answered is not None and answered.at <= known.at:
                    bucket.bound(known, now)
                bucket.spent = sum(_share(kind, call) for call in self._unanswered.values())
                self._buckets[kind] = bucket
                if limited and bucket.left < 1 and "retry-after" not in headers:
                    # Nothing came back steadily, or it would not have been refused.
                    self.hold(min(bucket.full - now, LONGEST_LEARNED))

    def hold(self, seconds: float) -> None:
        """Send nothing for so long, because the provider said so."""
        self._held_until = max(self._held_until, self._clock() + min(seconds, LONGEST_HELD))

    def wait(self, tokens: float = 1) -> float:
        """Seconds until a call of about so many tokens may be sent; 0 where it may be now."""
        now = self._clock()
        learned = max(
            (
                bucket.wait(1 if kind == "requests" else tokens, now)
                for kind, bucket in self._buckets.items()
            ),
            default=0.0,
        )
        return max(0.0, self._held_until - now, min(learned, LONGEST_LEARNED))

    def spend(self, tokens: float = 1) -> int:
        """Count a call of about so many tokens that is sent now; gives its number."""
        self._sent += 1
        call = self._unanswered[self._sent] = _Call(tokens, self._clock())
        for kind, bucket in self._buckets.items():
            bucket.spent += _share(kind, call)
        return self._sent

    @contextmanager
    def call(self, tokens: float = 1) -> Iterator[None]:
        """The same; its end is that of the call, whether there were headers or not."""
        number = self.spend(tokens)
        try:
            yield
        finally:
            self._unanswered.pop(number, None)


def _share(kind: str, call: _Call) -> float:
    """What a call takes of a limit of that kind."""
    return 1 if kind == "requests" else call.tokens


def _bucket(headers: Mapping[str, str], kind: str, now: float) -> _Bucket | None:
    def said(what: str) -> str:
        return headers.get(f"x-ratelimit-{what}-{kind}") or headers.get(
            f"anthropic-ratelimit-{kind}-{what}", ""
        )

    left, reset = _number(said("remaining")), seconds(said("reset"))
    if left is None or reset is None:
        return None
    return _Bucket(_number(said("limit")), left, now, now + reset)


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d{1,15}", text) else None


def seconds(text: str) -> float | None:
    """How long that is: `1s`, `6m0s`, `120ms`, plain seconds, or a date of RFC 3339.

    None where it is none of these, or longer than a day.
    """
    text = text.strip()
    parts = _PART.findall(text)
    if parts and "".join(map("".join, parts)) == text:
        length = sum(float(number) * _UNITS[unit] for number, unit in parts)
    elif re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text):
        length = float(text)
    else:
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            return None
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        length = max(0.0, (at - datetime.now(UTC)).total_seconds())
    return length if length <= _UNITS["d"] else None
