"""A person in a chat allows calls of tools, does not, and answers what tools ask."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from actors.tools.config import ToolServers
from events.tools import ApprovalDenied, ElicitationAnswered, ToolReturned
from tests.commands import environment
from tests.integration.tool_calls import stubborn
from tests.rooms import LocalRoom, local_room
from tests.terminal import CTRL_D, Terminal, terminal
from tests.waiting import eventually


@asynccontextmanager
async def chat(
    folder: Path, *, end: str = "completed", **grant: Any
) -> AsyncIterator[tuple[LocalRoom, Terminal]]:
    """A chat with one who may use the tools of a server."""
    tools = [{"server": "stubborn", **grant}]
    seat = {"id": "a", "provider": "paced", "model_name": "instant", "tools": tools}
    async with local_room(folder, tool_servers=ToolServers(stubborn(folder))) as room:
        await room.create("s1", models=[seat])
        command = ("-m", "api.cli", "chat", "s1")
        async with terminal(*command, environment=environment(room)) as shown:
            await shown.expect("you> ")
            yield room, shown
            await shown.expect(f"turn t1 {end}")
            await shown.expect("you> ")
            shown.type(CTRL_D)
            assert await shown.ended() == (end != "completed")


async def happened(room: LocalRoom, kind: type[Any]) -> list[Any]:
    return [event.data for event in await room.store.read("s1") if isinstance(event.data, kind)]


async def test_a_call_is_allowed(tmp_path: Path) -> None:
    async with chat(tmp_path, tools=["echo"], approval=True) as (room, shown):
        shown.type("Please use stubborn echo.\r")
        await shown.expect(r"a → stubborn__echo\(")
        await shown.expect("Allow this call")
        shown.type("y\r")
        await shown.expect("stubborn__echo: ")
        assert len(await happened(room, ToolReturned)) == 1


async def test_a_call_is_not_allowed_and_why(tmp_path: Path) -> None:
    async with chat(tmp_path, tools=["echo"], approval=True) as (room, shown):
        shown.type("Please use stubborn echo.\r")
        await shown.expect("Allow this call")
        shown.type("not now\r")
        await shown.expect("stubborn__echo: not now")
        assert await happened(room, ApprovalDenied) == [ApprovalDenied(reason="not now")]
        assert await happened(room, ToolReturned) == []


async def test_what_is_decided_elsewhere_is_not_asked_any_more(tmp_path: Path) -> None:
    async with chat(tmp_path, end="cancelled", tools=["hang"], approval=True) as (room, shown):
        shown.type("Please use stubborn hang.\r")
        await shown.expect("Allow this call")
        turn = "/v1/sessions/s1/turns/t1"
        path = f"{turn}/steps/call:stubborn__hang:1/approve"
        answer = await room.http.post(path, json={"reason": "from elsewhere"})
        assert answer.status_code == 200, answer.text
        await shown.expect(r"stubborn__hang\(.*\) at stubborn")
        assert (await room.http.post(f"{turn}/cancel")).status_code == 200


async def test_what_a_tool_asks_is_answered(tmp_path: Path) -> None:
    async with chat(tmp_path, tools=["asks"]) as (room, shown):
        shown.type("Please use stubborn asks.\r")
        await shown.expect("stubborn__asks asks: ")
        await shown.expect("Answer as JSON")
        shown.type("what?\r")
        await shown.expect("the answer is not JSON")
        await shown.expect("Answer as JSON")
        shown.type("\r")
        (answered,) = await until_answered(room)
        assert (answered.action, answered.content) == ("decline", None)


async def test_what_is_typed_before_a_call_is_shown_does_not_allow_it(tmp_path: Path) -> None:
    async with chat(tmp_path, tools=["echo"], approval=True) as (room, shown):
        one = 'use stubborn__echo {"message": "one"}'
        shown.type(f"{one} {one.replace('one', 'two')}\r")
        await shown.expect("Allow this call")
        shown.type("y\ry\r")
        await shown.expect("Allow this call")
        shown.type("not that\r")
        await shown.expect("stubborn__echo: not that")
        assert await happened(room, ApprovalDenied) == [ApprovalDenied(reason="not that")]
        assert [one.text for one in await happened(room, ToolReturned)] == ["one"]


async def until_answered(room: LocalRoom) -> list[ElicitationAnswered]:
    async def found() -> list[ElicitationAnswered]:
        return await happened(room, ElicitationAnswered)

    return await eventually(found, within=20, what="the answer")
