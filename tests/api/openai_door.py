"""The door for clients of OpenAI, as the tests speak to it."""

from __future__ import annotations

from typing import Any

from openai import AsyncOpenAI

from api.client import RoomClient
from tests.rooms import LocalRoom, config

HELLO: Any = [{"role": "user", "content": "What is a saga?"}]


ADD: Any = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Add two numbers.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
        },
    },
}


def client_of(room: LocalRoom) -> AsyncOpenAI:
    """The client that OpenAI publishes, at the door of this room."""
    return AsyncOpenAI(base_url=f"{room.url}/openai/v1", api_key="none", max_retries=2)


async def saved(room: LocalRoom, name: str, seats: str = "a b c", **changes: Any) -> str:
    """A saved room; returns its name as a model."""
    preset = config(name, seats, **changes)
    async with RoomClient(room.url) as http:
        await http.save_preset(name, "room", preset)
    return f"room/{name}"


async def turn_of(room: LocalRoom, completion: Any) -> dict[str, Any]:
    """The turn that gave a completion, as the room shows it."""
    place = completion.control_room
    path = f"/v1/sessions/{place['session']}/turns/{place['turn']}"
    return dict((await room.http.get(path)).json())


async def door_sessions(room: LocalRoom) -> list[dict[str, Any]]:
    """The sessions that were made for single requests."""
    listed = await room.http.get("/v1/sessions?limit=1000&tag=door")
    return list(listed.json()["sessions"])


async def replays(room: LocalRoom, session: str) -> bool:
    """Whether a replay of the session comes to the same."""
    return bool((await room.http.post(f"/v1/sessions/{session}/replay")).json()["identical"])


async def events_of(room: LocalRoom, session: str, kind: str) -> list[dict[str, Any]]:
    """The payloads of one kind of event in a session, in their order."""
    page = (await room.http.get(f"/v1/sessions/{session}/events?limit=1000")).json()
    return [e["data"]["payload"] for e in page["events"] if e["type"] == kind]


async def streamed(client: AsyncOpenAI, model: str, **more: Any) -> tuple[str, str, list[Any]]:
    """What comes as text, what as reasoning, and all chunks."""
    text, reasoning, chunks = "", "", []
    async for chunk in await client.chat.completions.create(
        model=model, messages=HELLO, stream=True, **more
    ):
        chunks.append(chunk)
        if chunk.choices:
            delta = chunk.choices[0].delta
            text += delta.content or ""
            reasoning += getattr(delta, "reasoning_content", None) or ""
    return text, reasoning, chunks
