"""The command line against a running room, as a script calls it."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import shutil
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from actors.providers.config import ProviderSpec
from api.client import LONGEST_MESSAGE
from api.routes.turns import MAX_MESSAGE
from events.types import RouteDecided
from tests.commands import QUICK, run, start
from tests.rooms import LocalRoom, local_room
from tests.session_logs import SessionLog, session_config
from tests.waiting import eventually

AWAY = ProviderSpec(id="away", type="openai", config={"base_url": "http://127.0.0.1:9/v1"})
"""One whose server is not there."""


@pytest.fixture(scope="module")
async def room(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalRoom]:
    async with local_room(tmp_path_factory.mktemp("room"), QUICK, AWAY) as room:
        yield room


async def session_of(room: LocalRoom, index: int = 0) -> str:
    """The id of the latest session, or of one before it."""
    listed = await room.http.get("/v1/sessions")
    return str(listed.json()["sessions"][index]["id"])


# --- chat --------------------------------------------------------------------


async def test_one_message_prints_everyones_answer(room: LocalRoom) -> None:
    done = await run(room, "chat", "--new", "-m", "What is a saga?", "--title", "Sagas")
    assert (done.code, done.err) == (0, f"session {await session_of(room)}\n")
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


@pytest.mark.parametrize("message", ["  ", "x" * (MAX_MESSAGE + 1)])
async def test_a_message_that_no_room_takes_leaves_no_session(
    room: LocalRoom, message: str
) -> None:
    before = (await room.http.get("/v1/sessions?limit=1000")).json()["sessions"]
    done = await run(room, "chat", "unmade", "--new", "-m", "-", typed=message)
    assert (done.code, done.out) == (2, "")
    assert "the message " in done.err
    assert (await room.http.get("/v1/sessions?limit=1000")).json()["sessions"] == before
    assert LONGEST_MESSAGE == MAX_MESSAGE


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
    assert done.err.endswith("the turn failed: nobody answered\n")
    assert done.err.count("rehearses an outage") == 2, "each reason once"


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
    assert "goes on: look at it with 'control-room show slow'" in done.err


async def test_a_message_to_a_paused_session_says_so(room: LocalRoom) -> None:
    await room.create("asleep", "a")
    await room.http.post("/v1/sessions/asleep/pause")
    done = await run(room, "chat", "asleep", "-m", "Hello", "--wait", "0.5")
    assert done.code == 1
    first, last = done.err.splitlines()
    assert "session asleep is paused, and the message waits" in first
    assert "because session asleep is paused" in last
    assert done.err.count("'control-room resume asleep'") == 2


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


async def test_what_to_do_is_said_in_commands(room: LocalRoom, tmp_path: Path) -> None:
    await room.create("taken", "a b")
    said = [
        await run(room, "show", "nowhere"),
        await run(room, "chat", "taken", "--new", "-m", "Hello"),
    ]
    token = SecretStr("only-those-who-know")
    async with local_room(tmp_path, token=token) as closed:
        said.append(await run(closed, "sessions"))
    await room.stop_router()
    try:
        said.append(await run(room, "pause", "taken"))
    finally:
        await room.start_router()
    for done, command in zip(
        said,
        (
            "'control-room sessions' lists those that exist",
            "leaving out --new",
            "set CONTROL_ROOM_TOKEN to",
            "look with 'control-room show'",
        ),
        strict=True,
    ):
        assert (done.code, done.out) == (1, "")
        assert command in done.err
        assert not re.search(r"POST|GET|PATCH|Bearer|Idempotency|session_id", done.err)


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
    listed = (await run(room, "providers")).out
    assert re.search("paced +rehearsal +yes +nothing more", listed)
    assert re.search("away +openai +no +an answer: see below", listed)
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
    assert one == {"intact": True, "streams": 1, "events": 7, "blobs": 1, "faults": []}
    copy = tmp_path / "copy.db"
    shutil.copytree(room.settings.home / "room.blobs", tmp_path / "copy.blobs")
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
    shutil.rmtree(tmp_path / "copy.blobs")
    without = await run(room, "audit", "verify", "--store", f"sqlite:///{copy}")
    assert without.code == 1
    assert "kept  position 2: blob " in without.out
