"""What a router awaits, and the branches that the engine runs."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")

Callback = Callable[["Pending[Any]"], None]


class Pending(Generic[T]):
    """Something that a router can await: the outcome of a step, or a combination of several.

    It may be awaited any number of times, by any branch, before or after it is `done`.
    """

    __slots__ = ("callbacks", "depth", "done", "error", "key", "members", "value")

    def __init__(self, key: str | None = None, members: tuple[Member, ...] = ()) -> None:
        self.key = key
        self.members = members
        self.depth: int = 1 + max((pending.depth for pending, _ in members), default=0)
        self.done = False
        self.value: T | None = None
        self.error: BaseException | None = None
        self.callbacks: list[Callback] = []

    def __await__(self) -> Generator[Pending[T], None, T]:
        if not self.done:
            yield self
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]

    def when_done(self, callback: Callback) -> None:
        """Call back once, at once where it is done already. For the engine only."""
        if self.done:
            callback(self)
        else:
            self.callbacks.append(callback)


@dataclass(eq=False, slots=True)
class Branch:
    """One coroutine under the engine, the steps that it emitted, and the branches it started."""

    coroutine: Coroutine[Any, Any, Any]
    depth: int
    result: Pending[Any] = field(default_factory=Pending)
    steps: list[str] = field(default_factory=list)
    children: list[Branch] = field(default_factory=list)
    closed: bool = False


Member = tuple[Pending[Any], Branch | None]
"""What a combination waits for; with its branch where a coroutine was given."""
