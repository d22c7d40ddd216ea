"""What every framework that runs agents on the room's doors keeps to."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from actors.frameworks.port import BadWorkflow
from actors.frameworks.registry import BUILT_IN, framework
from tests.frameworks import MODELS, OTHER_SHAPES, WORKFLOWS, run, run_at
from tests.servers.doors import open_doors

pytestmark = [pytest.mark.contract, pytest.mark.timeout(400)]

every_framework = pytest.mark.parametrize("name", WORKFLOWS)


def test_no_framework_is_left_out() -> None:
    assert {*WORKFLOWS, "n8n"} == {*BUILT_IN}  # n8n is a server of its own


@every_framework
async def test_two_agents_with_tools_ask_the_same_each_time_and_nobody_else(
    name: str, tmp_path: Path
) -> None:
    first = await run(name, WORKFLOWS[name], tmp_path / "first")
    # What a model says depends on the whole request, so the outputs are equal only if each is.
    assert first.output.startswith(("architect says", "proponent1 says"))
    assert {json.loads(body)["model"] for body in first.asked} == {*MODELS}
    assert first.called == [
        ("words__count", "for architect"),
        ("words__shout", "for architect"),
    ]
    assert any("owls" in body and "FOR ARCHITECT" in body for body in first.asked)

    assert first.contacted == {"127.0.0.1"}
    assert first.written == []

    again = await run(name, WORKFLOWS[name], tmp_path / "again")
    assert again.asked == first.asked
    assert again.reply == first.reply


@every_framework
async def test_tools_that_are_called_together_run_together(name: str, tmp_path: Path) -> None:
    async with open_doors() as opened:
        opened.tools.together = asyncio.Barrier(2)
        ran = await run_at(opened, name, WORKFLOWS[name], tmp_path / "home")
    assert any("FOR ARCHITECT" in body for body in ran.asked)  # otherwise one waited in vain


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


@pytest.mark.parametrize("shape", OTHER_SHAPES)
async def test_other_shapes_ask_the_same_each_time(shape: str, tmp_path: Path) -> None:
    """What runs at the same time may arrive in any order."""
    name, config = OTHER_SHAPES[shape]
    ran = [await run(name, config, tmp_path / str(time)) for time in range(2)]
    assert ran[0].output == ran[1].output
    assert sorted(ran[0].asked) == sorted(ran[1].asked)
    assert {json.loads(body)["model"] for body in ran[0].asked} == {*MODELS}
