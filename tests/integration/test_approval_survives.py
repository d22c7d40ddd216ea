"""A call of a tool waits for a person, and every process is killed before the person decides."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import psutil
import pytest

from api.client import Event
from tests.integration.tool_calls import STUBBORN
from tests.live_room import READY_WITHIN, LiveRoom
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(2 * READY_WITHIN)

DEADLINE = 30.0
"""Seconds of a turn: the person takes longer."""
ECHO = "Please use the tool stubborn echo."


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[LiveRoom]:
    home = tmp_path / "home"
    room = LiveRoom(home)
    server = {"command": sys.executable, "args": [str(STUBBORN), str(tmp_path)]}
    (home / "tools.json").write_text(json.dumps({"mcpServers": {"stubborn": server}}))
    await room.start()
    yield room
    await room.end()


async def begun(room: LiveRoom, session: str) -> str:
    """The step of a call that waits in a session of this name."""
    grant = {"server": "stubborn", "tools": ["echo"], "approval": True}
    seat = {"id": "ada", "provider": "rehearsal", "model_name": "instant", "tools": [grant]}
    await room.client.create_session(
        {"session_id": session, "models": [seat], "deadline": DEADLINE}
    )
    await room.post(session, ECHO)
    async with asyncio.timeout(90), aclosing(room.client.stream(session)) as stream:
        async for message in stream:
            if isinstance(message, Event) and message.type == "approval.requested":
                return str(message.step)
    raise AssertionError


async def test_an_approval_outlives_every_process(room: LiveRoom, tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    granted, denied = await begun(room, "granted"), await begun(room, "denied")
    asked = loop.time()
    for process in room.processes():
        with contextlib.suppress(psutil.NoSuchProcess):  # some end with those before them
            process.kill()
    await room.ended_by(signal.SIGKILL)
    await room.start()
    for session, step in (("granted", granted), ("denied", denied)):
        (waits,) = (await room.client.approvals(session))["approvals"]
        assert (waits["step"], waits["tool"], waits["participant"]) == (step, "echo", "ada")
    late = asked + DEADLINE + 5
    await eventually(lambda: loop.time() > late, within=60, what="the deadline to be over")
    assert (await room.client.session("granted"))["turns"]["open"] == "t1"

    await room.client.approve("granted", "t1", granted, "now it may")
    await room.client.deny("denied", "t1", denied, "never that")
    events = await room.ended("granted", "t1")
    assert [event.type for event in events[2:]] == [
        "model.asked",
        "model.answered",
        "approval.requested",
        "approval.granted",
        "tool.called",
        "tool.returned",
        "model.asked",
        "model.answered",
        "turn.completed",
    ]
    events = await room.ended("denied", "t1")
    assert [event.type for event in events[4:]] == [
        "approval.requested",
        "approval.denied",
        "model.asked",
        "model.answered",
        "turn.completed",
    ]
    assert (tmp_path / "called").read_text().split() == ["echo"]
    for session in ("granted", "denied"):
        assert (await room.client.replay(session))["identical"]
