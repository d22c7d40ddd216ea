"""The demonstration, held in a room of real parts at a quick pace."""

from __future__ import annotations

import asyncio
import io
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from rich.console import Console

from actors.providers.config import ProviderSpec
from api import demonstration
from api.client import RoomClient
from api.demonstration import SCENES, demonstrate, demonstrate_once
from api.terminal_text import safe
from projections.replay import replay
from tests.rooms import LocalRoom, local_room
from tests.servers.llama import LlamaServer
from tests.waiting import eventually

QUICK = ProviderSpec(id="rehearsal", type="rehearsal", config={"pace": 25})
"""The built-in rehearsal, twenty-five times as fast."""
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"  # the cursor
BEGIN, END = "\x1b[?2026h", "\x1b[?2026l"  # one picture
PATTERNS = ("broadcast", "coordinator", "round_robin", "voting")


@pytest.fixture(scope="module")
async def room(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalRoom]:
    async with local_room(tmp_path_factory.mktemp("room"), QUICK) as room:
        yield room


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demonstration, "PAUSE", 0.0)


def a_console(width: int, *, terminal: bool) -> Console:
    file = io.StringIO()
    return Console(
        record=True, width=width, height=40, force_terminal=terminal, file=file, highlight=False
    )


def written(console: Console) -> str:
    """Everything that the console has written, control sequences included."""
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_every_router_has_its_scene() -> None:
    assert tuple(scene.pattern for scene in SCENES) == PATTERNS


@pytest.mark.parametrize(("width", "terminal"), [(80, True), (140, True), (80, False)])
async def test_all_four_routers_the_costs_and_the_proof(
    room: LocalRoom, width: int, terminal: bool
) -> None:
    console = a_console(width, terminal=terminal)
    async with RoomClient(room.url) as client:
        before = len((await client.sessions(1000))["sessions"])
        assert await demonstrate(client, console)
        listed = (await client.sessions(1000))["sessions"]
        held = listed[: len(listed) - before][::-1]
        turns = [await client.turn(each["id"], "t1") for each in held]
        calls = [(await client.costs(each["id"]))["total"]["calls"] for each in held]
        proofs = [await client.replay(each["id"]) for each in held]

    # What the room has kept of it ...
    assert [each["pattern"] for each in held] == list(PATTERNS)
    assert [each["title"] for each in held] == [
        f"Demonstration: {name}" for name in ("broadcast", "coordinator", "round robin", "voting")
    ]
    assert [each["turns"] for each in held] == [1, 1, 3, 1]
    assert all(len(each["participants"]) == 5 for each in held)
    assert all(turn["status"] == "completed" for turn in turns)
    decided = [{each["type"] for each in turn["decisions"]} for turn in turns]
    assert decided == [set(), {"route.decided"}, {"route.decided"}, {"vote.cast", "votes.tallied"}]
    for each, proof in zip(held, proofs, strict=True):
        again = await replay(room.room.store, room.blobs, each["id"])
        assert again.identical
        assert (proof["head"], proof["events"]) == (again.head, again.events)

    # ... is what was shown of it.
    text = console.export_text()
    plain = re.sub(r"\s+", " ", text)
    assert "No model is asked and none is paid" in plain
    for number, name in enumerate(("broadcast", "coordinator", "round robin", "voting"), 1):
        assert f"{number} of 4: {name}" in text
    for role in ("architect", "coder", "reviewer", "critic", "tester"):
        assert text.count(role) > 4
    assert "plan: " in text
    # Every picture of the live columns is recorded, so lines repeat.
    assert [*dict.fromkeys(re.findall(r"next: (\w+)", text))] == ["architect", "coder", "reviewer"]
    assert len({*re.findall(r"vote: (\w+) → \w+", text)}) == 5
    assert len({*re.findall(r"count: (\w+) wins", text)}) == 1
    shown = [int(calls) for calls in re.findall(r"(?m)^[a-z ]+ (\d+) +\d+ +\d+ +\$0\.00", text)]
    assert shown == [*calls, sum(calls)]
    for proof in proofs:
        assert str(proof["head"])[:30] in text
        assert re.search(rf"{proof['events']} +identical", text)
    assert "All of it replays bit for bit." in text
    if terminal:
        # What stays on the screen behind the live columns has every answer in full.
        stays = "".join(part.partition(HIDE)[0] for part in written(console).split(SHOW)[1:])
        words = {*re.sub(r"[│┃]", " ", safe(stays)).split()}
        for turn in turns:
            for answer in turn["answers"]:
                assert {*answer["text"].split()} <= words
        assert "╭" in text
        assert "★" in text
    else:
        assert "╭" not in text
        assert "architect │ " in text


