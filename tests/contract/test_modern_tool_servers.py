"""The newer protocol version, over stdio and HTTP, as the server of the `mcp` library has it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from actors.tools.config import ToolServerSpec
from events.tools import ElicitationAnswered
from events.values import Blob
from tests.contract.test_tool_servers import listens
from tests.integration.test_tool_faults import said
from tests.integration.tool_calls import Caller, calling, configured
from tests.servers.ports import candidate_ports
from tests.waiting import eventually

PROGRAM = Path(__file__).parents[1] / "servers" / "mcp_modern.py"


@asynccontextmanager
async def modern(kind: str, folder: Path) -> AsyncIterator[ToolServerSpec]:
    if kind == "stdio":
        command = {"command": sys.executable, "args": [str(PROGRAM), str(folder)]}
        yield configured("modern", command)
        return
    for port in candidate_ports():
        with (folder / "modern.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, str(PROGRAM), str(folder), str(port)), stdout=log, stderr=log
            )
        try:
            await eventually(partial(_settled, process, port), within=60, what="the server")
            if process.returncode is not None:
                continue  # the port was another's
            yield configured("modern", {"url": f"http://127.0.0.1:{port}/mcp"})
            return
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    raise AssertionError((folder / "modern.log").read_text())


def _settled(process: asyncio.subprocess.Process, port: int) -> bool:
    """Whether it listens, or has ended."""
    return process.returncode is not None or listens(port)


@asynccontextmanager
async def calling_modern(url: str, kind: str, folder: Path) -> AsyncIterator[Caller]:
    async with modern(kind, folder) as spec, calling(url, spec) as caller:
        await caller.listed()
        yield caller


both = pytest.mark.parametrize("kind", ["stdio", "http"])


@both
async def test_the_newer_version_is_spoken(module_nats_url: str, tmp_path: Path, kind: str) -> None:
    async with calling_modern(module_nats_url, kind, tmp_path) as caller:
        listing = await caller.listed()
        assert (listing.protocol, listing.implementation) == ("2026-07-28", "modern 1")
        text = await caller.text("big", size=10_000_000)
        assert isinstance(text, Blob)
        assert text.size == 10_000_000
        error, message = await caller.failure("big", size=34 * 1024 * 1024)
        assert error == "BadResult", message


@both
async def test_several_calls_ask_the_person_at_once(
    module_nats_url: str, tmp_path: Path, kind: str
) -> None:
    async with calling_modern(module_nats_url, kind, tmp_path) as caller:
        await caller.listed()
        steps = {thing: await caller.begin("paint", f'{{"thing": "{thing}"}}') for thing in "abc"}
        for thing, step in steps.items():  # each question comes with the step of its own call
            question = (await caller.outcome(step)).elicited
            assert question is not None
            assert question.message == f"Which colour has the {thing}?"
            content = {"colour": f"colour of {thing}"}
            await caller.answer(
                step, ElicitationAnswered(id=question.id, action="accept", content=content)
            )
        for thing, step in steps.items():
            returned = (await caller.outcome(step)).returned
            assert returned is not None
            assert returned.text == f"the {thing} is colour of {thing}"


@both
async def test_cancelling_reaches_the_server(
    module_nats_url: str, tmp_path: Path, kind: str
) -> None:
    async with calling_modern(module_nats_url, kind, tmp_path) as caller:
        await caller.listed()
        step = await caller.begin("wait")
        await eventually(lambda: said(tmp_path, "called"), within=20, what="the call")
        await caller.cancel(step)
        await eventually(lambda: said(tmp_path, "cancelled"), within=10, what="its end")


@both
async def test_changes_of_the_list_are_followed(
    module_nats_url: str, tmp_path: Path, kind: str
) -> None:
    async with calling_modern(module_nats_url, kind, tmp_path) as caller:
        before = (await caller.listed()).tools
        await caller.text("more")
        await eventually(lambda: caller.listings[-1].tools != before, within=20, what="the list")
        blob = caller.listings[-1].tools
        assert blob is not None
        assert "extra" in {tool["name"] for tool in json.loads(caller.blobs.get(blob))}
        assert await caller.text("extra") == "extra is done"


async def test_replicas_share_the_calls_of_a_server(module_nats_url: str, tmp_path: Path) -> None:
    async with (
        modern("http", tmp_path) as spec,
        calling(module_nats_url, spec) as first,
        calling(module_nats_url, spec) as second,
    ):
        await first.listed()
        await second.listed()
        steps = [await first.begin("wait") for _ in range(12)]

        def under_way() -> list[int]:
            return [caller.actor.listing().calls for caller in (first, second)]

        await eventually(lambda: sum(under_way()) == 12, within=20, what="every call, once")
        assert min(under_way()) > 0
        for step in steps:
            await first.cancel(step)
        await eventually(lambda: sum(under_way()) == 0, within=20, what="the end of all")
