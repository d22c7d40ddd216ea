"""Conversations on a terminal: keys go in, columns come out."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.commands import QUICK, environment
from tests.relay import relay
from tests.rooms import LocalRoom, local_room
from tests.terminal import CTRL_C, CTRL_D, terminal
from tests.waiting import eventually


@pytest.fixture(scope="module")
async def room(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalRoom]:
    async with local_room(tmp_path_factory.mktemp("room"), QUICK) as room:
        yield room


async def test_a_conversation_on_a_terminal(room: LocalRoom) -> None:
    async with terminal(
        "-m", "api.cli", "chat", "--pattern", "coordinator", "--title", "By hand",
        columns=140, environment=environment(room),
    ) as shown:  # fmt: skip
        await shown.expect("coordinator  By hand")
        await shown.expect("These are rehearsal models")
        await shown.expect("you> ")
        shown.type("How do we begin?\r")
        await shown.expect("╭─+ architect ─+╮╭─+ coder ─+╮╭─+ reviewer ─+╮╭─+ critic ─+╮╭─+ tester")
        await shown.expect("turn t1 completed · the answer is")
        await shown.expect("you> ")
        shown.type("And then?\r")
        await shown.expect("turn t2 completed")
        await shown.expect("you> ")
        shown.type(CTRL_D)
        session = (await shown.expect("control-room chat (sess_[0-9a-f]+)"))[1]
        assert await shown.ended() == 0
    assert b"\x1b[?25l" in shown.raw  # the cursor is hidden while columns are drawn,
    assert shown.raw.rindex(b"\x1b[?25h") > shown.raw.rindex(b"\x1b[?25l")  # and comes back
    view = (await room.http.get(f"/v1/sessions/{session}")).json()
    assert view["turns"]["total"] == 2


async def test_ctrl_c_calls_off_the_turn_and_not_the_conversation(room: LocalRoom) -> None:
    await room.create("called-off", "a:instant b:late")
    async with terminal(
        "-m", "api.cli", "chat", "called-off", environment=environment(room)
    ) as shown:
        await shown.expect("you> ")
        shown.type(CTRL_C)
        await shown.expect(r"Ctrl-D leaves\.")
        await shown.expect("you> ")
        shown.type("Hello\r")
        await shown.expect("○ thinking")
        shown.type(CTRL_C)
        await shown.expect("turn t1 cancelled")
        await shown.expect("you> ")
        shown.type(CTRL_D)
        assert await shown.ended() == 1
    turn = (await room.http.get("/v1/sessions/called-off/turns/t1")).json()
    assert turn["status"] == "cancelled"
    assert [answer["participant"] for answer in turn["answers"]] in ([], ["a"])


async def test_ctrl_c_twice_leaves(room: LocalRoom) -> None:
    await room.create("left", "a:late")
    async with (
        relay(room.port) as line,
        terminal(
            "-m", "api.cli", "chat", "left", "--url", line.url, environment=environment(room)
        ) as shown,
    ):
        await shown.expect("you> ")
        shown.type("Hello\r")
        await shown.expect("○ thinking")
        line.hold()  # the room does not hear that the turn is called off
        shown.type(CTRL_C)
        await eventually(lambda: line.held, within=20, what="the cancel")
        shown.type(CTRL_C)
        assert await shown.ended() == 130
    assert shown.raw.rindex(b"\x1b[?25h") > shown.raw.rindex(b"\x1b[?25l")
    assert "Traceback" not in shown.text


async def test_a_narrow_terminal_gets_lines(room: LocalRoom) -> None:
    await room.create("narrow", "a b")
    async with terminal(
        "-m", "api.cli", "chat", "narrow", "-m", "Hi", columns=40, environment=environment(room)
    ) as shown:
        await shown.expect("a │ ")
        await shown.expect("completed")
        assert await shown.ended() == 0
    assert "╭" not in shown.text


async def test_a_session_taken_up_again_says_what_was_said(room: LocalRoom) -> None:
    await room.create("again", "a b")
    await room.post("again", "Where were we?", wait=20)
    open_turn = await room.post("again", "And this?")
    async with terminal("-m", "api.cli", "chat", "again", environment=environment(room)) as shown:
        await shown.expect(r"A · a \(paced/instant\), B · b \(paced/instant\)")
        await shown.expect("you: ")
        await shown.expect("you> ")
        shown.type(CTRL_D)
        assert await shown.ended() == 0
    assert open_turn["turn"] == "t2"
    assert "Where were we?" in shown.text or "And this?" in shown.text
