"""Router programs: small trees that use everything a router may do, and how they run as routers."""

from __future__ import annotations

import ast
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, get_args

from hypothesis import strategies as st

from actors.routing.pending import Pending
from actors.routing.steps import Answer, Failure, ToolResult
from actors.routing.turn import Turn

PARTICIPANTS = "abc"
WITH_TOOLS = "ab"
"""Those of them that call tools before they answer."""
ROUNDS = 2
"""How often they do so for one answer."""
TOOLS = ("s__x", "s__y")


@dataclass(frozen=True)
class Ask:
    """Ask somebody; the value is the text, or the failure."""

    who: str
    now: bool = False


@dataclass(frozen=True)
class Wait:
    """A timer."""

    seconds: int


@dataclass(frozen=True)
class Draw:
    """A number by chance."""


@dataclass(frozen=True)
class Call:
    """Call a tool; the value is its text, or the failure."""

    tool: str


@dataclass(frozen=True)
class Decide:
    """Record a decision."""

    who: str


@dataclass(frozen=True)
class Fault:
    """Raise a `ProgramFault`."""


@dataclass(frozen=True)
class Seq:
    """One after the other; the value is the last one's."""

    items: tuple[Node, ...]


@dataclass(frozen=True)
class All:
    """All at once: as branches, or (`bare`) as the steps and combinations themselves."""

    items: tuple[Node, ...]
    bare: bool


@dataclass(frozen=True)
class Race:
    """The first that does not fail; at least one item."""

    items: tuple[Node, ...]
    bare: bool


@dataclass(frozen=True)
class Loop:
    """Ask again and again while the answer is `go`, as a tool loop does."""

    who: str
    times: int


@dataclass(frozen=True)
class Choose:
    """Ask, and go on with one or the other."""

    who: str
    then: Node
    otherwise: Node


@dataclass(frozen=True)
class Catch:
    """Go on with `otherwise` where `body` raises."""

    body: Node
    otherwise: Node


@dataclass(frozen=True)
class Early:
    """Ask, do `body`, and only then look at the answer."""

    who: str
    body: Node


@dataclass(frozen=True)
class Leave:
    """Begin a branch and go on without it."""

    body: Node


@dataclass(frozen=True)
class Finally:
    """Note when `body` is over, however it ends."""

    body: Node


Node = (
    Ask
    | Wait
    | Draw
    | Call
    | Decide
    | Fault
    | Seq
    | All
    | Race
    | Loop
    | Choose
    | Catch
    | Early
    | Leave
    | Finally
)
Step = Ask | Wait | Draw | Call


class ProgramFault(Exception):
    """What `Fault` raises."""


Note = Callable[[str], None]


def router(program: Node, note: Note) -> Callable[[Turn], Coroutine[Any, Any, Any]]:
    """The program as a router; `note` is told of every `Finally`."""

    async def route(turn: Turn) -> Any:
        return said(await _run(program, turn, note, "r"))

    return route


def said(value: Any) -> Any:
    """A value as programs see it: a text, or a `Failure`."""
    match value:
        case Answer(text=text) | ToolResult(text=text):
            return text
        case Failure() | str():
            return value
        case tuple():
            return f"[{' '.join(shown(said(one)) for one in value)}]"
        case None:
            return "waited"
        case _:
            return str(value)


def shown(value: Any) -> str:
    """The value within a text."""
    return f"!{value.message}" if isinstance(value, Failure) else str(value)


async def _run(node: Node, turn: Turn, note: Note, at: str) -> Any:  # noqa: PLR0911, PLR0912, C901
    match node:
        case Ask() | Wait() | Draw() | Call():
            return said(await _step(node, turn, at))
        case Decide(who):
            turn.decide([who], at)
            return "decided"
        case Fault():
            raise ProgramFault(at)
        case Seq(items):
            value: Any = "nothing"
            for index, item in enumerate(items):
                value = await _run(item, turn, note, f"{at}_{index}")
            return value
        case All() | Race():
            return said(await _combined(node, turn, note, at))
        case Loop(who, times):
            value = "nothing"
            for _ in range(times):
                value = said(await _step(Ask(who, now=True), turn, at))
                if value != "go":
                    break
            return value
        case Choose(who, then, otherwise):
            value = said(await _step(Ask(who), turn, f"{at}_q"))
            chosen, name = (then, "t") if value == "go" else (otherwise, "o")
            return await _run(chosen, turn, note, f"{at}_{name}")
        case Catch(body, otherwise):
            try:
                return await _run(body, turn, note, f"{at}_b")
            except ProgramFault as fault:
                value = await _run(otherwise, turn, note, f"{at}_o")
                return f"{fault}>{shown(value)}"
        case Early(who, body):
            pending = _step(Ask(who), turn, f"{at}_q")
            value = await _run(body, turn, note, f"{at}_b")
            return f"{shown(value)}+{shown(said(await pending))}"
        case Leave(body):
            turn.gather(_run(body, turn, note, f"{at}_l"))
            return "left"
        case Finally(body):
            try:
                return await _run(body, turn, note, f"{at}_b")
            finally:
                note(at)


