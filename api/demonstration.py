"""The demonstration: five rehearsal models, all four routers, the costs, and a replay of it all.

Everything shown comes from the room, over its WebSocket and its REST API, as for any other client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from api.client import Posted, RoomClient, RoomError
from api.money import spent
from api.new_session import REHEARSALS, Choice, rehearsing, session_config
from api.progress import TurnProgress
from api.terminal_text import safe_line
from api.watching import watch

MAX_TOKENS = 240
"""Of one answer: about six seconds at the pace of a rehearsal."""
OTHER_COLUMNS = 42
"""Cells of the replay's table besides the head."""
TITLE = "Demonstration: "
LOOK_BACK = 200
"""Sessions, the latest, among which an earlier demonstration is looked for."""
PAUSE = 1.5
"""Seconds between two scenes, so that a person can look at the one before."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One router at work; `shows` are the kinds of decisions that prove it."""

    pattern: str
    what: str
    messages: tuple[str, ...]
    shows: frozenset[str] = frozenset()
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The pattern, in words."""
        return self.pattern.replace("_", " ")


SCENES = (
    Scene(
        "broadcast",
        "Everyone answers at once, and nobody waits for anybody.",
        ("Is it time to replace the search engine?",),
    ),
    Scene(
        "coordinator",
        "The architect plans who answers, and joins their answers into one.",
        ("How do we move the invoices to a new database without a pause?",),
        frozenset({"plan"}),
    ),
    Scene(
        "round_robin",
        "One speaks a message, and the next message is the next one's.",
        (
            "What is the weak point of the backup plan?",
            "And what does the plan cost us?",
            "How long will the plan hold?",
        ),
        frozenset({"plan"}),
    ),
    Scene(
        "voting",
        "Everyone proposes, then votes for the best proposal of another.",
        ("What do we build first: the importer or the report?",),
        frozenset({"vote", "tally"}),
    ),
)


@dataclass(slots=True)
class _Held:
    """A session of the demonstration, and whether all in it went as it should."""

    scene: Scene
    session: str
    well: bool = True


async def demonstrate(client: RoomClient, console: Console) -> bool:
    """Hold the demonstration in the running room; tells whether everything went as it should.

    Its sessions stay in the room, and every run makes new ones. No model is asked that costs
    anything. What the room refuses is shown, and then the demonstration ends.
    """
    try:
        return await _demonstrate(client, console)
    except RoomError as error:
        _say(console, f"The demonstration stops here: {safe_line(error.message)}", "red")
        return False


async def demonstrate_once(client: RoomClient, console: Console) -> bool:
    """Hold the demonstration in a room that has no session yet; else say where it is.

    Tells whether everything went as it should.
    """
    sessions = (await client.sessions(LOOK_BACK))["sessions"]
    if not sessions:
        return await demonstrate(client, console)
    held = [each for each in sessions if (each["title"] or "").startswith(TITLE)]
    _say(console, "")
    if held:
        ids = ", ".join(each["id"] for each in reversed(held[: len(SCENES)]))
        _say(console, f"The demonstration was held before, in {ids}. Read it with:")
        _say(console, f"  control-room show {held[0]['id']}", "bold")
    _say(console, "To hold the demonstration now: make run DEMO=1, or control-room serve --demo")
    return True


async def _demonstrate(client: RoomClient, console: Console) -> bool:
    models = (await client.models())["models"]
    providers = (await client.providers())["providers"]
    rehearsals = rehearsing(providers)
    chosen = _cast(rehearsals)
    _say(console, "")
    _say(console, "A demonstration, with five rehearsal models.", "bold")
    _say(
        console,
        "No model is asked and none is paid: their words are prepared. The rest is real, from the "
        "actors and the log to the tokens that you see.",
        "dim",
    )
    held = []
    for number, scene in enumerate(SCENES, 1):
        held.append(await _hold(client, console, scene, number, chosen))
        if console.is_terminal:
            await asyncio.sleep(PAUSE)
    await _show_costs(client, console, held)
    identical = await _show_replays(client, console, held)
    _mention_real_models(console, models, rehearsals)
    return identical and all(each.well for each in held)


def _cast(rehearsals: frozenset[str]) -> Sequence[Choice]:
    provider = "rehearsal" if "rehearsal" in rehearsals else min(rehearsals, default="rehearsal")
    return [Choice(provider, each.model) for each in REHEARSALS]


# --- scenes --------------------------------------------------------------------------------------


async def _hold(
    client: RoomClient, console: Console, scene: Scene, number: int, chosen: Sequence[Choice]
) -> _Held:
    """One session: what is said in it is shown as it is said."""
    _heading(console, f"{number} of {len(SCENES)}: {scene.name}", scene.what)
    title = f"{TITLE}{scene.name}"
    wanted = session_config(chosen, scene.pattern, title, tags=["demonstration"], **scene.more)
    for model in wanted["models"]:
        model["max_tokens"] = MAX_TOKENS
    view = await client.create_session(wanted)
    held = _Held(scene, view["session_id"])
    decided: set[str] = set()
    for message in scene.messages:
        _say(console, f"you: {message}", "bold")
        posted = await client.post_turn(held.session, message)
        progress = await _shown(client, console, view, posted)
        decided |= {each.kind for each in progress.decisions}
        held.well &= progress.status == "completed"
    held.well &= scene.shows <= decided
    return held


async def _shown(
    client: RoomClient, console: Console, view: Mapping[str, Any], posted: Posted
) -> TurnProgress:
    return await watch(
        client,
        view["session_id"],
        view["config"],
        posted["turn"],
        console,
        after=posted["position"] - 1,
    )


# --- what it cost, and the proof -----------------------------------------------------------------


async def _show_costs(client: RoomClient, console: Console, held: Sequence[_Held]) -> None:
    _heading(
        console,
        "What it cost",
        "Tokens as a model would have counted them; rehearsal models charge nothing.",
    )
    table = _table("session", "calls", "tokens in", "tokens out", "cost")
    sums = [0, 0, 0]
    amount, priced, unpriced = Decimal(0), 0, 0
    for each in held:
        total = (await client.costs(each.session))["total"]
        usage = total["usage"]
        read = usage["input"] + usage["cache_read"] + usage["cache_write"]
        figures = (total["calls"], read, usage["output"] + usage["reasoning"])
        sums = [one + other for one, other in zip(sums, figures, strict=True)]
        amount += Decimal(total["cost"])
        priced += total["priced"]
        unpriced += total["unpriced"]
        cost = spent(total["cost"], total["priced"], total["unpriced"])
        _row(table, each.scene.name, *map(str, figures), cost)
    table.add_section()
    _row(table, "together", *map(str, sums), spent(amount, priced, unpriced))
    console.print(table)


async def _show_replays(client: RoomClient, console: Console, held: Sequence[_Held]) -> bool:
    """Replay every session; whether all are identical."""
    _heading(
        console,
        "Replay",
        "Every turn runs again from the log alone; equal heads prove that each event is the same.",
    )
    table = _table("session", "events", "replay", "head")
    every = True
    for each in held:
        found = await client.replay(each.session)
        every &= found["identical"]
        said = "identical" if found["identical"] else _diverged(found.get("divergence"))
        shown = found["head"][: max(16, console.width - OTHER_COLUMNS)]
        head = shown if shown == found["head"] else f"{shown}…"
        _row(table, each.scene.name, str(found["events"]), said, head)
    console.print(table)
    if every:
        _say(console, "All of it replays bit for bit.", "green")
    return every


def _diverged(found: Mapping[str, Any] | None) -> str:
    return f"diverged at {found['position']}" if found else "diverged"


# --- small things --------------------------------------------------------------------------------


def _mention_real_models(
    console: Console, models: Sequence[Mapping[str, Any]], rehearsals: frozenset[str]
) -> None:
    """Real models that this room could ask, and how; asks none."""
    real: dict[str, list[str]] = {}
    for each in models:
        if each["provider"] not in rehearsals:
            real.setdefault(each["provider"], []).append(each["model_name"])
    if not real:
        return
    offers = ", ".join(f"{provider} ({len(names)})" for provider, names in real.items())
    provider, names = next(iter(real.items()))
    _say(console, "")
    _say(console, f"Real models are within reach: {safe_line(offers)}. Try:")
    _say(console, f"  control-room chat --models {safe_line(f'{provider}/{names[0]}')}", "bold")
    _say(console, "A hosted provider may charge for that; a model on this machine does not.", "dim")


def _heading(console: Console, title: str, what: str) -> None:
    console.print()
    console.rule(Text(title, style="bold"), style="dim")
    _say(console, what, "dim")


def _say(console: Console, text: str, style: str = "") -> None:
    console.print(Text(text, style=style))


def _table(first: str, *others: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column(first, no_wrap=True)
    for name in others:
        text = name in ("replay", "head")
        table.add_column(name, justify="left" if text else "right", no_wrap=True)
    return table


def _row(table: Table, *cells: str) -> None:
    table.add_row(*(Text(safe_line(cell), overflow="ellipsis") for cell in cells))