async def test_once_is_in_a_room_without_sessions(tmp_path: Path) -> None:
    async with local_room(tmp_path, QUICK) as room, RoomClient(room.url) as client:
        first, second = (a_console(200, terminal=False) for _ in range(2))
        assert await demonstrate_once(client, first)
        held = [each["id"] for each in (await client.sessions())["sessions"]]
        assert len(held) == len(SCENES)
        assert await demonstrate_once(client, second)
        assert [each["id"] for each in (await client.sessions())["sessions"]] == held
        assert "All of it replays bit for bit." in first.export_text()
        text = second.export_text()
        assert all(id in text for id in held)
        assert "make run DEMO=1" in text
        await room.create("own", "a")
    async with local_room(tmp_path / "other", QUICK) as room, RoomClient(room.url) as client:
        await room.create("own", "a")
        console = a_console(100, terminal=False)
        assert await demonstrate_once(client, console)
        assert len((await client.sessions())["sessions"]) == 1
        text = console.export_text()
        assert "held before" not in text
        assert "To hold the demonstration now" in text


@pytest.mark.parametrize(
    ("given", "flag"),
    [
        ((), "--demo-once"),
        (("DEMO=1",), "--demo"),
        (("DEMO=yes",), "--demo"),
        (("DEMO=0",), "--no-demo"),
        (("DEMO=no",), "--no-demo"),
    ],
)
async def test_make_run_says_when(given: tuple[str, ...], flag: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "DEMO"}
    make = await asyncio.create_subprocess_exec(
        *("make", "--dry-run", "run", *given),
        cwd=Path(__file__).parents[2],
        env=environment,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await asyncio.wait_for(make.communicate(), 30)
    assert re.search(rf"control-room serve {flag} *$", out.decode(), re.MULTILINE)


async def test_real_models_are_mentioned_and_not_asked(
    tmp_path: Path, llama_server: LlamaServer
) -> None:
    console = a_console(100, terminal=False)
    found = ProviderSpec(id="llama_cpp", type="openai", config={"base_url": llama_server.base_url})
    async with local_room(tmp_path, QUICK, found) as room, RoomClient(room.url) as client:
        assert await demonstrate(client, console)
        sessions = (await client.sessions())["sessions"]
        asked = {
            line["name"]
            for each in sessions
            for line in (await client.costs(each["id"]))["by_provider"]
        }
    assert asked == {"rehearsal"}
    text = console.export_text()
    assert "Real models are within reach: llama_cpp (1). Try:" in text
    assert re.search(r"control-room chat --models llama_cpp/\S+", text)
    assert "may charge" in text


async def test_the_terminal_is_as_before_after_ctrl_c(room: LocalRoom) -> None:
    console = a_console(100, terminal=True)
    screen = console.file
    assert isinstance(screen, io.StringIO)
    async with RoomClient(room.url) as client:
        holding = asyncio.create_task(demonstrate(client, console))
        await eventually(
            lambda: HIDE in screen.getvalue() and "streaming" in screen.getvalue(),
            within=20,
            what="columns",
        )
        holding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await holding
    shown = screen.getvalue()
    assert shown.rindex(SHOW) > shown.rindex(HIDE)
    assert shown.count(BEGIN) == shown.count(END) > 0


async def test_what_the_room_refuses_is_said(tmp_path: Path) -> None:
    console = a_console(100, terminal=False)
    async with (
        local_room(tmp_path, QUICK, max_participants=3) as room,
        RoomClient(room.url) as client,
    ):
        assert not await demonstrate(client, console)
    assert "The demonstration stops here: " in console.export_text()
