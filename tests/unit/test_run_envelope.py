"""The envelope of a run: the forms in which it may be written, and the session that it becomes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from actors.frameworks.registry import BUILT_IN
from actors.workflow import inputs_of
from api.problems import ProblemError
from api.run_envelope import NewRun, check_toolchain, checked, granted
from events.grants import ToolGrant
from tests.frameworks import MODELS, WORKFLOWS

DOCUMENT = Path(__file__).parents[2] / "docs" / "workflows.md"
STEP = {"model_id": "model_1", "prompt_template": "Talk."}
CHAIN = {"type": "langchain", "config": {"steps": [STEP]}}


def test_inputs_are_posted_as_they_are() -> None:
    run = NewRun.model_validate({"inputs": {"n": 123456789012345678901, "a": ["ü", 0.5, None]}})
    assert run.message == '{"a":["ü",0.5,null],"n":123456789012345678901}'
    assert inputs_of(run.message) == run.inputs
    for text in ("owls", "[1]", '{"n": NaN}', '{"n": "\\ud83d"}', '{"n": ' + 5000 * "1" + "}"):
        assert inputs_of(text) == {"input": text}


def grants(*names: str | dict[str, Any]) -> tuple[ToolGrant, ...]:
    return tuple(ToolGrant.model_validate(name) for name in names)


@pytest.mark.parametrize(
    "models",
    [
        ["acme/big/one"],
        [{"provider": "acme", "model_name": "big/one"}],
        [{"provider": "acme", "model": "big/one", "id": "model_1"}],
        {"model_1": "acme/big/one"},
        {"model_1": {"provider": "acme", "model_name": "big/one"}},
    ],
)
async def test_models_may_be_written_in_several_ways(models: Any) -> None:
    run = NewRun.model_validate({"framework": CHAIN, "models": models})
    (model,) = (await checked(run, "s1")).models
    assert (model.id, model.provider, model.model_name) == ("model_1", "acme", "big/one")


def test_tools_that_the_configuration_names_are_granted() -> None:
    config = {
        "agents": [{"tools": ["mcp:files", "time:now", "git__log"]}, {"tools": ["mcp:files:read"]}],
        "deep": {"anywhere": ["mcp:web:get"]},
        "text": "mcp: is the protocol, mcp:not_this one",
        "steps": ["words"],
    }
    assert granted((), config) == grants("files", "time:now", "git:log", "web:get")


def test_a_server_that_is_given_is_granted_as_it_is_given() -> None:
    given = grants({"server": "files", "tools": ["read"], "approval": True})
    assert granted(given, {"tools": ["mcp:files", "mcp:time"]}) == (*given, *grants("time"))
    with pytest.raises(ProblemError, match=r"framework\.config: 'no tool' names no tool server"):
        granted((), {"tools": ["no tool"]})


def test_a_tool_that_needs_approval_needs_it_where_its_server_is_granted_whole() -> None:
    asked = {"server": "files", "tools": ["write"], "approval": True}
    given = grants("files", "files:read", asked)
    assert granted(given, {}) == grants("files", asked)
    assert granted(given, {"tools": ["mcp:files"]}) == grants("files", asked)


@pytest.mark.parametrize("name", sorted(WORKFLOWS))
async def test_the_tools_of_every_framework_are_found(name: str) -> None:
    assert name in BUILT_IN
    models = dict.fromkeys(MODELS, "acme/one")
    framework = {"type": name, "config": WORKFLOWS[name]}
    run = NewRun.model_validate({"framework": framework, "models": models})
    workflow = (await checked(run, "s1")).workflow
    assert workflow
    assert workflow.framework == name
    assert {grant.server for grant in workflow.tools} == {"words"}


async def test_the_envelope_of_the_document_can_be_run() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    await check_toolchain(yaml.safe_load(block))
