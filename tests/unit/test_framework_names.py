"""Names that frameworks would read something into, or that collide with hidden ones."""

from __future__ import annotations

import httpx2
import pytest

from actors.frameworks.agent_framework_config import AgentFrameworkConfig, AutoGenConfig
from actors.frameworks.langchain_config import ChainStep
from actors.frameworks.langchain_steps import Steps
from actors.frameworks.port import BadWorkflow, Doors

pytestmark = pytest.mark.unit

AGENTS = [{"name": "manager", "model_id": "a"}, {"name": "writer", "model_id": "a"}]


@pytest.mark.parametrize("id", ["gpt-5-writer", "o1-planner", "writer"])
@pytest.mark.parametrize("wanted", [None, 0.3])
async def test_a_models_name_changes_no_temperature(id: str, wanted: float | None) -> None:
    step = ChainStep(model_id=id, prompt_template="hi", temperature=wanted)
    async with httpx2.AsyncClient() as http:
        steps = Steps([step], Doors("http://here", "http://here/mcp", "t"), http, ())
        assert steps._model(step).temperature == wanted


def test_an_agent_may_be_called_as_the_manager_that_nobody_named() -> None:
    selector = AutoGenConfig.model_validate({"agents": AGENTS, "team": "selector"}).translated()
    chat = AgentFrameworkConfig.model_validate(
        {"orchestration": "group_chat", "agents": AGENTS, "manager": {"model_id": "a"}}
    )
    for team in (selector, chat):
        team.check(["a"])
        assert team.manager_name() not in team.names()
    written = {"model_id": "a", "name": "manager"}
    with pytest.raises(BadWorkflow, match="two are named 'manager'"):
        AgentFrameworkConfig.model_validate(chat.model_dump() | {"manager": written}).check(["a"])
