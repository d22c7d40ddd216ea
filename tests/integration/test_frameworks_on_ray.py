"""Workflows in processes of Ray's, each under the interpreter that its framework takes."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from actors.cluster import apart, joined
from actors.frameworks.registry import framework
from actors.frameworks.remote import Runner, placement
from api.settings import Settings
from tests.frameworks import HOME, WORKFLOWS, interpreter, request, run
from tests.servers.doors import open_doors

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
async def ray(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[None]:
    await asyncio.to_thread(interpreter, "crewai")
    settings = Settings(home=tmp_path_factory.mktemp("ray"))
    async with joined("", settings.scratch_dir):  # a short path: sockets lie in it
        yield
    shutil.rmtree(settings.scratch_dir, ignore_errors=True)


@pytest.mark.usefixtures("ray")
@pytest.mark.parametrize("name", ["crewai", "langchain"])
async def test_a_workflow_does_the_same_in_a_process_of_rays(name: str, tmp_path: Path) -> None:
    outside = await run(name, WORKFLOWS[name], tmp_path / "home")
    place = placement(framework(name).environment, HOME)
    async with open_doors() as opened:
        wanted = request(name, WORKFLOWS[name], opened.doors)
        reply = await asyncio.wait_for(apart(Runner, wanted, place), 120)
        assert reply == outside.reply
        assert opened.models.bodies() == outside.asked


@pytest.mark.usefixtures("ray")
async def test_cancelling_a_crew_ends_its_call_in_flight_and_its_process() -> None:
    async with open_doors() as opened:
        opened.models.held = asyncio.Event()
        wanted = request("crewai", WORKFLOWS["crewai"], opened.doors)
        running = asyncio.create_task(apart(Runner, wanted, placement("crewai", HOME)))
        await asyncio.wait_for(opened.models.arrived.wait(), 90)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await asyncio.wait_for(opened.models.gone.wait(), 20)
        opened.models.held.set()
        assert len(opened.models.requests) == 1
