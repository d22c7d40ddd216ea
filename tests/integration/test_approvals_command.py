"""`control-room approvals`, `approve`, `deny` and `answer` against a running room."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from events.tools import ApprovalDenied, ApprovalGranted, ElicitationAnswered
from tests.api.test_approvals import CALL, FREE, at_work, said, waiting
from tests.commands import run
from tests.rooms import LocalRoom, local_room
from tests.tool_calls import ADD, RISK
from tests.waiting import eventually


@pytest.fixture(scope="module")
async def room(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalRoom]:
    folder: Path = tmp_path_factory.mktemp("room")
    async with local_room(folder) as room:
        yield room


async def test_what_waits_is_listed(room: LocalRoom) -> None:
    await waiting(room, "listed")
    async with at_work(room, "listed"):
        await list_and_deny(room)


async def list_and_deny(room: LocalRoom) -> None:
    done = await run(room, "approvals", "listed")
    assert done.code == 0
    assert done.out == (
        f't1 {CALL}  a wants to call {RISK}\n    {{"n": 1}}\n'
        f't1 {FREE}  a wants to call {ADD}\n    {{"n": 2}}\n'
        "    it asks: How many?\n"
        '    form: {"type": "object", "properties": {"n": {"type": "integer"}},'
        ' "required": ["n"]}\n'
    )
    day = "2026-03-01 12:00 UTC"  # on which the log was written

    async def all_told() -> bool:
        # Written past the router, which tells nobody: the projections come upon it.
        done = await run(room, "approvals")
        assert done.out == (
            f'listed t1 {CALL}  a wants to call {RISK}\n    {{"n": 1}}\n    since {day}\n'
            f'listed t1 {FREE}  a wants to call {ADD}\n    {{"n": 2}}\n    it asks: How many?\n'
            '    form: {"type": "object", "properties": {"n": {"type": "integer"}},'
            f' "required": ["n"]}}\n    since {day}\n'
        )
        return done.code == 0

    await eventually(all_told, within=20, what="what waits in all sessions")
    everything = json.loads((await run(room, "approvals", "--json")).out)["waiting"]
    assert [one["kind"] for one in everything] == ["approval", "question"]
    tree = json.loads((await run(room, "approvals", "listed", "--json")).out)
    assert [one["step"] for one in tree["approvals"]] == [CALL]
    assert (await run(room, "answer", "listed", "--decline")).code == 0
    done = await run(room, "deny", "listed", "--reason", "not that")
    assert (done.code, done.out) == (0, f"{RISK} ({CALL}) is not allowed\n")
    assert await said(room, "listed", ApprovalDenied) == ApprovalDenied(reason="not that")
    for again in (("listed",), ("listed", CALL)):
        done = await run(room, "deny", *again)
        assert (done.code, done.out) == (0, f"{RISK} ({CALL}) is not allowed\n")
        done = await run(room, "approve", *again)
        assert (done.code, done.out) == (1, "")
        assert "was denied already" in done.err
    assert (await run(room, "approvals")).out == "nothing waits for a person\n"
    done = await run(room, "approvals", "listed")
    assert (done.code, done.out) == (0, "nothing of session listed waits for a person\n")
    assert (await run(room, "approvals", "nowhere")).code == 1


async def test_a_call_is_allowed_and_a_question_answered(room: LocalRoom) -> None:
    await waiting(room, "allowed")
    async with at_work(room, "allowed"):
        await answer_and_approve(room)


async def answer_and_approve(room: LocalRoom) -> None:
    for wrong, why in (
        (("answer", "allowed", "[1]"), "the answer is a JSON object"),
        (("answer", "allowed", "{"), "the answer is not JSON"),
        (("answer", "allowed", '{"n": NaN}'), "the answer is not JSON"),
        (("answer", "allowed", "{}"), "'n' is a required property"),
        (("answer", "allowed", "{}", "--step", CALL), "waits for that"),
        (("approve", "allowed", FREE), "waits for that"),
    ):
        done = await run(room, *wrong)
        assert done.code in (1, 2)
        assert why in done.err
    done = await run(room, "answer", "allowed", '{"n": 3}')
    assert (done.code, done.out) == (0, f"{ADD} ({FREE}) is told\n")
    answered = await said(room, "allowed", ElicitationAnswered)
    assert answered == ElicitationAnswered(id="e1", action="accept", content={"n": 3})
    done = await run(room, "approve", "allowed", CALL, "--json")
    assert (done.code, json.loads(done.out)["turn"]) == (0, "t1")
    assert await said(room, "allowed", ApprovalGranted) == ApprovalGranted()
    done = await run(room, "approve", "allowed", CALL)
    assert (done.code, done.out) == (0, f"{RISK} ({CALL}) is allowed\n")
    done = await run(room, "deny", "allowed", CALL)
    assert (done.code, "was granted already" in done.err) == (1, True)
