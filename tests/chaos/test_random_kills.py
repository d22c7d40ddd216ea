"""Random processes of a room are killed, while several sessions are talked in, and nothing is lost.

`CHAOS_SECONDS` says for how long, `CHAOS_SEED` which kills (a failed run prints its own).
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import TypeVar

import psutil
import pytest

from api.client import RoomError
from events.open import open_store
from tests.live_room import READY_WITHIN, LiveRoom
from tests.waiting import eventually

SECONDS = float(os.environ.get("CHAOS_SECONDS", "60"))
SEED = int(os.environ.get("CHAOS_SEED", "0")) or Random().randrange(1, 2**32)
SETTLED_WITHIN = 240.0
"""Seconds after the last kill in which every turn has to end."""

pytestmark = pytest.mark.timeout(SECONDS + 3 * READY_WITHIN + 2 * SETTLED_WITHIN)

PROVIDERS = (
    {"id": "brisk", "type": "rehearsal", "config": {"pace": 5, "stall_timeout": 1, "tries": 2}},
)
SESSIONS = {
    "broadcast": ("brisk/steady", "brisk/steady", "brisk/failing", "rehearsal/steady"),
    "coordinator": ("brisk/steady", "rehearsal/steady", "brisk/steady"),
    "round_robin": ("brisk/steady", "rehearsal/steady"),
    "voting": ("brisk/steady", "brisk/steady", "rehearsal/steady"),
    "crowd": ("brisk/steady",) * 5,
    "stalls": ("brisk/stalling", "brisk/cutting", "brisk/steady"),
}
TARGETS = {
    "model": 12,
    "router-0": 10,
    "api": 8,
    "nats": 8,
    "projector": 4,
    "supervisor": 3,
    "raylet": 1,
    "gcs_server": 1,
    "parent": 1,
    "everything": 1,
}
"""What is killed, now and then several at once, and how often in comparison."""

T = TypeVar("T")


async def test_nothing_is_lost_whatever_dies_and_whenever(tmp_path: Path) -> None:
    print(f"CHAOS_SEED={SEED} CHAOS_SECONDS={SECONDS:g}")
    room = LiveRoom(tmp_path / "home", PROVIDERS)
    over = asyncio.Event()
    try:
        await room.start()
        for name, models in SESSIONS.items():
            pattern = name if name in ("coordinator", "round_robin", "voting") else "broadcast"
            more = {"coordinator": "p1"} if pattern == "coordinator" else {}
            await room.create(name, *models, routing_pattern=pattern, **more)
        posting = [asyncio.create_task(talk(room, name, over)) for name in SESSIONS]
        killed = await kill_at_random(room, Random(SEED))
        over.set()
        async with asyncio.timeout(SETTLED_WITHIN):
            await asyncio.gather(*posting)
        turns = sum(map(len, room.acknowledged.values()))
        events = await settled(room, tmp_path)
        print(f"{dict(killed)} killed; {turns} turns, {events} events")
        assert turns >= len(SESSIONS)
        await room.stop()
        for log in (room.home / "logs").iterdir():
            assert "Traceback" not in log.read_text(), log.name
    finally:
        await room.end()


async def settled(room: LiveRoom, scratch: Path) -> int:
    """Returns the number of events, once every turn has ended and everything is as it has to be."""
    for session, turns in room.acknowledged.items():
        for turn in turns:
            await persistently(partial(room.ended, session, turn, SETTLED_WITHIN))
    return await room.check(scratch)


async def talk(room: LiveRoom, session: str, over: asyncio.Event) -> None:
    """Post, now and then several messages at once, and wait for the end of the last one."""
    random = Random(f"{SEED} {session}")
    number = 0
    while not over.is_set():
        turn = ""
        for _ in range(random.choice((1, 1, 2, 3))):
            number += 1
            key, text = f"{session}-{number}", f"What about point {number}?"
            posted = await persistently(partial(room.client.post_turn, session, text, key=key))
            turn = posted["turn"]
            room.acknowledged[session].append(turn)
        await persistently(partial(room.ended, session, turn, SETTLED_WITHIN))
    assert room.acknowledged[session] == [f"t{n}" for n in range(1, number + 1)]


async def persistently(call: Callable[[], Awaitable[T]]) -> T:
    """What `call` gives, however often the room is not there meanwhile."""
    given: list[T] = []

    async def tried() -> bool:
        try:
            given.append(await call())
        except RoomError as error:
            if not error.retryable:
                raise
        return bool(given)

    await eventually(tried, within=SECONDS + SETTLED_WITHIN, what="an answer of the room")
    return given[0]


async def kill_at_random(room: LiveRoom, random: Random) -> Counter[str]:
    """Kill something every few events, for `SECONDS`; the room runs when this returns."""
    loop = asyncio.get_running_loop()
    end = loop.time() + SECONDS
    killed: Counter[str] = Counter()
    store = open_store(f"sqlite:///{room.home / 'room.db'}", read_only=True)
    try:
        while loop.time() < end:
            after = await store.last() + random.randrange(1, 20)

            async def said(position: int = after) -> bool:
                return await store.last() >= position

            await eventually(said, within=SETTLED_WITHIN, what=f"event {after}")
            at_once = random.choice((1, 1, 1, 2, 3))
            for target in random.choices(list(TARGETS), list(TARGETS.values()), k=at_once):
                killed[target] += await kill(room, target, random)
    finally:
        await store.close()
    return killed


async def kill(room: LiveRoom, target: str, random: Random) -> bool:
    """Kill it, and start the room again where it does not do so itself; whether there was one."""
    assert room.process
    if target == "parent":
        room.process.kill()
        await room.ended_by(signal.SIGKILL)
        await room.start()
        return True
    if target == "everything":
        for process in room.processes():
            process.kill()
        await room.ended_by(signal.SIGKILL)
        await room.start()
        return True
    processes = [process for process in room.processes() if is_target(room, process, target)]
    if not processes:
        return False  # it was killed just before and is not back yet
    random.choice(processes).kill()
    return True


def is_target(room: LiveRoom, process: psutil.Process, target: str) -> bool:
    try:
        name = process.name()
    except psutil.NoSuchProcess:
        return False
    noted = room.names().get(process.pid, "")
    match target:
        case "raylet" | "gcs_server":
            return name == target
        case "model":
            return noted.startswith("models-")
        case _:
            return noted == target
