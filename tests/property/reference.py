"""What a router program decides, worked out on asyncio instead of the turn engine.

An independent model of the same rules: real tasks and futures on a real event loop, which is given
one outcome at a time and then run until nothing is left to do. It shares no code with
`actors.routing`, and knows of its rules only what the documentation of `Turn` says.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from tests.property.programs import (
    ROUNDS,
    TOOLS,
    WITH_TOOLS,
    All,
    Ask,
    Call,
    Catch,
    Choose,
    Decide,
    Draw,
    Early,
    Fault,
    Finally,
    Leave,
    Loop,
    Node,
    ProgramFault,
    Race,
    Seq,
    Wait,
)


@dataclass(frozen=True)
class Lost:
    """A step that failed."""

    message: str


@dataclass(frozen=True)
class Calls:
    """An answer that wants tools called; where none may be any more, it is `text`."""

    tools: tuple[str, ...]
    text: str


@dataclass(eq=False)
class Slot:
    """Something that is awaited: a future, and who wants to know at once when it is done."""

    future: asyncio.Future[Any]
    key: str | None = None
    members: list[Slot] = field(default_factory=list)
    branch: Branch | None = None
    watchers: list[Callable[[Slot], None]] = field(default_factory=list)


@dataclass(eq=False)
class Branch:
    """A task, the steps that it asked for, and the branches that it began."""

    task: asyncio.Task[Any] | None = None
    steps: list[str] = field(default_factory=list)
    children: list[Branch] = field(default_factory=list)


class Reference:
    """Runs one program; `said` is what it did since the last look, in order."""

    def __init__(self, program: Node) -> None:
        self.loop = asyncio.SelectorEventLoop()
        self.loop.set_exception_handler(lambda loop, context: None)
        self.open: dict[str, Slot] = {}
        self.said: list[str] = []
        self.cancelled: list[str] = []
        self.noted: list[str] = []
        self.end: str | None = None
        self._counts: Counter[str] = Counter()
        self._refused: deque[Slot] = deque()
        self._root = Branch()
        self._root.task = self.loop.create_task(self._main(program))
        self._quiesce()

    def feed(self, key: str, value: Any) -> None:
        """Give the outcome of a step, and run until all wait again."""
        slot = self.open.pop(key)
        self._settle(slot, value)
        self._quiesce()

    def close(self) -> None:
        """Stop whatever still runs."""
        if self.end is None:
            self._stop()
            self._quiesce()
        self.loop.close()

    # --- tasks -----------------------------------------------------------------------------------

    def _quiesce(self) -> None:
        self._run_ready()
        while self._refused:  # what does not exist fails by itself, when all wait again
            slot = self._refused.popleft()
            if slot.key is not None and self.open.pop(slot.key, None) is not None:
                self._settle(slot, Lost(""))
                self._run_ready()

    def _run_ready(self) -> None:
        while self.loop._ready:  # type: ignore[attr-defined]
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    async def _main(self, program: Node) -> None:
        try:
            value = await self._run(program, self._root, "r")
        except ProgramFault as fault:
            self._stop(f"raised {fault}")
        else:
            self._stop(f"returned {show(value)}")

    def _stop(self, end: str = "closed") -> None:
        self.end = end
        self.cancelled += [f"turn_ended {key}" for key in self.open]
        self.open.clear()
        for branch in self._root.children:
            self._halt(branch)
        if end == "closed" and self._root.task:
            self._root.task.cancel()

    def _halt(self, branch: Branch) -> None:
        for child in branch.children:
            self._halt(child)
        if branch.task:
            branch.task.cancel()

    def _spawn(self, body: Coroutine[Any, Any, Any], branch: Branch, parent: Branch) -> Slot:
        slot = Slot(self.loop.create_future(), branch=branch)

        async def run() -> None:
            try:
                value = await body
            except ProgramFault as fault:
                self._settle(slot, fault)
            else:
                self._settle(slot, value)

        parent.children.append(branch)
        branch.task = self.loop.create_task(run())
        branch.task.add_done_callback(lambda _: body.close())
        return slot

    def _settle(self, slot: Slot, value: Any) -> None:
        if slot.future.done():
            return
        if isinstance(value, ProgramFault):
            slot.future.set_exception(value)
            slot.future.exception()
        else:
            slot.future.set_result(value)
        for watcher in slot.watchers:
            watcher(slot)

    # --- steps and combinations ------------------------------------------------------------------

    def _step(self, label: str, branch: Branch) -> Slot:
        self._counts[label] += 1
        key = f"{label}#{self._counts[label]}"
        slot = self.open[key] = Slot(self.loop.create_future(), key)
        branch.steps.append(key)
        self.said.append(key)
        return slot

    def _ask(self, who: str, label: str, parent: Branch) -> Slot:
        """Ask; who has tools calls them, in a branch that the question belongs to."""
        if who not in WITH_TOOLS:
            return self._step(label, parent)
        branch = Branch()
        first = self._step(label, branch)
        return self._spawn(self._tools(first, label, branch), branch, parent)

    async def _tools(self, slot: Slot, label: str, branch: Branch) -> Any:
        value = await slot.future
        for _ in range(ROUNDS):
            if not isinstance(value, Calls):
                break
            calls = [self._step(tool, branch) for tool in value.tools]
            self._refused += (
                call for call, tool in zip(calls, value.tools, strict=True) if tool not in TOOLS
            )
            for call in calls:
                await call.future
            value = await self._step(label, branch).future
        return value.text if isinstance(value, Calls) else value

    def _plain(self, node: Ask | Wait | Draw | Call, label: str, branch: Branch) -> Slot:
        match node:
            case Ask(who):
                return self._ask(who, label, branch)
            case Call(tool):
                return self._step(tool, branch)
            case _:
                return self._step(label, branch)

    def _combined(self, node: All | Race, branch: Branch, at: str) -> Slot:
        slot = Slot(self.loop.create_future())
        members: list[Slot | Coroutine[Any, Any, Any]] = []
        owners: list[Branch] = []
        for index, item in enumerate(node.items):
            place = f"{at}_{index}"
            owners.append(Branch())
            if node.bare and isinstance(item, Ask | Wait | Draw | Call):
                members.append(self._plain(item, place, branch))
            elif node.bare and isinstance(item, All | Race):
                members.append(self._combined(item, branch, place))
            else:
                members.append(self._run(item, owners[-1], place))
        # A branch begins when it is given to the combination: after all members are there.
        slot.members = [
            one if isinstance(one, Slot) else self._spawn(one, owner, branch)
            for one, owner in zip(members, owners, strict=True)
        ]
        watch = self._all if isinstance(node, All) else self._first
        for member in slot.members:
            member.watchers.append(lambda done: watch(slot, done))
        for member in slot.members:
            if member.future.done():
                watch(slot, member)
        if not slot.members:
            slot.future.set_result("[]")
        return slot

    def _all(self, slot: Slot, done: Slot) -> None:
        if slot.future.done() or not all(member.future.done() for member in slot.members):
            return
        faults = [member.future.exception() for member in slot.members]
        fault = next((one for one in faults if one is not None), None)
        if fault is not None:
            self._settle(slot, fault)
        else:
            values = " ".join(show(member.future.result()) for member in slot.members)
            self._settle(slot, f"[{values}]")

    def _first(self, slot: Slot, done: Slot) -> None:
        if slot.future.done():
            return
        fault = done.future.exception()
        value = fault or done.future.result()
        if isinstance(value, Lost) and not all(member.future.done() for member in slot.members):
            return
        self._settle(slot, value)
        for member in slot.members:
            if member is not done:
                self._lose(member)

    def _lose(self, slot: Slot) -> None:
        for member in slot.members:
            self._lose(member)
        if slot.branch is not None:
            self._close(slot.branch)
        if slot.key is not None:
            self._cancel(slot.key)

    def _close(self, branch: Branch) -> None:
        for child in branch.children:
            self._close(child)
        if branch.task:
            branch.task.cancel()
        for key in branch.steps:
            self._cancel(key)

    def _cancel(self, key: str) -> None:
        if self.open.pop(key, None) is not None:
            self.cancelled.append(f"race_lost {key}")

    # --- programs --------------------------------------------------------------------------------

    async def _run(self, node: Node, branch: Branch, at: str) -> Any:  # noqa: PLR0911, PLR0912, C901
        match node:
            case Ask() | Wait() | Draw() | Call():
                return await self._plain(node, at, branch).future
            case Decide():
                self.said.append(f"decided {at}")
                return "decided"
            case Fault():
                raise ProgramFault(at)
            case Seq(items):
                value: Any = "nothing"
                for index, item in enumerate(items):
                    value = await self._run(item, branch, f"{at}_{index}")
                return value
            case All() | Race():
                return await self._combined(node, branch, at).future
            case Loop(who, times):
                value = "nothing"
                for _ in range(times):
                    value = await self._ask(who, at, branch).future
                    if value != "go":
                        break
                return value
            case Choose(who, then, otherwise):
                if await self._ask(who, f"{at}_q", branch).future == "go":
                    return await self._run(then, branch, f"{at}_t")
                return await self._run(otherwise, branch, f"{at}_o")
            case Catch(body, otherwise):
                try:
                    return await self._run(body, branch, f"{at}_b")
                except ProgramFault as fault:
                    value = await self._run(otherwise, branch, f"{at}_o")
                    return f"{fault}>{show(value)}"
            case Early(who, body):
                slot = self._ask(who, f"{at}_q", branch)
                value = await self._run(body, branch, f"{at}_b")
                return f"{show(value)}+{show(await slot.future)}"
            case Leave(body):
                child = Branch()
                self._spawn(self._run(body, child, f"{at}_l"), child, branch)
                return "left"
            case Finally(body):
                try:
                    return await self._run(body, branch, f"{at}_b")
                finally:
                    self.noted.append(at)


def show(value: Any) -> str:
    """A value within a text."""
    return f"!{value.message}" if isinstance(value, Lost) else str(value)
