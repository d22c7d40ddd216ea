"""Conversations on a terminal: keys go in, columns come out."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator

import pytest

from actors.providers.config import ProviderSpec
from tests.commands import QUICK, environment, start
from tests.relay import relay
from tests.rooms import LocalRoom, local_room
from tests.terminal import CTRL_C, CTRL_D, Terminal, terminal
from tests.waiting import eventually

SLOW = ProviderSpec(id="slow", type="rehearsal", config={"pace": 0.05})


@pytest.fixture(scope="module")
async def room(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalRoom]:
    async with local_room(tmp_path_factory.mktemp("room"), QUICK, SLOW) as room:
        yield room


async def press(shown: Terminal, key: str, until: str) -> None:
    """Again where nothing comes of it, as a person does.

    A signal is kept for the next key where it comes between readline's prompt and its waiting.
    """
    for _ in range(5):
        shown.type(key)
        with contextlib.suppress(AssertionError):
            await shown.expect(until, within=6)
            return
    pytest.fail(f"{until!r} was never shown: {shown.text}")


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
        await press(shown, CTRL_C, r"Ctrl-D leaves\.")
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


async def test_a_turn_that_was_called_off_says_what_it_used(room: LocalRoom) -> None:
    await room.create("used", models=[{"id": "a", "provider": "slow", "model_name": "steady"}])
    async with terminal("-m", "api.cli", "chat", "used", environment=environment(room)) as shown:
        await shown.expect("you> ")
        shown.type("Hello\r")
        await shown.expect("● streaming")
        shown.type(CTRL_C)
        await shown.expect(r"– cancelled · ~?[1-9]\d* tokens")
        await shown.expect(r"turn t1 cancelled.* · ~?[1-9]\d* tokens · \$0\.00")


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


async def test_a_heading_is_wrapped_between_words(room: LocalRoom) -> None:
    await room.create("wrapped", "a b c d")
    async with terminal(
        "-m", "api.cli", "chat", "wrapped", columns=50, environment=environment(room)
    ) as shown:
        await shown.expect("you> ")
        shown.type(CTRL_D)
        assert await shown.ended() == 0
    heading = shown.text.partition("you> ")[0].splitlines()
    names = " ".join(line.strip() for line in heading)
    assert "A · a (paced/instant), B · b (paced/instant), C · c (paced/instant)" in names
    assert all(len(line.rstrip()) <= 50 for line in heading if "/help" not in line)


async def test_nothing_said_is_no_session(room: LocalRoom) -> None:
    before = (await room.http.get("/v1/sessions?limit=1000")).json()["sessions"]
    async with terminal("-m", "api.cli", "chat", environment=environment(room)) as shown:
        await shown.expect("you> ")
        shown.type("/costs\r")
        await shown.expect("nothing was said yet")
        await shown.expect("you> ")
        shown.type(CTRL_D)
        await shown.ended()
    assert "Go on later" not in shown.text
    assert (await room.http.get("/v1/sessions?limit=1000")).json()["sessions"] == before


async def test_commands_within_a_chat(room: LocalRoom) -> None:
    await room.create("commanded", "a b")
    async with terminal(
        "-m", "api.cli", "chat", "commanded", environment=environment(room)
    ) as shown:
        for typed, said in (
            ("/help", r"/retry NAME +ask one participant"),
            ("Hello", "turn t1 completed"),
            ("/costs", r"together +2 .*\$0\.00"),
            ("/retry b", "turn t2 completed"),
            ("/retry A", "turn t3 completed"),  # by role; and not of the retry before it
            ("/retry nobody", "'nobody' is not one participant: there are a, b"),
            ("/retry", "say whom to ask again"),
            ("/cancel", "no turn of session 'commanded' is under way"),
            ("/nonsense now", "/nonsense is no command: /help"),
            ("/etc/hosts is a message", "turn t4 completed"),
            (" /help", "turn t5 completed"),
        ):
            await shown.expect("you> ")
            shown.type(f"{typed}\r")
            await shown.expect(said)
        await shown.expect("you> ")
        shown.type("/quit\r")
        await shown.expect("control-room chat commanded")
        assert await shown.ended() == 0
    events = (await room.http.get("/v1/sessions/commanded/events")).json()["events"]
    started = [each["data"]["payload"] for each in events if each["type"] == "turn.started"]
    retries = [each["retry"] for each in started[1:3]]
    assert retries == [
        {"turn": "t1", "participant": "b"}, {"turn": "t1", "participant": "a"}
    ]  # fmt: skip
    assert started[4]["message"]["content"] == "/help"


@pytest.mark.parametrize("columns", [40, 100])
async def test_a_lost_connection_is_said_at_once_and_when_it_is_back(
    room: LocalRoom, columns: int
) -> None:
    session = f"cut-{columns}"
    await room.create(session, models=[{"id": "a", "provider": "slow", "model_name": "slow"}])
    async with (
        relay(room.port) as line,
        terminal(
            *("-m", "api.cli", "chat", session, "--url", line.url),
            columns=columns, environment=environment(room),
        ) as shown,
    ):  # fmt: skip
        await shown.expect("you> ")
        shown.type("Hello\r")
        await shown.expect("○ thinking|● streaming|a │")
        line.refuse()
        await shown.expect("connection lost, trying again", within=20)
        line.accept()
        await shown.expect(r"broadcast · turn t1 · 1 writing|connected again", within=20)
        shown.type(CTRL_C)
        await shown.expect("turn t1 cancelled")


async def test_a_script_hears_of_a_lost_connection_too(room: LocalRoom) -> None:
    await room.create("cut", models=[{"id": "a", "provider": "slow", "model_name": "slow"}])
    async with relay(room.port) as line:
        process = await start(room, "chat", "cut", "-m", "Hello", "--url", line.url)

        async def watched() -> bool:
            return line.accepted >= 2

        await eventually(watched, within=30, what="the stream")
        line.refuse()
        assert process.stderr
        lost = await asyncio.wait_for(process.stderr.readline(), 10)
        assert lost.startswith(b"control-room: connection lost, trying again (")
        line.accept()
        back = await asyncio.wait_for(process.stderr.readline(), 20)
        assert back == b"control-room: connected again\n"
        process.send_signal(signal.SIGINT)
        await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == 1
