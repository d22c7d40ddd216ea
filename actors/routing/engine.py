"""The turn engine: runs a router, an ordinary coroutine, without any I/O.

A router emits steps and awaits their outcomes. The engine starts it, collects what it emits, takes
one outcome at a time, and runs it until every branch waits again. Nothing else can make it move, so
the same outcomes in the same order always give the same emissions: that is what live turns, crash
recovery, replay and forks share.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Literal

from actors.routing.allowance import Allowance
from actors.routing.faults import describe
from actors.routing.keys import Keys
from actors.routing.pending import (
    NESTING,
    Branch,
    Member,
    Pending,
    Settling,
    branched,
    dismiss,
    distinct,
    foreign,
)
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


class TurnEngine:
    """Runs one router. `start` once, then `feed` each outcome; both return what was emitted.

    Guarantees: emissions depend on nothing but the router's code and the outcomes in their order;
    at most `max_steps` steps are emitted; after `Ended` nothing more is emitted, and the router's
    return is its end, whatever its other branches do. Not guarded against is a router that computes
    for ever without awaiting anything.
    """

    def __init__(self, max_steps: int) -> None:
        self.ended = False
        self._allowance = Allowance(max_steps)
        self._keys = Keys()
        self._open: dict[str, Pending[Any]] = {}
        self._owners: dict[str, Branch] = {}
        self._ready: deque[Branch] = deque()
        self._settle = Settling().settle
        self._out: list[Emission] = []
        self._root: Branch | None = None
        self._current: Branch | None = None
        self._closing = False
        self._refused = False
        self._fault: BaseException | None = None
        self._taken: set[int] = set()  # by id: their branches keep them alive

    # --- driven from outside ---------------------------------------------------------------------

    def start(self, route: Coroutine[Any, Any, Any]) -> list[Emission]:
        """Run `route` until it waits; returns what it emitted."""
        self._root = Branch(route, 1)
        self._ready.append(self._root)
        return self._run()

    def feed(self, key: str, outcome: Any) -> list[Emission]:
        """Give the outcome of step `key`, run until every branch waits; returns what was emitted.

        Outcomes of steps that are not open (cancelled ones) change nothing. An outcome that nobody
        awaits yet is kept.
        """
        pending = None if self.ended else self._open.pop(key, None)
        if pending is None:
            return []
        self._settle(pending, outcome)
        return self._run()

    def instead(
        self, failed: str, make: Callable[[str], Step], *, greedy: bool = False
    ) -> list[Emission] | None:
        """Put another step in the place of the open step `failed`, for whoever waits for that one.

        None where the turn may emit no more steps, or has no such step open: nothing has changed.
        Neither is a step taken that a loop is left for its last question, unless `greedy`.
        """
        pending = None if self.ended else self._open.get(failed)
        if pending is None or not (greedy or self._allowance.loops_are_safe):
            return None
        try:
            self._allowance.step()
        except StepLimit:
            return None
        del self._open[failed]
        branch, pair = self._owners.pop(failed), failed.rpartition(":")[0]
        return [Emitted(self._put(branch, pair, make, pending))]

    def inject(self, kind: str, target: str, make: Callable[[str], Step]) -> list[Emission]:
        """Have a step done that comes from outside the router, as if it had emitted it.

        Nobody waits for its outcome; where it is open when the router returns, it is cancelled.
        """
        if self.ended or self._root is None:
            return []
        try:
            self._allowance.step()
        except StepLimit as limit:
            self._fault = limit
            return self._run()
        return [Emitted(self._put(self._root, f"{kind}:{target}", make, Pending()))]

    def close(self) -> list[Cancelled]:
        """Stop the router: it may emit nothing more; returns the cancellations of open steps."""
        if not self.ended:
            self._finish()
        return [emission for emission in self._take() if isinstance(emission, Cancelled)]

    @property
    def open_steps(self) -> tuple[str, ...]:
        """Keys of the steps without an outcome, in the order of their emission."""
        return tuple(self._open)

    # --- used by the turn ------------------------------------------------------------------------

    def emit(
        self, kind: str, target: str, make: Callable[[str], Step], *, counted: bool = True
    ) -> Pending[Any]:
        """Emit the step that `make` builds from its key; returns what its outcome will be.

        A step that nobody will do, because it is refused at once, is not `counted`.
        """
        branch = self._admit()
        if branch is None:
            return Pending()
        if counted:
            self._spend(self._allowance.step)
        pending: Pending[Any] = Pending()
        self._out.append(Emitted(self._put(branch, f"{kind}:{target}", make, pending)))
        return pending

    def _put(
        self, branch: Branch, pair: str, make: Callable[[str], Step], pending: Pending[Any]
    ) -> Step:
        """The next step of that kind and target, of the branch; `pending` is its outcome."""
        pending.key = key = self._keys.next(pair)
        step = make(key)
        self._open[key] = pending
        self._owners[key] = branch
        branch.steps.append(key)
        return step

    def carry_on(self, first: Pending[Any], coroutine: Coroutine[Any, Any, Any]) -> Pending[Any]:
        """Have `coroutine` go on from the step `first`, which was emitted just now.

        It runs as a branch of its own that the step belongs to; returns what it will return.
        """
        if first.key is None:  # a closed router emits nothing
            coroutine.close()
            return first
        parent = self._owners[first.key]
        parent.steps.remove(first.key)
        branch = Branch(coroutine, parent.depth + 1, steps=[first.key], stands_for=first.key)
        branch.result.branch = self._owners[first.key] = branch
        parent.children.append(branch)
        self._ready.append(branch)
        self._allowance.loop(1)
        branch.result.when_done(lambda _: self._allowance.loop(-1))
        return branch.result

    def spare(self, wanted: int) -> int:
        """How many of so many more steps the branches of the engine's own may take."""
        return self._allowance.spare(wanted)

    def emitted(self, key: str) -> bool:
        """Whether a step of that key was emitted."""
        return self._keys.emitted(key)

    def record(self, decision: Decision) -> None:
        """Emit a decision."""
        if self._admit() is not None:
            self._spend(self._allowance.decision)
            self._out.append(Decided(decision))

    def gather(self, *awaitables: Awaitable[Any]) -> Pending[tuple[Any, ...]]:
        """All values, in the order of the arguments.

        One that raises does not stop the others: its exception is raised when all are done.
        """
        joined: Pending[tuple[Any, ...]] = Pending(members=self._members(awaitables))
        members = [pending for pending, _ in joined.members]
        waiting = len(members)

        def one_done(_: Pending[Any]) -> None:
            nonlocal waiting
            waiting -= 1
            if waiting == 0:
                error = next((m.error for m in members if m.error is not None), None)
                self._settle(joined, tuple(m.value for m in members), error)

        if not members and not self._refused:
            joined.done, joined.value = True, ()
        for member in members:
            member.when_done(one_done)
        return joined

    def first(self, *awaitables: Awaitable[Any]) -> Pending[Any]:
        """The first value that is not a `Failure`; the losers are cancelled.

        Where all fail, the last failure. A branch that raises wins with its exception. Cancelled
        are a loser's steps and branches, and those that it started, down to the last.
        """
        if not awaitables:
            raise RouterFault("first() needs something to wait for")
        winner: Pending[Any] = Pending(members=self._members(awaitables))
        left, won = len(winner.members), False

        def one_done(done: Pending[Any]) -> None:
            nonlocal left, won
            left -= 1
            if won or (isinstance(done.value, Failure) and left):
                return
            won = True
            self._settle(winner, done.value, done.error)
            for pending, branch in winner.members:
                if pending is not done:
                    self._lose(pending, branch)

        for pending, _ in winner.members:
            pending.when_done(one_done)
        return winner

    # --- admission -------------------------------------------------------------------------------

    def _admit(self) -> Branch | None:
        """The running branch, where the router may do something now.

        Otherwise the first attempt raises. A router that swallows that is given None, and with it
        what never settles: its next `await` hands it back to the engine, which ends it.
        """
        branch, closed = self._current, self._closing or self._current is None
        if branch is not None and not closed and self._fault is None:
            self._spend(self._allowance.call)
            return branch
        if self._refused:
            return None
        self._refused = True
        if self._fault is not None and not closed:
            raise self._fault
        raise RouterFault("a router that was closed may do nothing more")

    def _spend(self, spend: Callable[[], None]) -> None:
        try:
            spend()
        except StepLimit as limit:
            self._fault, self._refused = limit, True
            raise

    def _members(self, awaitables: tuple[Awaitable[Any], ...]) -> tuple[Member, ...]:
        """Take what is to be combined: all of it, or nothing."""
        members: list[Member] = []
        try:
            parent = self._admit()
            if parent is None:
                return ()
            for one in awaitables:
                if not isinstance(one, Pending):
                    branch = branched(one, parent, self._taken)
                    members.append((branch.result, branch))
                elif one.depth < NESTING:
                    members.append((one, None))
                else:
                    raise RouterFault(f"gather and first are nested deeper than {NESTING}")
            distinct(members)
        except (RouterFault, StepLimit):
            members.clear()
            raise
        finally:
            if not members:
                dismiss(awaitables)
        branches = [branch for _, branch in members if branch is not None]
        parent.children.extend(branches)
        self._ready.extend(branches)
        self._taken.update(id(branch.coroutine) for branch in branches)
        return tuple(members)

    # --- running ---------------------------------------------------------------------------------

    def _run(self) -> list[Emission]:
        assert self._root is not None
        result = self._root.result
        while self._ready and self._fault is None and not result.done:
            branch = self._ready.popleft()
            if not branch.closed:
                self._step(branch)
        if self._fault is None and not result.done and not self._open:
            self._fault = RouterFault("the router waits for something that can never happen")
        if not self.ended and (self._fault is not None or result.done):
            fault = self._fault or result.error  # before closing, which can find further ones
            self._finish()
            self._out.append(Ended(None if fault else result.value, fault))
        return self._take()

    def _step(self, branch: Branch) -> None:
        self._current = branch
        try:
            awaited = branch.coroutine.send(None)
        except StopIteration as stop:
            branch.closed = True
            self._settle(branch.result, stop.value)
        except Exception as error:
            branch.closed = True
            self._settle(branch.result, None, error)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            branch.closed = True
            self._fault = self._fault or RouterFault(f"the router raised {type(error).__name__}")
        else:
            if isinstance(awaited, Pending):
                awaited.when_done(lambda _: self._ready.append(branch))
            else:
                self._fault = self._fault or RouterFault(foreign(awaited))
        finally:
            self._current = None

    # --- losing and ending -----------------------------------------------------------------------

    def _lose(self, pending: Pending[Any], branch: Branch | None) -> None:
        branch = branch or pending.branch
        if branch is not None:
            self._close(branch)
        elif pending.key is not None:
            self._cancel(pending.key, "race_lost")
        else:
            for member, its_branch in pending.members:
                self._lose(member, its_branch)

    def _close(self, branch: Branch) -> None:
        """Close a losing branch, everything that it started, and the steps they own."""
        for child in branch.children:
            self._close(child)
        if not branch.closed:
            branch.closed = True
            self._close_coroutine(branch.coroutine)
            self._settle(branch.result, branch.lost)
        for key in branch.steps:
            self._cancel(key, "race_lost")

    def _close_coroutine(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        closing, self._closing = self._closing, True
        refused, self._refused = self._refused, False
        try:
            coroutine.close()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self._fault = self._fault or RouterFault(
                f"a branch could not be closed: {describe(error)}"
            )
        finally:
            self._closing, self._refused = closing, refused

    def _cancel(self, key: str, reason: Literal["race_lost", "turn_ended"]) -> None:
        pending = self._open.pop(key, None)
        if pending is not None:
            self._out.append(Cancelled(key, reason))
            self._settle(pending, Failure.cancelled(key))

    def _finish(self) -> None:
        """End: close every branch, cancel every open step. Nobody is called back any more."""
        self.ended = True
        self._closing = True
        if self._root is not None:
            self._shut(self._root)
        self._ready.clear()
        self._out.extend(Cancelled(key, "turn_ended") for key in self._open)
        self._open.clear()

    def _shut(self, branch: Branch) -> None:
        for child in branch.children:
            self._shut(child)
        if not branch.closed:
            branch.closed = True
            self._close_coroutine(branch.coroutine)

    def _take(self) -> list[Emission]:
        out, self._out = self._out, []
        return out
