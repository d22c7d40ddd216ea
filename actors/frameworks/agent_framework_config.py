"""The configuration of a workflow of Microsoft Agent Framework, and AutoGen's older one."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from pydantic import Field

from actors.frameworks.configuring import Config, check_models, check_unique
from actors.frameworks.port import BadWorkflow
from actors.frameworks.tools import check_tool

_NAME = r"^[A-Za-z0-9_-]{1,64}$"


class AgentSpec(Config):
    """An agent: a model with instructions, and perhaps tools."""

    model_id: str
    name: str = Field(default="", pattern=r"^[A-Za-z0-9_-]{0,64}$", description="default: agent_1")
    instructions: str = ""
    description: str = Field(default="", description="what the manager of a group chat is told")
    tools: tuple[str, ...] = Field(
        default=(), description="`mcp:server`, `server:tool` or `server__tool`"
    )
    temperature: float | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    max_calls: int = Field(
        default=12,
        ge=1,
        le=100,
        description="how often its model is asked at most for one answer, and once more for the"
        " last word",
    )


class Manager(Config):
    """An agent that says who speaks next in a group chat; its model has to give JSON."""

    model_id: str
    name: str = Field(default="manager", pattern=_NAME)
    instructions: str = "Decide who speaks next, and end the chat when its task is done."


class AgentFrameworkConfig(Config):
    """Agents one after the other, at the same time, or in a group chat."""

    orchestration: Literal["sequential", "concurrent", "group_chat"] = "sequential"
    agents: tuple[AgentSpec, ...] = Field(min_length=1, max_length=50)
    task: str = Field(
        default="{{task}}", min_length=1, description="what they are told, with `{{input}}` places"
    )
    manager: Manager | None = Field(
        default=None, description="group_chat: says who speaks next; default: in turn"
    )
    max_rounds: int | None = Field(
        default=None, ge=1, le=1000, description="group_chat: utterances; default: two each"
    )
    stop_at: str | None = Field(
        default=None, min_length=1, description="group_chat: ends when somebody says this text"
    )

    def names(self) -> tuple[str, ...]:
        """The name of each agent."""
        return tuple(agent.name or f"agent_{n}" for n, agent in enumerate(self.agents, 1))

    def manager_name(self) -> str:
        """The name of its manager; one that nobody chose is no agent's."""
        assert self.manager is not None
        name = self.manager.name
        while "name" not in self.manager.model_fields_set and name in self.names():
            name += "_"
        return name

    def rounds(self) -> int:
        """How many utterances a group chat has at most."""
        return self.max_rounds or 2 * len(self.agents)

    def check(self, models: Collection[str]) -> None:
        """Raise `BadWorkflow` where it cannot run on models of these ids."""
        wanted = [(f"agents.{n}.model_id", agent.model_id) for n, agent in enumerate(self.agents)]
        names = [*self.names()]
        if self.manager is not None:
            wanted.append(("manager.model_id", self.manager.model_id))
            names.append(self.manager_name())
        check_models(wanted, models)
        check_unique("agents", names)
        for number, agent in enumerate(self.agents):
            for tool in agent.tools:
                check_tool(f"agents.{number}.tools", tool)
        if self.orchestration == "group_chat":
            return
        for key in ("manager", "max_rounds", "stop_at"):
            if getattr(self, key) is not None:
                raise BadWorkflow(f"{key}: only a group_chat has one; leave it out")
        if self.orchestration == "concurrent" and len(self.agents) < 2:
            raise BadWorkflow("agents: `concurrent` needs two or more")


class AutoGenAgent(Config):
    """An agent as AutoGen describes it."""

    name: str = Field(pattern=_NAME)
    model_id: str
    system_message: str = "You are a helpful AI assistant."
    description: str = ""
    tools: tuple[str, ...] = ()


class AutoGenConfig(Config):
    """A team of AutoGen: a group chat of Agent Framework runs it."""

    agents: tuple[AutoGenAgent, ...] = Field(min_length=1, max_length=50)
    team: Literal["round_robin", "selector", "RoundRobinGroupChat", "SelectorGroupChat"] = (
        "round_robin"
    )
    model_id: str | None = Field(
        default=None, description="the model that selects; default: the first agent's"
    )
    selector_prompt: str | None = None
    task: str = Field(default="{{task}}", min_length=1)
    max_turns: int | None = Field(default=None, ge=1, le=1000)
    termination: str | None = Field(
        default="TERMINATE", min_length=1, description="ends when somebody says this text"
    )

    def translated(self) -> AgentFrameworkConfig:
        """The same in the terms of Agent Framework."""
        agents = tuple(
            AgentSpec(
                name=agent.name,
                model_id=agent.model_id,
                instructions=agent.system_message,
                description=agent.description,
                tools=agent.tools,
            )
            for agent in self.agents
        )
        manager = None
        if self.team in ("selector", "SelectorGroupChat"):
            manager = Manager(model_id=self.model_id or agents[0].model_id)
            if self.selector_prompt is not None:
                manager = manager.model_copy(update={"instructions": self.selector_prompt})
        return AgentFrameworkConfig(
            orchestration="group_chat",
            agents=agents,
            manager=manager,
            task=self.task,
            max_rounds=self.max_turns,
            stop_at=self.termination,
        )
