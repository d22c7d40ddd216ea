"""The turn engine: runs a router, an ordinary coroutine, without any I/O.

A router emits steps and awaits their outcomes. The engine starts it, collects what it emits, takes
one outcome at a time, and runs it until every branch waits again. Nothing else can make it move, so
the same outcomes in the same order always give the same emissions: that is what live turns, crash
recovery, replay and forks share.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from actors.routing.steps import (
    Cancelled,
    Decided,
    Emission,
    Emitted,
    Ended,
    Failure,
    Step,
    StepLimit,
)
from events.errors import RouterFault
from events.types import Decision

T = TypeVar("T")


class Pending(Generic[T]):
    """Something that a router can await: the outcome of a step, or a combination of several."""

    __slots__ = ("_callbacks", "_error", "_value", "done", "key")

    def __init__(self, key: str | None = None) -> None:
        self.key = key
        self.done = False
        self._value: T | None = None
        self._error: BaseException | None = None
        self._callbacks: list[Callable[[Pending[T]], None]] = []

    def __await__(self) -> Generator[Pending[T], None, T]:
        if not self.done:
            yield self
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]

    def _settle(self, value: T | None, error: BaseException | None = None) -> None:
        self.done, self._value, self._error = True, value, error
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(self)

    def _when_done(self, callback: Callable[[Pending[T]], None]) -> None:
        if self.done:
            callback(self)
        else:
            self._callbacks.append(callback)


@dataclass(eq=False, slots=True)
class _Branch:
    """One coroutine under the engine, the steps that it emitted, and the branches it started."""

    coroutine: Coroutine[Any, Any, Any]
    result: Pending[Any]
    steps: list[str]
    children: list[_Branch]
    closed: bool = False


class TurnEngine:
    """Runs one router. `start` once, then `feed` each outcome; both return what was emitted.

    Guarantees: emissions depend on nothing but the router's code and the outcomes in their order;
    at most `max_steps` steps are emitted; after `Ended` nothing more is emitted.
    """

    def __init__(self, max_steps: int) -> None:
        self.max_steps = max_steps
        self.ended = False
        self._emitted = 0
        self._counts: dict[str, int] = {}
        self._open: dict[str, Pending[Any]] = {}
        self._ready: deque[_Branch] = deque()
        self._out: list[Emission] = []
        self._root: _Branch | None = None
        self._current: _Branch | None = None
        self._closing = False
        self._fault: BaseException | None = None

    # --- driven from outside ---------------------------------------------------------------------

    def start(self, route: Coroutine[Any, Any, Any]) -> list[Emission]:
        """Run `route` until it waits; returns what it emitted."""
        self._root = self._spawn(route, None)
        return self._run()

    def feed(self, key: str, outcome: Any) -> list[Emission]:
        """Give the outcome of step `key`, run until every branch waits; returns what was emitted.

        Outcomes of steps that are not open (cancelled ones) change nothing.
        """
        if self.ended:
            return []
        pending = self._open.pop(key, None)
        if pending is not None:
            pending._settle(outcome)
        return self._run()

    def close(self) -> list[Emission]:
        """Stop the router: it may emit nothing more; returns the cancellations of open steps."""
        if not self.ended:
            self._finish()
        return self._take()

    @property
    def open_steps(self) -> tuple[str, ...]:
        """Keys of the steps without an outcome, in the order of their emission."""
        return tuple(self._open)

    # --- used by the turn ------------------------------------------------------------------------

    def emit(self, kind: str, target: str, make: Callable[[str], Step]) -> Pending[Any]:
        """Emit the step that `make` builds from its key; returns what its outcome will be."""
        if self._closing or self._current is None:
            raise RouterFault("a router that was closed may emit no further step")
        if self._emitted >= self.max_steps:
            self._fault = StepLimit(
                f"the router wanted more than {self.max_steps} steps: raise 'max_steps' of the "
                "session, or let the router stop earlier"
            )
            raise self._fault
        self._emitted += 1
        pair = f"{kind}:{target}"
        self._counts[pair] = n = self._counts.get(pair, 0) + 1
        key = f"{pair}:{n}"
        pending: Pending[Any] = Pending(key)
        self._open[key] = pending
        self._current.steps.append(key)
        self._out.append(Emitted(make(key)))
        return pending

    def record(self, decision: Decision) -> None:
        """Emit a decision."""
        if self._closing:
            raise RouterFault("a router that was closed may record nothing more")
        self._out.append(Decided(decision))

    def gather(self, *awaitables: Awaitable[Any]) -> Pending[tuple[Any, ...]]:
        """All values, in the order of the arguments.

        One that raises does not stop the others: its exception is raised when all are done.
        """
        members = [self._member(awaitable)[0] for awaitable in awaitables]
        joined: Pending[tuple[Any, ...]] = Pending()
        waiting = len(members)

        def one_done(_: Pending[Any]) -> None:
            nonlocal waiting
            waiting -= 1
            if waiting == 0:
                error = next((m._error for m in members if m._error is not None), None)
                joined._settle(tuple(m._value for m in members), error)

        if not members:
            joined._settle(())
        for member in members:
            member._when_done(one_done)
        return joined

    def first(self, *awaitables: Awaitable[Any]) -> Pending[Any]:
        """The first value that is not a `Failure`; the losers are cancelled.

        Where all fail, the last failure. A branch that raises wins with its exception.
        """
        if not awaitables:
            raise RouterFault("first() needs something to wait for")
        members = [self._member(awaitable) for awaitable in awaitables]
        winner: Pending[Any] = Pending()
        left, won = len(members), False

        def one_done(done: Pending[Any]) -> None:
            nonlocal left, won
            left -= 1
            if won or (isinstance(done._value, Failure) and left):
                return
            won = True  # before the losers, whose cancellation comes back here
            for pending, branch in members:
                if pending is not done:
                    self._lose(pending, branch)
            winner._settle(done._value, done._error)

        for pending, _ in members:
            pending._when_done(one_done)
        return winner

    # --- inside ----------------------------------------------------------------------------------

    def _member(self, awaitable: Awaitable[Any]) -> tuple[Pending[Any], _Branch | None]:
        if isinstance(awaitable, Pending):
            return awaitable, None
        if inspect.iscoroutine(awaitable):
            branch = self._spawn(awaitable, self._current)
            return branch.result, branch
        raise RouterFault(_foreign(awaitable))

    def _spawn(self, coroutine: Coroutine[Any, Any, Any], parent: _Branch | None) -> _Branch:
        if self._closing:
            coroutine.close()
            raise RouterFault("a router that was closed may start nothing more")
        branch = _Branch(coroutine, Pending(), [], [])
        if parent is not None:
            parent.children.append(branch)
        self._ready.append(branch)
        return branch

    def _run(self) -> list[Emission]:
        assert self._root is not None
        while self._ready and self._fault is None:
            branch = self._ready.popleft()
            if not branch.closed:
                self._step(branch)
        if self._fault is None and not self._root.result.done and not self._open:
            self._fault = RouterFault("the router waits for something that can never happen")
        if not self.ended and (self._fault is not None or self._root.result.done):
            root = self._root.result
            self._finish()
            self._out.append(Ended(root._value, self._fault or root._error))
        return self._take()

    def _step(self, branch: _Branch) -> None:
        self._current = branch
        try:
            awaited = branch.coroutine.send(None)
        except StopIteration as stop:
            branch.closed = True
            branch.result._settle(stop.value)
        except Exception as error:
            branch.closed = True
            branch.result._settle(None, error)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            branch.closed = True
            self._fault = self._fault or RouterFault(f"the router raised {type(error).__name__}")
        else:
            if isinstance(awaited, Pending):
                awaited._when_done(lambda _: self._ready.append(branch))
            else:
                self._fault = RouterFault(_foreign(awaited))
        finally:
            self._current = None

    def _lose(self, pending: Pending[Any], branch: _Branch | None) -> None:
        if branch is not None:
            self._close(branch)
        elif pending.key is not None:
            self._cancel(pending.key, "race_lost")

    def _close(self, branch: _Branch) -> None:
        """Close a losing branch, everything that it started, and the steps they own."""
        for child in branch.children:
            self._close(child)
        if not branch.closed:
            branch.closed = True
            self._close_coroutine(branch.coroutine)
        for key in branch.steps:
            self._cancel(key, "race_lost")

    def _close_coroutine(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        closing, self._closing = self._closing, True
        try:
            coroutine.close()
        except (Exception, StepLimit) as error:
            self._fault = self._fault or RouterFault(
                f"a branch could not be closed: {type(error).__name__}: {error}"
            )
        finally:
            self._closing = closing

    def _cancel(self, key: str, reason: Any) -> None:
        pending = self._open.pop(key, None)
        if pending is not None:
            self._out.append(Cancelled(key, reason))
            pending._settle(Failure.cancelled(key))

    def _finish(self) -> None:
        """End: close every branch, cancel every open step."""
        self.ended = True
        self._closing = True
        if self._root is not None:
            self._shut(self._root)
        self._ready.clear()
        for key in tuple(self._open):
            self._cancel(key, "turn_ended")
        self._ready.clear()

    def _shut(self, branch: _Branch) -> None:
        for child in branch.children:
            self._shut(child)
        if not branch.closed:
            branch.closed = True
            self._close_coroutine(branch.coroutine)

    def _take(self) -> list[Emission]:
        out, self._out = self._out, []
        return out


def _foreign(awaited: object) -> str:
    return (
        f"the router awaited {type(awaited).__module__}.{type(awaited).__qualname__}: it may await "
        "only the steps of its turn and what turn.gather and turn.first make of them"
    )
