"""The command line against a running room: as a person types it, and as a script calls it."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import re
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from actors.providers.config import ProviderSpec
from events.types import RouteDecided
from tests.relay import relay
from tests.rooms import LocalRoom, local_room
from tests.session_logs import SessionLog, session_config
from tests.terminal import CTRL_C, CTRL_D, terminal
from tests.waiting import eventually

QUICK = ProviderSpec(id="rehearsal", type="rehearsal", config={"pace": 20, "stall_timeout": 0.3})
"""The built-in rehearsal, twenty times as fast."""


@pytest.fixture(scope="module")
async def room(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalRoom]:
    async with local_room(tmp_path_factory.mktemp("room"), QUICK) as room:
        yield room


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


def environment(room: LocalRoom) -> dict[str, str]:
    return {
        **os.environ,
        "CONTROL_ROOM_HOME": str(room.settings.home),
        "CONTROL_ROOM_PORT": str(room.port),
        "PYTHONUNBUFFERED": "1",
    }


async def start(room: LocalRoom, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "api.cli", *arguments),
        env=environment(room),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def run(room: LocalRoom, *arguments: str, typed: str = "") -> Done:
    process = await start(room, *arguments)
    out, err = await asyncio.wait_for(process.communicate(typed.encode()), 60)
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())


async def session_of(room: LocalRoom, index: int = 0) -> str:
    """The id of the latest session, or of one before it."""
    listed = await room.http.get("/v1/sessions")
    return str(listed.json()["sessions"][index]["id"])


# --- chat, called by a script --------------------------------------------------------------------


async def test_one_message_prints_everyones_answer(room: LocalRoom) -> None:
    done = await run(room, "chat", "--new", "-m", "What is a saga?", "--title", "Sagas")
    assert (done.code, done.err) == (0, "")
    for role in ("architect", "coder", "reviewer", "critic", "tester"):
        assert f"{role} (rehearsal/steady):\n" in done.out
    view = (await room.http.get(f"/v1/sessions/{await session_of(room)}")).json()
    assert view["config"]["title"] == "Sagas"


async def test_where_there_is_one_answer_it_is_printed_alone(room: LocalRoom) -> None:
    done = await run(room, "chat", "--pattern", "voting", "-m", "The log or the report?")
    assert done.code == 0
    session = await session_of(room)
    turn = (await room.http.get(f"/v1/sessions/{session}/turns/t1")).json()
    assert done.out == turn["answer"] + "\n"


async def test_json_is_the_turn_as_the_api_has_it(room: LocalRoom) -> None:
    done = await run(
        room, "chat", "named", "--new", "--models", "pro=paced/instant,contra=paced/instant",
        "-m", "Tabs?", "--json",
    )  # fmt: skip
    assert done.code == 0
    turn = json.loads(done.out)
    assert [answer["role"] for answer in turn["answers"]] == ["pro", "contra"]
    assert turn == (await room.http.get("/v1/sessions/named/turns/t1")).json()


async def test_a_session_is_gone_on_with(room: LocalRoom) -> None:
    await room.create("resumed", "a b", routing_pattern="round_robin")
    first = await run(room, "chat", "resumed", "-m", "-", typed="One\nand a half")
    second = await run(room, "chat", "resumed", "-m", "Two")
    assert (first.code, second.code) == (0, 0)
    events = (await room.http.get("/v1/sessions/resumed/events")).json()["events"]
    messages = [
        event["data"]["payload"]["message"]["content"]
        for event in events
        if event["type"] == "turn.started"
    ]
    assert messages == ["One\nand a half", "Two"]
    speakers = [
        event["data"]["payload"]["participants"]
        for event in events
        if event["type"] == "route.decided"
    ]
    assert speakers == [["a"], ["b"]]


async def test_every_line_of_a_pipe_is_a_message(room: LocalRoom) -> None:
    await room.create("piped", "a b")
    done = await run(room, "chat", "piped", typed="One\n\nTwo\n")
    assert done.code == 0
    assert done.out.count("completed") == 2
    assert "a │ " in done.out
    assert "b │ " in done.out
    assert "\x1b" not in done.out


async def test_a_turn_without_an_answer_is_1(room: LocalRoom) -> None:
    await room.create("failing", "a:failing b:failing")
    done = await run(room, "chat", "failing", "-m", "Hello")
    assert (done.code, done.out) == (1, "")
    assert "a failed: this model rehearses an outage" in done.err
    assert "the turn failed" in done.err


async def test_one_failure_leaves_the_other_answers(room: LocalRoom) -> None:
    await room.create("half", "a:failing b:instant c:instant")
    done = await run(room, "chat", "half", "-m", "Hello")
    assert done.code == 0
    assert "B · b (paced/instant):" in done.out
    assert "C · c (paced/instant):" in done.out
    assert "a failed" in done.err


async def test_the_wait_is_bounded(room: LocalRoom) -> None:
    await room.create("slow", "a:late")
    done = await run(room, "chat", "slow", "-m", "Hello", "--wait", "0.2")
    assert done.code == 1
    assert "goes on: look at it with 'control-room events slow'" in done.err


async def test_an_interrupt_calls_off_what_a_script_asked(room: LocalRoom) -> None:
    await room.create("interrupted", "a:instant b:late")
    process = await start(room, "chat", "interrupted", "-m", "Hello")

    async def under_way() -> bool:
        events = await room.http.get("/v1/sessions/interrupted/events")
        return "model.answered" in events.text

    await eventually(under_way, within=30, what="the turn")
    process.send_signal(signal.SIGINT)
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 1
    assert out.startswith(b"A \xc2\xb7 a (paced/instant):")
    assert b"the turn was cancelled" in err
    turn = (await room.http.get("/v1/sessions/interrupted/turns/t1")).json()
    assert turn["status"] == "cancelled"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("chat", "nowhere", "-m", "x"), 1, "there is no session 'nowhere'"),
        (("chat", "--models", "acme/one", "-m", "x"), 2, "acme"),
        (("chat", "--models", ",".join(["paced/instant"] * 6), "-m", "x"), 2, "5"),
        (("events", "nowhere"), 1, "there is no session"),
        (("events", "nowhere", "--follow"), 1, "there is no session"),
        (("replay", "nowhere"), 1, "there is no session"),
        (("audit", "verify", "nowhere"), 1, "no session 'nowhere'"),
    ],
)
async def test_what_the_room_refuses_is_one_line(
    room: LocalRoom, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = await run(room, *arguments)
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert len(done.err.splitlines()) == 1


# --- chat on a terminal --------------------------------------------------------------------------


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


# --- looking -------------------------------------------------------------------------------------


async def test_sessions_models_and_providers(room: LocalRoom) -> None:
    await room.create("listed", "a b", title="A [red]title\x1b[31m")
    table = await run(room, "sessions", "--limit", "1")
    assert (table.code, table.err) == (0, "")
    assert "listed" in table.out
    assert "A [red]title" in table.out
    assert "\x1b" not in table.out
    every = json.loads((await run(room, "sessions", "--json", "--limit", "1000")).out)["sessions"]
    assert every[0]["id"] == "listed"
    assert len({each["id"] for each in every}) == len(every) > 1
    assert "paced/steady" in (await run(room, "models")).out
    models = json.loads((await run(room, "models", "--json")).out)["models"]
    assert {"provider": "paced", "model_name": "cutting"} in models
    assert re.search("paced +rehearsal +nothing more", (await run(room, "providers")).out)
    assert json.loads((await run(room, "providers", "--json")).out)["providers"]


async def test_events_are_lines(room: LocalRoom) -> None:
    await room.create("lines", "a b")
    await room.post("lines", "Hello\x1b[31m\nyou", wait=20)
    every = await run(room, "events", "lines")
    assert every.code == 0
    assert [line.split()[0] for line in every.out.splitlines()] == [str(n) for n in range(1, 8)]
    assert "turn.started         Hello you" in every.out
    late = await run(room, "events", "lines", "--after", "5", "--json")
    trees = [json.loads(line) for line in late.out.splitlines()]
    assert [tree["data"]["position"] for tree in trees] == [6, 7]
    assert all(tree["specversion"] == "1.0" for tree in trees)


async def test_events_are_followed_until_ctrl_c(room: LocalRoom) -> None:
    await room.create("followed", "a b")
    process = await start(room, "events", "followed", "--follow", "--json")
    assert process.stdout
    types = [json.loads(await asyncio.wait_for(process.stdout.readline(), 30))["type"]]
    await room.post("followed", "Hello")
    while types[-1] != "turn.completed":
        line = await asyncio.wait_for(process.stdout.readline(), 30)
        types.append(json.loads(line)["type"])
    process.send_signal(signal.SIGINT)
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, out, err) == (0, b"", b"")
    assert types[:2] == ["session.created", "turn.started"]
    assert len(types) == 7


async def test_a_reader_that_has_enough_is_no_error(room: LocalRoom) -> None:
    await room.create("head", "a b c")
    for n in range(3):
        await room.post("head", f"Hello {n} " * 2000, wait=20)
    process = await start(room, "events", "head", "--json")
    assert process.stdout
    await asyncio.wait_for(process.stdout.readline(), 30)
    process.stdout._transport.close()  # type: ignore[attr-defined]  # what `head -1` does
    assert process.stderr
    assert await asyncio.wait_for(process.stderr.read(), 30) == b""
    assert await asyncio.wait_for(process.wait(), 30) == 0


# --- proofs --------------------------------------------------------------------------------------


async def test_replay_proves_a_session(room: LocalRoom) -> None:
    await room.create("proved", "a b c", routing_pattern="voting")
    await room.post("proved", "Which?", wait=20)
    done = await run(room, "replay", "proved")
    assert done.code == 0
    assert "identical" in done.out
    result = json.loads((await run(room, "replay", "proved", "--json")).out)
    assert result["identical"] is True
    assert f"head     {result['head']}" in done.out
    assert f"events   {result['events']}" in done.out


async def test_replay_says_where_a_log_is_not_what_follows_from_it(room: LocalRoom) -> None:
    blobs: Any = room.blobs
    log = SessionLog(session_config("doctored", "round_robin"), blobs=blobs)
    log.post("Who speaks?")
    log.play()
    for batch in log.batches:
        for index, event in enumerate(batch):
            if isinstance(event.data, RouteDecided):
                other = event.data.model_copy(update={"participants": ("cyd",)})
                batch[index] = dataclasses.replace(event, data=other)
        await room.store.append("doctored", batch[0].position - 1, batch)
    done = await run(room, "replay", "doctored")
    assert done.code == 1
    assert "diverged at position 3" in done.out
    assert '"cyd"' in done.out.partition("expected:")[2].partition("actual:")[0]
    assert '"ada"' in done.out.partition("actual:")[2]
    assert json.loads((await run(room, "replay", "doctored", "--json")).out)["identical"] is False


async def test_audit_finds_what_was_changed(room: LocalRoom, tmp_path: Path) -> None:
    await room.create("kept", "a b")
    await room.post("kept", "Hello", wait=20)
    whole = await run(room, "audit", "verify")
    assert whole.code == 0
    assert "intact" in whole.out
    one = json.loads((await run(room, "audit", "verify", "kept", "--json")).out)
    assert one == {"intact": True, "streams": 1, "events": 7, "faults": []}
    copy = tmp_path / "copy.db"
    with (
        closing(sqlite3.connect(room.settings.home / "room.db")) as source,
        closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)
        target.execute(
            "UPDATE stored_events SET state = replace(state, 'a', 'b')"
            " WHERE originator_id = 'kept' AND originator_version = 5"
        )
        target.commit()
    changed = await run(room, "audit", "verify", "--store", f"sqlite:///{copy}")
    assert changed.code == 1
    assert "kept  position 5: " in changed.out
    faults = json.loads((await run(
        room, "audit", "verify", "--store", f"sqlite:///{copy}", "--json"
    )).out)["faults"]  # fmt: skip
    assert [(fault["stream"], fault["position"]) for fault in faults] == [("kept", 5)]
