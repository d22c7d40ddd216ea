"""What a router awaits, and the branches that the engine runs."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Coroutine, Generator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from actors.routing.steps import Failure
from events.errors import RouterFault

T = TypeVar("T")

Callback = Callable[["Pending[Any]"], None]


class Pending(Generic[T]):
    """Something that a router can await: the outcome of a step, or a combination of several.

    It may be awaited any number of times, by any branch, before or after it is `done`. Where it is
    what a `branch` of the engine's own returns, who loses it loses the branch.
    """

    __slots__ = ("branch", "callbacks", "depth", "done", "error", "key", "members", "value")

    def __init__(self, key: str | None = None, members: tuple[Member, ...] = ()) -> None:
        self.key = key
        self.members = members
        self.branch: Branch | None = None
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


class Settling:
    """Gives values to those who wait for them."""

    def __init__(self) -> None:
        self._due: deque[tuple[Callback, Pending[Any]]] = deque()
        self._running = False

    def settle(self, pending: Pending[Any], value: Any, error: BaseException | None = None) -> None:
        """Give a value, and call back all that wait for it, and for them, one after the other."""
        pending.done, pending.value, pending.error = True, value, error
        self._due.extend((callback, pending) for callback in pending.callbacks)
        pending.callbacks.clear()
        if self._running:
            return  # the loop below is running further up: chains of any length need no depth
        self._running = True
        try:
            while self._due:
                callback, settled = self._due.popleft()
                callback(settled)
        finally:
            self._running = False


@dataclass(eq=False, slots=True)
class Branch:
    """One coroutine under the engine, the steps that it emitted, and the branches it started."""

    coroutine: Coroutine[Any, Any, Any]
    depth: int
    result: Pending[Any] = field(default_factory=Pending)
    steps: list[str] = field(default_factory=list)
    children: list[Branch] = field(default_factory=list)
    closed: bool = False
    stands_for: str | None = None
    """The step that the router asked for, where the branch is the engine's own."""

    @property
    def lost(self) -> Failure:
        """Its value where it lost a race."""
        if self.stands_for is not None:
            return Failure.cancelled(self.stands_for)
        return Failure("", "", "Cancelled", "the branch lost a race")


Member = tuple[Pending[Any], Branch | None]
"""What a combination waits for; with its branch where a coroutine was given."""


NESTING = 64
"""How deep branches, and combinations of combinations, may be nested."""

TAKEN = "a coroutine was given to gather or first twice: call its function for each time"


def branched(coroutine: Awaitable[Any], parent: Branch, taken: Collection[int]) -> Branch:
    """A branch of `parent` that runs the coroutine; refused where that is `taken`, by its id."""
    if not inspect.iscoroutine(coroutine):
        raise RouterFault(foreign(coroutine))
    if parent.depth >= NESTING:
        raise RouterFault(f"branches are nested deeper than {NESTING}")
    if id(coroutine) in taken or coroutine.cr_running or coroutine.cr_await is not None:
        raise RouterFault(TAKEN)
    return Branch(coroutine, parent.depth + 1)


def distinct(members: list[Member]) -> None:
    """Refuse a coroutine that is there twice."""
    coroutines = {id(branch.coroutine) for _, branch in members if branch is not None}
    if len(coroutines) < sum(branch is not None for _, branch in members):
        raise RouterFault(TAKEN)


def dismiss(awaitables: tuple[Awaitable[Any], ...]) -> None:
    """Close coroutines that nobody will run: Python would warn of them, at a time of its own."""
    for one in awaitables:
        if inspect.iscoroutine(one) and inspect.getcoroutinestate(one) == inspect.CORO_CREATED:
            one.close()


def foreign(awaited: object) -> str:
    """Why that cannot be awaited."""
    return (
        f"the router awaited {type(awaited).__module__}.{type(awaited).__qualname__}: it may await "
        "only the steps of its turn and what turn.gather and turn.first make of them"
    )
