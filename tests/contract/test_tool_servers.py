"""Tool servers that nobody here wrote, over stdio and HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from actors.tools.config import ToolServerSpec
from events.tools import ElicitationAnswered
from tests.integration.tool_calls import Caller, calling, configured
from tests.servers.npm_servers import server
from tests.servers.ports import candidate_ports
from tests.waiting import eventually

BIN = Path(sys.executable).parent


def program(name: str, *command: str) -> ToolServerSpec:
    return configured(name, {"command": command[0], "args": list(command[1:])})


@asynccontextmanager
async def over_http(folder: Path, port: int) -> AsyncIterator[tuple[ToolServerSpec, Process]]:
    """`server-everything` over streamable HTTP, and its process."""
    with (folder / "everything.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *server("everything"),
            "streamableHttp",
            env={**os.environ, "PORT": str(port)},
            stdout=log,
            stderr=log,
        )
    try:
        await eventually(lambda: listens(port), within=30, what="the server")
        url = f"http://127.0.0.1:{port}/mcp"
        yield configured("everything", {"type": "http", "url": url}), process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def listens(port: int) -> bool:
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/mcp", timeout=1).status_code > 0
    except httpx2.TransportError:
        return False


async def try_everything(caller: Caller) -> None:
    listing = await caller.listed()
    assert listing.implementation == "mcp-servers/everything 2.0.0"
    assert listing.protocol == "2025-11-25"
    assert await caller.text("echo", message="Hello") == "Echo: Hello"
    assert (await caller.failure("get-sum", a=1, b="2"))[0] == "BadArguments"
    structured = (await caller.call("get-structured-content", location="Chicago")).returned
    assert structured is not None
    assert isinstance(structured.structured, str)
    assert set(json.loads(structured.structured)) == {"temperature", "conditions", "humidity"}
    image = (await caller.call("get-tiny-image")).returned
    assert image is not None
    (picture,) = image.attachments
    assert picture.is_image
    assert caller.blobs.get(picture).startswith(b"\x89PNG")
    links = await caller.text("get-resource-links", count=2)
    assert isinstance(links, str)
    assert links.count("demo://resource/") == 2
    text = (await caller.call("get-resource-reference", resourceType="Text")).returned
    assert text is not None
    assert "demo://resource/dynamic/text/1:\n" in str(text.text)
    blob = (await caller.call("get-resource-reference", resourceType="Blob")).returned
    assert blob is not None
    assert b"blob" in caller.blobs.get(blob.attachments[0])
    assert await caller.text("trigger-long-running-operation", duration=0.4, steps=2)
    await eventually(lambda: caller.deltas, within=10, what="progress")
    assert caller.deltas[-1]["text"].startswith(("1 of 2", "2 of 2"))


async def asked_for_a_form(caller: Caller) -> None:
    step = await caller.begin("trigger-elicitation-request")
    question = (await caller.outcome(step)).elicited
    assert question is not None
    assert question.form is not None
    assert "name" in question.form["properties"]
    content = {"name": "Ada", "check": True}
    await caller.answer(step, ElicitationAnswered(id=question.id, action="accept", content=content))
    returned = (await caller.outcome(step)).returned
    assert returned is not None
    assert "Ada" in str(returned.text)
    step = await caller.begin("trigger-elicitation-request")
    question = (await caller.outcome(step)).elicited
    assert question is not None
    await caller.answer(step, ElicitationAnswered(id=question.id, action="decline"))
    returned = (await caller.outcome(step)).returned
    assert returned is not None
    assert "declined" in str(returned.text)


async def test_everything_over_stdio(module_nats_url: str) -> None:
    async with calling(
        module_nats_url, program("everything", *server("everything"), "stdio")
    ) as caller:
        await try_everything(caller)
        await asked_for_a_form(caller)


async def test_everything_over_http(module_nats_url: str, tmp_path: Path) -> None:
    async with (
        over_http(tmp_path, next(candidate_ports())) as (spec, _),
        calling(module_nats_url, spec) as caller,
    ):
        await try_everything(caller)
        await asked_for_a_form(caller)


async def test_a_person_is_sent_to_a_page(module_nats_url: str) -> None:
    async with calling(
        module_nats_url, program("everything", *server("everything"), "stdio")
    ) as caller:
        arguments = json.dumps({"url": "https://example.org/allow"})
        step = await caller.begin("trigger-url-elicitation", arguments)
        question = (await caller.outcome(step)).elicited
        assert question is not None
        assert (question.url, question.form) == ("https://example.org/allow", None)
        await caller.answer(step, ElicitationAnswered(id=question.id, action="accept"))
        assert (await caller.outcome(step)).returned is not None


async def test_a_server_killed_during_a_call_over_http(
    module_nats_url: str, tmp_path: Path
) -> None:
    async with (
        over_http(tmp_path, next(candidate_ports())) as (spec, process),
        calling(module_nats_url, spec) as caller,
    ):
        step = await caller.begin("trigger-long-running-operation", '{"duration": 60, "steps": 60}')
        await eventually(lambda: caller.deltas, within=30, what="progress")
        process.kill()
        failed = (await caller.outcome(step)).tool_failed
        assert failed is not None
        assert failed.error == "ToolLost"
        assert (await caller.failure("echo", message="x"))[0] in ("ToolUnavailable", "ToolLost")


async def test_a_session_that_its_server_forgot_is_begun_anew(
    module_nats_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.tools.link.IDLE", 0.0)
    port = next(candidate_ports())
    async with (
        over_http(tmp_path, port) as (spec, process),
        calling(module_nats_url, spec) as caller,
    ):
        assert await caller.text("echo", message="one") == "Echo: one"
        process.kill()
        await process.wait()
        async with over_http(tmp_path, port):
            assert await caller.text("echo", message="two") == "Echo: two"


async def test_files(module_nats_url: str, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("something to read")
    spec = program("files", *server("filesystem"), str(tmp_path))
    async with calling(module_nats_url, spec) as caller:
        text = await caller.text("read_text_file", path=str(tmp_path / "note.txt"))
        assert text == "something to read"
        refused = (await caller.call("read_text_file", path="/etc/passwd")).returned
        assert refused is not None
        assert refused.is_error
        assert "outside allowed directories" in str(refused.text)
        big = tmp_path / "big.txt"
        big.write_text("0123456789" * 1_000_000)
        result = (await caller.call("read_text_file", path=str(big))).returned
        assert result is not None
        assert not isinstance(result.text, str)
        assert result.text.size == 10_000_000


async def test_time(module_nats_url: str) -> None:
    async with calling(module_nats_url, program("time", str(BIN / "mcp-server-time"))) as caller:
        listing = await caller.listed()
        assert listing.protocol == "2026-07-28"
        said = await caller.text(
            "convert_time", source_timezone="UTC", time="12:00", target_timezone="Asia/Tokyo"
        )
        assert isinstance(said, str)
        assert "T21:00:00+09:00" in said


async def test_git(module_nats_url: str, tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        subprocess.run(
            ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments],
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )

    git("init", "-b", "main")
    (tmp_path / "a.txt").write_text("a")
    git("add", "a.txt")
    git("commit", "-m", "The first")
    spec = program("git", str(BIN / "mcp-server-git"), "--repository", str(tmp_path))
    async with calling(module_nats_url, spec) as caller:
        said = await caller.text("git_log", repo_path=str(tmp_path))
        assert "The first" in str(said)
