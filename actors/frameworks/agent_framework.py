"""Microsoft Agent Framework, and AutoGen by its older name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from actors.frameworks.agent_framework_config import AgentFrameworkConfig, AutoGenConfig
from actors.frameworks.configuring import parsed
from actors.frameworks.port import Doors, Models, Result
from actors.frameworks.templates import rendered


class AgentFramework:
    """Runs agents one after the other, at the same time, or in a group chat."""

    name = "agent_framework"
    environment = None

    def config_schema(self) -> dict[str, Any]:
        return AgentFrameworkConfig.model_json_schema()

    def check(self, config: Mapping[str, Any], models: Collection[str]) -> None:
        self._parsed(config).check(models)

    async def execute(
        self, config: Mapping[str, Any], inputs: Mapping[str, Any], models: Models, doors: Doors
    ) -> Result:
        workflow = self._parsed(config)
        workflow.check(models)
        task = rendered(workflow.task, inputs, "task")
        from actors.frameworks.agent_framework_team import answered

        answers = await answered(workflow, task, doors)
        return {
            "output": "\n\n".join(text for _, text in answers)
            if workflow.orchestration == "concurrent"
            else answers[-1][1],
            "outputs": dict(answers),
            "steps": [{"name": "answer", "by": name, "output": text} for name, text in answers],
        }

    def _parsed(self, config: Mapping[str, Any]) -> AgentFrameworkConfig:
        return parsed(AgentFrameworkConfig, config)


class AutoGen(AgentFramework):
    """Runs a team that is configured as AutoGen's are."""

    name = "autogen"

    def config_schema(self) -> dict[str, Any]:
        return AutoGenConfig.model_json_schema()

    def _parsed(self, config: Mapping[str, Any]) -> AgentFrameworkConfig:
        return parsed(AutoGenConfig, config).translated()
