"""What every framework that runs agents on the room's doors keeps to."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from actors.frameworks.port import BadWorkflow
from actors.frameworks.registry import BUILT_IN, framework
from tests.frameworks import MODELS, WORKFLOWS, run, run_at
from tests.servers.doors import open_doors

pytestmark = [pytest.mark.contract, pytest.mark.timeout(400)]

every_framework = pytest.mark.parametrize("name", WORKFLOWS)


def test_no_framework_is_left_out() -> None:
    assert {*WORKFLOWS, "n8n"} == {*BUILT_IN}  # n8n is a server of its own


@every_framework
async def test_two_agents_with_tools_ask_the_same_each_time(name: str, tmp_path: Path) -> None:
    first = await run(name, WORKFLOWS[name], tmp_path / "first")
    # What a model says depends on the whole request, so the outputs are equal only if each is.
    assert first.output.startswith(("architect says", "proponent1 says"))
    assert {json.loads(body)["model"] for body in first.asked} == {*MODELS}
    assert first.called == [
        ("words__count", "for architect"),
        ("words__shout", "for architect"),
    ]
    assert any("owls" in body and "FOR ARCHITECT" in body for body in first.asked)

    again = await run(name, WORKFLOWS[name], tmp_path / "again")
    assert again.asked == first.asked
    assert again.reply == first.reply


@every_framework
async def test_nothing_but_the_doors_is_contacted_and_nothing_kept(
    name: str, tmp_path: Path
) -> None:
    ran = await run(name, WORKFLOWS[name], tmp_path / "home")
    assert ran.output
    assert ran.contacted == {"127.0.0.1"}
    assert ran.written == []


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
def test_a_model_that_the_run_does_not_have_is_named_before_anything_runs(name: str) -> None:
    chosen = framework(name)
    chosen.check(WORKFLOWS[name], MODELS)
    with pytest.raises(BadWorkflow, match=r"has no model 'proponent1'; it has architect"):
        chosen.check(WORKFLOWS[name], ["architect"])


@every_framework
def test_the_schema_describes_the_configuration(name: str) -> None:
    import jsonschema

    schema = framework(name).config_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(WORKFLOWS[name], schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**WORKFLOWS[name], "colour": "green"}, schema)
    with pytest.raises(BadWorkflow, match="colour"):
        framework(name).check({**WORKFLOWS[name], "colour": "green"}, MODELS)


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