def _step(node: Step, turn: Turn, at: str) -> Pending[Any]:
    match node:
        case Ask(who, now):
            return turn.ask(who, instruction=at, see="now" if now else "start")
        case Wait(seconds):
            return turn.timer(seconds, at)
        case Draw():
            return turn.draw(at)
        case Call(tool):
            return turn.call(tool, {})


def _combined(node: All | Race, turn: Turn, note: Note, at: str) -> Pending[Any]:
    members: list[Awaitable[Any]] = []
    for index, item in enumerate(node.items):
        place = f"{at}_{index}"
        if node.bare and isinstance(item, Step):
            members.append(_step(item, turn, place))
        elif node.bare and isinstance(item, All | Race):
            members.append(_combined(item, turn, note, place))
        else:
            members.append(_run(item, turn, note, place))
    return turn.gather(*members) if isinstance(node, All) else turn.first(*members)


def spelled(program: Node) -> str:
    """The program as text."""
    return repr(program)


def parsed(text: str) -> Node:
    """The program of a text that `spelled` gave."""
    program: Node = _built(ast.parse(text, mode="eval").body)
    return program


def _built(tree: ast.expr) -> Any:
    match tree:
        case ast.Call(func=ast.Name(id=name), keywords=keywords):
            return _NODES[name](**{str(one.arg): _built(one.value) for one in keywords})
        case ast.Tuple(elts=items):
            return tuple(map(_built, items))
        case _:
            return ast.literal_eval(tree)


_NODES: dict[str, type[Node]] = {kind.__name__: kind for kind in get_args(Node)}


# --- generated -------------------------------------------------------------------------------

_who = st.sampled_from(PARTICIPANTS)
_leaves: dict[type[Node], st.SearchStrategy[Node]] = {
    Ask: st.builds(Ask, _who, st.booleans()),
    Wait: st.builds(Wait, st.integers(0, 9)),
    Draw: st.just(Draw()),
    Call: st.builds(Call, st.sampled_from(TOOLS)),
    Decide: st.builds(Decide, _who),
    Fault: st.just(Fault()),
    Loop: st.builds(Loop, _who, st.integers(1, 4)),
}
_KINDS = (Ask, Ask, Ask, Loop, Wait, Draw, Call, Decide, Fault)
_DEEPER = (Seq, All, Race, Race, Early, Catch, Choose, Leave, Finally)


_BY_DEPTH = (_KINDS, _KINDS + _DEEPER, _DEEPER + _KINDS[:4], _DEEPER[:6] + _KINDS[:4], (Seq, All))
"""Large at the root, small at the leaves."""


@st.composite
def programs(draw: st.DrawFn, depth: int = 4) -> Node:
    """A program of at most so many levels."""
    kind = draw(st.sampled_from(_BY_DEPTH[depth]))
    if kind in _leaves:
        return draw(_leaves[kind])

    def inner() -> Node:
        return draw(programs(depth - 1))

    def several(least: int) -> tuple[Node, ...]:
        return tuple(inner() for _ in range(draw(st.integers(least + (depth > 2), 4))))

    if kind is Seq:
        return Seq(several(1))
    if kind is All:
        return All(several(0), draw(st.booleans()))
    if kind is Race:
        return Race(several(1), draw(st.booleans()))
    if kind is Choose:
        return Choose(draw(_who), inner(), inner())
    if kind is Catch:
        return Catch(inner(), inner())
    if kind is Early:
        return Early(draw(_who), inner())
    return Leave(inner()) if kind is Leave else Finally(inner())


arrivals = st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), min_size=3, max_size=15)
"""Which of the open steps gets its outcome next, and which outcome."""
