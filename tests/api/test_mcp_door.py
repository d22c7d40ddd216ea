"""The room as an MCP server, with the client of the protocol's own library."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from api.client import RoomClient
from tests.rooms import LocalRoom, config, local_room
from tests.waiting import eventually

MODES = ("auto", "legacy")


@pytest.fixture(params=MODES)
async def client(request: pytest.FixtureRequest, shared: LocalRoom) -> AsyncIterator[Client]:
    async with Client(f"{shared.url}/mcp", mode=request.param) as client:
        yield client


async def test_the_tools_are_described(client: Client) -> None:
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert set(tools) == {"ask_room", "list_sessions", "replay"}
    schema = tools["ask_room"].input_schema
    assert schema["required"] == ["message"]
    assert set(schema["properties"]) == {"message", "session", "preset"}
    assert set(tools["ask_room"].output_schema or {}) >= {"properties", "required"}
    assert tools["replay"].annotations is not None
    assert tools["replay"].annotations.read_only_hint


async def test_a_session_is_asked_and_told_of(client: Client, shared: LocalRoom) -> None:
    session = f"mcp-{client.protocol_version}"
    await shared.create(session, "a b")
    told: list[tuple[float, float | None, str | None]] = []

    async def tell(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    done = await client.call_tool(
        "ask_room", {"message": "What is a saga?", "session": session}, progress_callback=tell
    )
    assert not done.is_error
    answer: Any = done.structured_content
    assert (answer["session"], answer["turn"]) == (session, "t1")
    turn = (await shared.http.get(f"/v1/sessions/{session}/turns/t1")).json()
    texts = [one["text"] for one in turn["answers"]]
    assert [one["text"] for one in answer["answers"]] == texts
    assert answer["answer"] == f"**A (a)**\n\n{texts[0]}\n\n**B (b)**\n\n{texts[1]}"
    assert json.loads(done.content[0].text) == answer  # type: ignore[union-attr]
    assert told[-1][:2] == (2, 2)
    assert {message for _, _, message in told} == {
        "a: asked", "b: asked", "a: answered", "b: answered"
    }  # fmt: skip


async def test_a_saved_room_answers_afresh(client: Client, shared: LocalRoom) -> None:
    async with RoomClient(shared.url) as http:
        await http.save_preset("mcp-one", "room", config("x", "a"))
    done = await client.call_tool("ask_room", {"message": "A saga?", "preset": "mcp-one"})
    answer: Any = done.structured_content
    assert answer["session"].startswith("door_")
    assert answer["answer"] == answer["answers"][0]["text"]


async def test_sessions_and_saved_rooms_are_listed(client: Client, shared: LocalRoom) -> None:
    session = f"listed-{client.protocol_version}"
    await shared.create(session, "a b", title="Listed")
    await shared.post(session, "What is a saga?", wait=20)
    async with RoomClient(shared.url) as http:
        await http.save_preset("mcp-saved", "room", config("x", "a"))
    listed: Any = (await client.call_tool("list_sessions", {"limit": 1})).structured_content
    assert listed["sessions"] == [
        {
            "session": session,
            "title": "Listed",
            "status": "active",
            "pattern": "broadcast",
            "participants": ["A (a)", "B (b)"],
            "turns": 1,
            "last_message": "What is a saga?",
        }
    ]
    assert "mcp-saved" in listed["presets"]


async def test_a_session_is_replayed(client: Client, shared: LocalRoom) -> None:
    session = f"replayed-{client.protocol_version}"
    await shared.create(session, "a b")
    await shared.post(session, wait=20)
    done: Any = (await client.call_tool("replay", {"session": session})).structured_content
    assert done["identical"] is True
    replayed = (await shared.http.post(f"/v1/sessions/{session}/replay")).json()
    assert (done["head"], done["events"]) == (replayed["head"], replayed["events"])


@pytest.mark.parametrize(
    ("tool", "arguments", "why"),
    [
        ("ask_room", {"message": "Hello"}, "give either 'session' or 'preset'"),
        ("ask_room", {"message": "Hello", "session": "none"}, "there is no model 'session/none'"),
        ("ask_room", {"message": "Hello", "preset": "none"}, "there is no model 'room/none'"),
        ("ask_room", {"message": "Hello", "session": "broken"}, "rehearse"),
        ("ask_room", {"message": "", "session": "broken"}, "message"),
        ("replay", {"session": "none"}, "there is no session 'none'"),
        ("list_sessions", {"limit": 0}, "limit"),
    ],
)
async def test_what_cannot_be_is_explained_to_the_model(
    client: Client, shared: LocalRoom, tool: str, arguments: dict[str, Any], why: str
) -> None:
    await shared.create("broken", "a:failing")
    done = await client.call_tool(tool, arguments)
    assert done.is_error
    assert why in done.content[0].text  # type: ignore[union-attr]


async def test_a_call_that_is_given_up_calls_the_turn_off(
    client: Client, shared: LocalRoom
) -> None:
    session = f"given-up-{client.protocol_version}"
    await shared.create(session, "a:late")
    asking = asyncio.create_task(
        client.call_tool("ask_room", {"message": "Hello", "session": session})
    )

    async def asked() -> bool:
        return bool((await turn(shared, session)).get("status") == "open")

    await eventually(asked, within=10, what="the turn is open")
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)

    async def called_off() -> bool:
        found = await turn(shared, session)
        return bool(found["status"] == "cancelled" and found["discarded"])

    await eventually(called_off, within=10, what="the turn is called off, and its call is too")


async def turn(room: LocalRoom, session: str) -> dict[str, Any]:
    return dict((await room.http.get(f"/v1/sessions/{session}/turns/t1")).json())


# --- who may -------------------------------------------------------------------------------------


async def test_the_door_needs_the_token_and_knows_whose_it_is(tmp_path: Path) -> None:
    async with local_room(tmp_path, token="secret", tokens="ada=hers") as room:
        async with httpx2.AsyncClient(trust_env=False) as stranger:
            answer = await stranger.post(f"{room.url}/mcp", json={})
            assert answer.status_code == 401
        await room.create("whose", "a")
        async with (
            httpx2.AsyncClient(headers={"Authorization": "Bearer hers"}, trust_env=False) as http,
            Client(streamable_http_client(f"{room.url}/mcp", http_client=http)) as client,
        ):
            await client.call_tool("ask_room", {"message": "Hello", "session": "whose"})
        events = (await room.http.get("/v1/sessions/whose/events")).json()["events"]
        started = next(event for event in events if event["type"] == "turn.started")
        assert started["data"]["by"] == "token:ada"


async def test_no_page_of_elsewhere_gets_in(shared: LocalRoom) -> None:
    for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
        answer = await shared.http.post("/mcp", json={}, headers=headers)
        assert answer.status_code == 403


async def test_a_session_of_the_protocol_is_its_principals(tmp_path: Path) -> None:
    hello = {
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {},
                   "clientInfo": {"name": "test", "version": "1"}},
    }  # fmt: skip
    accept = {"Accept": "application/json, text/event-stream"}
    async with local_room(tmp_path, token="secret", tokens="ada=hers") as room:
        opened = await room.http.post("/mcp", json=hello, headers=accept)
        assert opened.status_code == 200
        session = {"Mcp-Session-Id": opened.headers["mcp-session-id"]} | accept
        listing = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
        other = session | {"Authorization": "Bearer hers"}
        assert (await room.http.post("/mcp", json=listing, headers=other)).status_code == 404
        ping = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        assert (await room.http.post("/mcp", json=ping, headers=session)).status_code == 202
        with anyio.fail_after(10):
            own = await room.http.post("/mcp", json=listing, headers=session)
        assert own.status_code == 200


def test_the_library_is_not_imported_before_somebody_comes() -> None:
    code = "import sys, api.server; print('mcp' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "False\n"
