"""Calls of runs at the doors: their order, those that nobody waits for, and those cut off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from actors.frameworks import registry
from actors.frameworks.port import Doors, Models, Result
from actors.messages import RunAsk
from actors.providers.port import ChatRequest
from actors.providers.rehearsal import RehearsalProvider
from actors.tools.config import ToolServers
from api.commands import TRIES
from api.rerunning import rerun
from events.runs import RunAsked
from events.types import ModelAnswered
from tests.integration.tool_calls import stubborn
from tests.lost_answers import lost_answers
from tests.rooms import LocalRoom, config, local_room
from tests.waiting import eventually

Flow = Callable[[httpx2.AsyncClient, Doors], Awaitable[str]]
FLOWS: dict[str, Flow] = {}


class Probe:
    """A framework whose workflow is a function of the test."""

    name = "probe"
    environment = None
    apart = False

    def config_schema(self) -> dict[str, Any]:
        return {}

    def check(self, config: Mapping[str, Any], models: Collection[str]) -> None:
        assert config["flow"] in FLOWS

    async def execute(
        self, config: Mapping[str, Any], inputs: Mapping[str, Any], models: Models, doors: Doors
    ) -> Result:
        headers = {"Authorization": f"Bearer {doors.token}"}
        async with httpx2.AsyncClient(headers=headers, timeout=None, trust_env=False) as http:
            return {
                "output": await FLOWS[config["flow"]](http, doors),
                "outputs": {},
                "steps": [],
            }


@pytest.fixture
async def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LocalRoom]:
    monkeypatch.setitem(registry.BUILT_IN, "probe", f"{__name__}:Probe")
    async with local_room(tmp_path) as room:
        yield room


async def ask(
    http: httpx2.AsyncClient, doors: Doors, model: str, text: str, **headers: str
) -> httpx2.Response:
    """Ask a model of the run."""
    return await http.post(
        f"{doors.base_url}/chat/completions",
        json={"model": model, "messages": [{"role": "user", "content": text}]},
        headers=headers,
    )


def said(answer: httpx2.Response) -> str:
    answer.raise_for_status()
    return str(answer.json()["choices"][0]["message"]["content"])


async def ran(room: LocalRoom, flow: Flow, name: str, **changes: Any) -> dict[str, Any]:
    """Run it on a quick model `a` and a slow one `s`."""
    FLOWS[name] = flow
    runs = {"framework": "probe", "config": {"flow": name}}
    made = config(name, "a s:slow", routing_pattern="workflow", workflow=runs, **changes)
    answer = await room.http.post("/v1/sessions", json=made)
    assert answer.status_code in (200, 201), answer.text
    return await room.post(name, "{}", wait=40)


async def test_identical_calls_at_once_get_again_what_each_of_them_got(
    room: LocalRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers, chance = count(1), Random(7)

    async def differing(self: RehearsalProvider, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), chance.random() / 5)

    monkeypatch.setattr(RehearsalProvider, "_wait", differing)
    answers: list[list[str]] = []

    def numbered(request: ChatRequest, digest: bytes) -> tuple[str, str, tuple[Any, ...]]:
        return f"owl {next(numbers)}", "stop", ()

    monkeypatch.setattr("actors.providers.rehearsal._compose", numbered)

    async def flow(http: httpx2.AsyncClient, doors: Doors) -> str:
        asked = [
            ask(http, doors, "a", "Name an owl.", **{"x-control-room-call": str(number)})
            for number in range(1, 7)
        ]
        chance.shuffle(asked)  # as connections may
        names = [said(answer) for answer in await asyncio.gather(*asked)]
        answers.append(sorted(names))
        return " ".join(sorted(names))

    turn = await ran(room, flow, "owls")
    assert turn["status"] == "completed", turn
    assert len(set(answers[0])) == 6
    for _ in range(3):
        report = await rerun(room.served.doors, "owls", "t1")
        assert report.identical, report
        assert report.calls == 6
    assert answers == [answers[0]] * 4


async def test_a_call_that_nobody_waits_for_holds_no_other_back(room: LocalRoom) -> None:
    async def flow(http: httpx2.AsyncClient, doors: Doors) -> str:
        slow = asyncio.create_task(ask(http, doors, "s", "Take your time."))
        quick = said(await ask(http, doors, "a", "Be quick."))
        slow.cancel()
        await asyncio.wait({slow})
        last = await ask(http, doors, "s", "And now?")
        return quick + said(last)

    turn = await ran(room, flow, "race")
    assert turn["status"] == "completed", turn
    async with asyncio.timeout(25):
        report = await rerun(room.served.doors, "race", "t1")
    assert report.identical, report
    assert report.calls == 3


async def test_a_call_beyond_the_steps_of_its_run_is_refused(room: LocalRoom) -> None:
    opened: asyncio.Future[Doors] = asyncio.get_running_loop().create_future()

    async def flow(http: httpx2.AsyncClient, doors: Doors) -> str:
        if not opened.done():  # what calls is not the workflow's own process, like n8n
            opened.set_result(doors)
            await asyncio.Event().wait()
        said(await ask(http, doors, "a", "one"))
        await ask(http, doors, "a", "two")
        return "never told"

    running = asyncio.create_task(ran(room, flow, "limit", max_steps=2))
    doors = await asyncio.wait_for(opened, 20)
    headers = {"Authorization": f"Bearer {doors.token}"}
    async with httpx2.AsyncClient(headers=headers, timeout=20, trust_env=False) as http:
        assert (await ask(http, doors, "a", "one")).status_code == 200
        assert (await ask(http, doors, "a", "two")).status_code == 409
    assert (await running)["problem"]["reason"] == "too_many_steps"
    async with asyncio.timeout(20):
        report = await rerun(room.served.doors, "limit", "t1")
    assert report.identical, report
    assert report.calls == 2


async def test_a_run_that_its_deadline_ended_replays_as_far_as_it_came(room: LocalRoom) -> None:
    async def flow(http: httpx2.AsyncClient, doors: Doors) -> str:
        said(await ask(http, doors, "a", "Be quick."))
        return said(await ask(http, doors, "s", "Take your time."))

    stalls = {"id": "s", "provider": "rehearsal", "model_name": "stalling"}  # for half a minute
    models = [config("any", "a")["models"][0], stalls]
    turn = await ran(room, flow, "late", models=models, deadline=3)
    assert turn["problem"]["reason"] == "deadline", turn
    asked = [one for one in await room.store.read("late") if isinstance(one.data, RunAsked)]
    async with asyncio.timeout(20):
        report = await rerun(room.served.doors, "late", "t1")
    assert report.identical, report
    assert report.calls == len(asked)


async def test_the_same_key_is_the_same_call(room: LocalRoom) -> None:
    async def flow(http: httpx2.AsyncClient, doors: Doors) -> str:
        key = {"idempotency-key": "once"}
        first = said(await ask(http, doors, "a", "Name an owl.", **key))
        again = said(await ask(http, doors, "a", "Name an owl.", **key))
        other = await ask(http, doors, "a", "Name a mouse.", **key)
        return f"{first == again} {other.status_code}"

    turn = await ran(room, flow, "keyed")
    assert turn["answer"] == "True 400", turn
    kinds = [event.data for event in await room.store.read("keyed")]
    assert sum(isinstance(one, RunAsked) for one in kinds) == 1
    assert sum(isinstance(one, ModelAnswered) for one in kinds) == 1


async def test_a_call_that_is_made_is_made_once_though_its_answer_is_lost(
    room: LocalRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.run_calls.ROUTER_WITHIN", 0)

    async def flow(http: httpx2.AsyncClient, doors: Doors) -> str:
        told = []
        for given in ({}, {"idempotency-key": "k" * 256}):
            with lost_answers(room, RunAsk, TRIES):
                unheard = await ask(http, doors, "a", "Name an owl.", **given)
            key = {"idempotency-key": unheard.headers["idempotency-key"]}
            assert given in ({}, key)
            again = await ask(http, doors, "a", "Name an owl.", **key)
            told.append(f"{unheard.status_code} {again.status_code}")
        return ", ".join(told)

    turn = await ran(room, flow, "unheard")
    assert turn["answer"] == "503 200, 503 200", turn
    kinds = [event.data for event in await room.store.read("unheard")]
    assert sum(isinstance(one, RunAsked) for one in kinds) == 2


async def test_integers_of_any_size_get_to_a_tool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.BUILT_IN, "probe", f"{__name__}:Probe")

    async def flow(http: httpx2.AsyncClient, doors: Doors) -> str:
        async with Client(streamable_http_client(doors.mcp_url, http_client=http)) as client:
            told = await client.call_tool("stubborn__count", {"n": 123456789012345678901})
            return f"{told.content[0].text}"  # type: ignore[union-attr]

    FLOWS["whole"] = flow
    runs = {"framework": "probe", "config": {"flow": "whole"}, "tools": ["stubborn"]}
    made = config("whole", "a", routing_pattern="workflow", workflow=runs)
    async with local_room(tmp_path, tool_servers=ToolServers(stubborn(tmp_path))) as room:
        answer = await room.http.post("/v1/sessions", json=made)
        assert answer.status_code in (200, 201), answer.text
        turn = await room.post("whole", "{}", wait=40)
        assert turn["answer"] == "123456789012345678901", turn
        report = await rerun(room.served.doors, "whole", "t1")
    assert report.identical, report


@pytest.mark.parametrize("door", ["invoke", "chat"])
async def test_a_call_of_a_paused_run_is_not_made_when_whoever_made_it_has_gone(
    room: LocalRoom, door: str
) -> None:
    begun = asyncio.get_running_loop().create_future()
    end = asyncio.Event()

    async def flow(http: httpx2.AsyncClient, doors: Doors) -> str:
        begun.set_result(doors)
        await end.wait()
        return ""

    FLOWS[door] = flow
    runs = {"framework": "probe", "config": {"flow": door}}
    made = config(door, "a", routing_pattern="workflow", workflow=runs)
    assert (await room.http.post("/v1/sessions", json=made)).status_code in (200, 201)
    await room.post(door, "{}")
    doors = await asyncio.wait_for(begun, 20)
    assert (await room.http.post(f"/v1/sessions/{door}/pause")).status_code == 200
    feeds = room.served.doors.feeds._uses

    def waiting() -> int:
        return feeds[door].users if door in feeds else 0

    async with httpx2.AsyncClient(
        headers={"Authorization": f"Bearer {doors.token}"}, timeout=None, trust_env=False
    ) as http:
        if door == "invoke":
            asking = http.post(f"{doors.invoke_url}/models/a/invoke", json={"message": "Hello?"})
        else:
            asking = ask(http, doors, "a", "Hello?")
        call = asyncio.create_task(asking)
        await eventually(lambda: waiting() == 1, within=20, what="the call waits")
        call.cancel()
        await asyncio.wait({call})
    await eventually(lambda: not waiting(), within=20, what="the call is given up")
    assert (await room.http.post(f"/v1/sessions/{door}/resume")).status_code == 200
    async with room.following(door) as watcher:
        end.set()
        await watcher.until("turn.completed")
    assert not [one for one in await room.store.read(door) if isinstance(one.data, RunAsked)]


async def test_a_run_that_wants_a_call_of_its_own_tool_gets_it_and_again_in_a_replay(
    room: LocalRoom,
) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    tools = [{"type": "function", "function": {"name": "count", "parameters": schema}}]

    async def flow(http: httpx2.AsyncClient, doors: Doors) -> str:
        told = []
        for choice in ("required", "auto"):
            answer = await http.post(
                f"{doors.base_url}/chat/completions",
                json={
                    "model": "a",
                    "messages": [{"role": "user", "content": "Name an owl."}],
                    "tools": tools,
                    "tool_choice": choice,
                },
            )
            answer.raise_for_status()
            message = answer.json()["choices"][0]["message"]
            told.append([call["function"]["name"] for call in message.get("tool_calls") or ()])
        return str(told)

    turn = await ran(room, flow, "forced")
    assert turn["answer"] == "[['count'], []]", turn
    kinds = [event.data for event in await room.store.read("forced")]
    asked = [(one.tool_choice, one.tools) for one in kinds if isinstance(one, RunAsked)]
    assert [choice for choice, _ in asked] == ["required", None]
    assert asked[0][1] == asked[1][1]
    digests = {one.digest for one in kinds if isinstance(one, RunAsked)}
    assert len(digests) == 2, "they are different questions"
    report = await rerun(room.served.doors, "forced", "t1")
    assert report.identical, report
    assert (await room.http.post("/v1/sessions/forced/replay")).json()["identical"]


async def test_the_token_of_a_run_that_is_over_opens_nothing(room: LocalRoom) -> None:
    tokens: list[Doors] = []

    async def flow(http: httpx2.AsyncClient, doors: Doors) -> str:
        tokens.append(doors)
        return "done"

    await ran(room, flow, "over")
    [doors] = tokens
    headers = {"Authorization": f"Bearer {doors.token}"}
    async with httpx2.AsyncClient(headers=headers, trust_env=False) as http:
        assert (await http.get(f"{doors.base_url}/models")).status_code == 409
        assert (await ask(http, doors, "a", "Still there?")).status_code == 409
        assert (await http.get(f"{room.url}/v1/sessions")).status_code == 403
