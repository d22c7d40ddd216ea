"""What every framework does where a door refuses or lacks something, or the run is called off."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from actors.frameworks.registry import framework
from tests.frameworks import MODELS, WORKFLOWS, run_at
from tests.servers.doors import open_doors
from tests.servers.mcp_endless import endless_tools

pytestmark = [pytest.mark.contract, pytest.mark.timeout(400)]

every_framework = pytest.mark.parametrize("name", WORKFLOWS)


@every_framework
async def test_a_refusal_ends_the_run_and_is_not_tried_again(name: str, tmp_path: Path) -> None:
    async with open_doors() as opened:

        def refuse(body: dict[str, Any]) -> dict[str, Any]:
            raise ValueError(body["model"])  # the server answers 500

        opened.models.saying = refuse
        ran = await run_at(opened, name, WORKFLOWS[name], tmp_path / "home")
    assert ran.reply["fault"]["configuration"] is False
    assert "500" in ran.reply["fault"]["message"]
    assert len(ran.asked) == 1


@every_framework
async def test_a_tool_that_the_door_does_not_have_is_named(name: str, tmp_path: Path) -> None:
    text = json.dumps(WORKFLOWS[name]).replace("mcp:words", "mcp:files").replace("words:", "files:")
    async with open_doors() as opened:
        ran = await run_at(opened, name, json.loads(text), tmp_path / "home")
    assert ran.reply["fault"]["configuration"] is True
    assert "files" in ran.reply["fault"]["message"]
    assert "words__count, words__shout" in ran.reply["fault"]["message"]
    assert ran.asked == []


@every_framework
@pytest.mark.parametrize("why", ["nobody", "token"])
async def test_a_door_of_tools_that_does_not_open_is_named(
    name: str, why: str, tmp_path: Path
) -> None:
    async with open_doors() as opened:
        if why == "nobody":
            opened.tools.url = "http://127.0.0.1:9/mcp"
        else:
            opened.tools.tokens.clear()
        ran = await run_at(opened, name, WORKFLOWS[name], tmp_path / "home")
    assert ran.reply["fault"]["configuration"] is False
    said = ran.reply["fault"]["message"]
    assert f"the tools of the room at {opened.tools.url} cannot be listed: " in said
    assert ran.asked == []


@every_framework
async def test_a_tool_that_cannot_be_called_ends_the_run_and_the_model_is_told_nothing(
    name: str, tmp_path: Path
) -> None:
    async with open_doors() as opened:
        opened.tools.away = True
        ran = await run_at(opened, name, WORKFLOWS[name], tmp_path / "home")
    assert ran.reply["fault"]["configuration"] is False
    said = ran.reply["fault"]["message"]
    assert re.search(r"the tool 'words__\w+' could not be called: .*the room is starting", said)
    assert len(ran.asked) == 1
    assert len({*ran.called}) == len(ran.called) > 0


@every_framework
@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM])
async def test_a_door_of_tools_that_dies_in_a_call_ends_the_run(
    name: str, by: signal.Signals, tmp_path: Path
) -> None:
    async with open_doors() as opened, endless_tools() as tools:
        opened.tools.url = tools.url
        running = asyncio.create_task(run_at(opened, name, WORKFLOWS[name], tmp_path / "home"))
        await tools.called()
        await tools.end(by)
        ran = await running
    assert ran.reply["fault"]["configuration"] is False
    assert re.search(
        r"the tool 'words__\w+' could not be called|the tools of the room at .* are gone",
        ran.reply["fault"]["message"],
    )
    assert len(ran.asked) == 1


@pytest.mark.parametrize("name", ["langchain", "agent_framework"])
async def test_cancelling_a_run_ends_the_call_in_flight(name: str) -> None:
    async with open_doors() as opened:
        opened.models.held = asyncio.Event()
        running = asyncio.create_task(
            framework(name).execute(WORKFLOWS[name], {"topic": "owls"}, MODELS, opened.doors)
        )
        await asyncio.wait_for(opened.models.arrived.wait(), 60)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await asyncio.wait_for(opened.models.gone.wait(), 10)
        assert len(opened.models.requests) == 1
