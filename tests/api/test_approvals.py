"""Calls of tools that wait for a person, at the doors."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from actors import subjects
from actors.calls import HEARTBEAT
from actors.messages import Heartbeat
from events.config import SessionConfig
from events.tools import (
    ApprovalDenied,
    ApprovalGranted,
    ElicitationAnswered,
    ElicitationRequested,
)
from events.types import Payload
from tests.rooms import LocalRoom, config
from tests.session_logs import SessionLog, append_all
from tests.tool_calls import ADD, RISK, facts, wants
from tests.waiting import eventually

CALL, FREE = f"call:{RISK}:1", f"call:{ADD}:1"
FORM = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


async def waiting(room: LocalRoom, session: str) -> str:
    """A session in the log in which a call waits for approval, and a tool asks; its address."""
    log = SessionLog(SessionConfig.model_validate(config(session, "a b")), blobs=room.blobs)
    log.use_facts(facts(log.blobs, "a"))
    log.post("Tidy up.")
    log.outcome("ask:a:1", wants(RISK, ADD))
    asked = ElicitationRequested(attempt=1, id="e1", message="How many?", form=FORM)
    log.give(asked, "t1", FREE)
    await append_all(room.store, [log])
    return f"/v1/sessions/{session}"


@asynccontextmanager
async def at_work(room: LocalRoom, session: str) -> AsyncIterator[None]:
    """The tool that asks is heard of, as if its server were there."""
    over = asyncio.Event()
    subject = subjects.call(session, "t1", FREE)

    async def beat() -> None:
        while not over.is_set():
            heartbeat = Heartbeat(session=session, turn="t1", step=FREE, attempt=1)
            await room.models_bus.publish(subject, heartbeat)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), HEARTBEAT / 2)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(beat())
        yield
        over.set()


async def said(room: LocalRoom, session: str, kind: type[Payload]) -> Payload:
    """The last event of that type."""
    events = await room.store.read(session)
    return [event.data for event in events if isinstance(event.data, kind)][-1]


async def test_what_waits_is_listed_until_it_is_decided(shared: LocalRoom) -> None:
    path = await waiting(shared, "listed")
    found = (await shared.http.get(f"{path}/approvals")).json()
    common: dict[str, Any] = {"turn": "t1", "participant": "a"}
    assert found == {
        "session_id": "listed",
        "position": 8,
        "approvals": [
            common
            | {
                "step": CALL,
                "name": RISK,
                "server": "files",
                "tool": "delete",
                "arguments": '{"n": 1}',
                "position": 6,
            }
        ],
        "questions": [
            common
            | {
                "step": FREE,
                "name": ADD,
                "server": "calc",
                "tool": "add",
                "arguments": '{"n": 2}',
                "position": 7,
                "question": "e1",
                "message": "How many?",
                "form": FORM,
                "url": None,
            }
        ],
    }
    step = f"{path}/turns/t1/steps"
    answer = await shared.http.post(f"{step}/{FREE}/answer", json={"action": "decline"})
    assert answer.status_code == 200, answer.text
    denied = await shared.http.post(f"{step}/{CALL}/deny", json={"reason": "not that"})
    assert denied.status_code == 200, denied.text
    assert await said(shared, "listed", ApprovalDenied) == ApprovalDenied(reason="not that")
    left = (await shared.http.get(f"{path}/approvals")).json()
    assert (left["approvals"], left["questions"]) == ([], [])
    assert (await shared.http.get("/v1/sessions/nowhere/approvals")).status_code == 404


async def test_a_call_is_allowed_once(shared: LocalRoom) -> None:
    path = f"{await waiting(shared, 'allowed')}/turns/t1/steps/{CALL}"
    key = {"Idempotency-Key": "k1"}
    first = await shared.http.post(f"{path}/approve", headers=key)
    assert first.status_code == 200, first.text
    again = await shared.http.post(f"{path}/approve", headers=key, json={})
    assert first.json() == again.json()
    position = first.json()["position"]
    (event,) = await shared.store.read("allowed", position - 1, 1)
    assert (event.data, event.by, event.step) == (ApprovalGranted(), "local", CALL)
    (called,) = await shared.store.read("allowed", position, 1)
    assert called.type == "tool.called"
    refused = await shared.http.post(f"{path}/deny", json={})
    assert (refused.status_code, refused.json()["detail"]) == (
        409,
        "the call was granted already",
    )


async def everywhere(room: LocalRoom, *sessions: str, limit: int = 50) -> list[dict[str, Any]]:
    """What waits in those sessions by the list of all, in pages of that size."""
    found: list[dict[str, Any]] = []
    query: dict[str, Any] = {"limit": limit}
    while True:
        page = (await room.http.get("/v1/approvals", params=query)).json()
        assert len(page["waiting"]) <= limit
        found += page["waiting"]
        if page["next"] is None:
            return [one for one in found if one["session_id"] in sessions]
        query["cursor"] = page["next"]


async def test_what_waits_in_all_sessions_is_listed_until_it_is_decided(shared: LocalRoom) -> None:
    paths = {name: await waiting(shared, name) for name in ("first", "second")}
    steps = {name: f"{path}/turns/t1" for name, path in paths.items()}

    async def left(limit: int = 50) -> list[tuple[str, str]]:
        found = await everywhere(shared, *paths, limit=limit)
        return [(one["session_id"], one["kind"]) for one in found]

    async def all_there() -> list[dict[str, Any]]:
        # Written past the router, which tells nobody: the projections come upon it.
        found = await everywhere(shared, *paths)
        assert len(found) == 4
        return found

    found = await eventually(all_there, within=20, what="four that wait")
    for name, path in paths.items():
        own = (await shared.http.get(f"{path}/approvals")).json()
        (approval, question) = [one for one in found if one["session_id"] == name]
        more = {"session_id": name, "since": approval["since"]}
        assert approval == own["approvals"][0] | more | {"kind": "approval"}
        more["since"] = question["since"]
        assert question == own["questions"][0] | more | {"kind": "question"}
        assert datetime.fromisoformat(approval["since"]) < datetime.fromisoformat(question["since"])
    in_order = [(name, kind) for name in paths for kind in ("approval", "question")]
    assert await left() == await left(limit=1) == in_order

    decisions: tuple[tuple[str, dict[str, Any], tuple[str, str]], ...] = (
        (f"{steps['first']}/steps/{CALL}/approve", {}, ("first", "approval")),
        (f"{steps['second']}/steps/{FREE}/answer", {"action": "cancel"}, ("second", "question")),
        (f"{steps['second']}/steps/{CALL}/deny", {}, ("second", "approval")),
    )
    async with at_work(shared, "first"), at_work(shared, "second"):
        for where, body, gone in decisions:
            answer = await shared.http.post(where, json=body)
            assert answer.status_code == 200, answer.text
            in_order.remove(gone)
            assert await left() == in_order
        assert (await shared.http.post(f"{steps['first']}/cancel")).status_code == 200
        assert await left() == []
    wrong = await shared.http.get("/v1/approvals", params={"cursor": "x"})
    assert (wrong.status_code, "use 'next' of a page" in wrong.text) == (422, True)


async def test_what_does_not_fit_says_why(shared: LocalRoom) -> None:
    path = f"{await waiting(shared, 'fits')}/turns"
    too_long = {"action": "accept", "content": {"n": 10**20}}
    tries: list[tuple[str, dict[str, Any], int, str]] = [
        (f"t9/steps/{CALL}/approve", {}, 404, "has no turn 't9'"),
        ("t1/steps/ask:a:1/approve", {}, 404, "has no call of a tool in step 'ask:a:1'"),
        (f"t1/steps/{FREE}/approve", {}, 409, "needs nobody's approval"),
        (f"t1/steps/{CALL}/answer", {"action": "accept"}, 409, "asks 0 questions"),
        (f"t1/steps/{FREE}/answer", {"action": "maybe"}, 422, "accept"),
        (f"t1/steps/{FREE}/answer", {"action": "accept"}, 422, "'n' is a required property"),
        (
            f"t1/steps/{FREE}/answer",
            {"action": "accept", "content": {"n": "many"}},
            422,
            "the content does not fit",
        ),
        (f"t1/steps/{FREE}/answer", too_long, 422, "an integer of more than 64 bits"),
        (f"t1/steps/{CALL}/approve", {"why": "so"}, 422, "why"),
        (f"t1/steps/{CALL}/approve", {"reason": "x" * 4001}, 422, "reason"),
        ("t1/steps/a b/approve", {}, 422, "step"),
    ]
    async with at_work(shared, "fits"):
        for where, body, status, why in tries:
            answer = await shared.http.post(f"{path}/{where}", json=body)
            assert answer.status_code == status, answer.text
            assert why in answer.text, where
        fine = {"action": "accept", "content": {"n": 3}, "question": "e1"}
        answer = await shared.http.post(f"{path}/t1/steps/{FREE}/answer", json=fine)
        assert answer.status_code == 200, answer.text
        answered = await said(shared, "fits", ElicitationAnswered)
        assert answered == ElicitationAnswered(id="e1", action="accept", content={"n": 3})


async def test_watchers_decide_over_their_stream(shared: LocalRoom) -> None:
    await waiting(shared, "spoken")
    async with at_work(shared, "spoken"), shared.following("spoken") as watcher:

        async def say(words: dict[str, Any] | str) -> dict[str, Any]:
            text = words if isinstance(words, str) else json.dumps(words)
            await watcher.socket.send(text)
            while True:
                message: dict[str, Any] = json.loads(await watcher.socket.recv())
                if message["type"] not in ("event", "delta"):
                    return message

        where = {"turn": "t1", "step": CALL}
        answer = json.dumps(
            {"type": "answer", "turn": "t1", "step": FREE, "action": "accept"}
            | {"content": {"n": "?"}}
        ).replace('"?"', "%s")
        for wrong, status in (
            ("nonsense", 422),
            ({"type": "approve"}, 422),
            ({"type": "approve", "turn": "t9", "step": CALL}, 404),
            ({"type": "deny", "turn": "t1", "step": FREE}, 409),
            ("x" * 200_000, 413),
            (answer % "NaN", 422),
            (answer % "1e999", 422),
            (answer % "100000000000000000000", 422),
        ):
            refused = await say(wrong)
            assert (refused["type"], refused["status"]) == ("refused", status)
            assert refused["detail"]
        deny = {"type": "deny", "id": "mine", "reason": "not that"} | where
        first = await say(deny)
        assert first == {"type": "accepted", "id": "mine", "position": 9} | where
        assert await say(deny) == first
        assert (await say({"type": "approve", "id": "other"} | where))["status"] == 409
        reply = {"type": "answer", "turn": "t1", "step": FREE, "action": "cancel"}
        assert (await say(reply))["type"] == "accepted"
    assert await said(shared, "spoken", ApprovalDenied) == ApprovalDenied(reason="not that")
    assert await said(shared, "spoken", ElicitationAnswered) == ElicitationAnswered(
        id="e1", action="cancel"
    )
