"""The configuration of a crew. What it leaves out gets a default with which the crew can work."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from pydantic import Field

from actors.frameworks.configuring import Config, check_models
from actors.frameworks.port import BadWorkflow
from actors.frameworks.tools import check_tool


class CrewAgent(Config):
    """An agent; its texts may have `{{input}}` places."""

    model_id: str
    role: str = Field(default="", description="default: Agent 1, Agent 2, ...")
    goal: str = Field(default="Do the given task well and completely.", min_length=1)
    backstory: str = Field(default="You are experienced, careful and brief.", min_length=1)
    tools: tuple[str, ...] = Field(
        default=(), description="`mcp:server`, `server:tool` or `server__tool`"
    )
    allow_delegation: bool = False
    max_iter: int = Field(
        default=12,
        ge=1,
        le=100,
        description="how often its model is asked at most for one task, and once more for the last"
        " word",
    )
    temperature: float | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    verbose: bool = Field(default=False, description="accepted, and without effect")


class CrewTask(Config):
    """A task; its texts may have `{{input}}` places."""

    description: str = Field(min_length=1)
    expected_output: str = Field(default="A complete answer to the task.", min_length=1)
    agent_index: int | None = Field(
        default=None, ge=0, description="counted from 0; default: the agents in turn"
    )
    context: tuple[int, ...] | None = Field(
        default=None, description="earlier tasks, from 0, whose outputs it sees; default: the last"
    )
    name: str = Field(default="", description="default: task_1, task_2, ...")


class CrewConfig(Config):
    """Agents and their tasks."""

    agents: tuple[CrewAgent, ...] = Field(min_length=1, max_length=50)
    tasks: tuple[CrewTask, ...] = Field(min_length=1, max_length=100)
    process: Literal["sequential", "hierarchical"] = "sequential"
    manager_model_id: str | None = Field(
        default=None, description="hierarchical: the manager's model; default: the first agent's"
    )
    verbose: bool = Field(default=False, description="accepted, and without effect")

    def roles(self) -> tuple[str, ...]:
        """The role of each agent."""
        return tuple(agent.role or f"Agent {n}" for n, agent in enumerate(self.agents, 1))

    def task_names(self) -> tuple[str, ...]:
        """The name of each task."""
        return tuple(task.name or f"task_{n}" for n, task in enumerate(self.tasks, 1))

    def agent_of(self, number: int) -> int:
        """Whose task that is, both counted from 0."""
        index = self.tasks[number].agent_index
        return number % len(self.agents) if index is None else index

    def check(self, models: Collection[str]) -> None:
        """Raise `BadWorkflow` where it cannot run on models of these ids."""
        wanted = [(f"agents.{n}.model_id", agent.model_id) for n, agent in enumerate(self.agents)]
        if self.manager_model_id is not None:
            if self.process != "hierarchical":
                raise BadWorkflow("manager_model_id: only a hierarchical process has a manager")
            wanted.append(("manager_model_id", self.manager_model_id))
        check_models(wanted, models)
        for number, agent in enumerate(self.agents):
            for tool in agent.tools:
                check_tool(f"agents.{number}.tools", tool)
        for number, task in enumerate(self.tasks):
            if (task.agent_index or 0) >= len(self.agents):
                raise BadWorkflow(
                    f"tasks.{number}.agent_index: {task.agent_index} is none of the"
                    f" {len(self.agents)} agents, which are counted from 0"
                )
            if any(not 0 <= earlier < number for earlier in task.context or ()):
                raise BadWorkflow(
                    f"tasks.{number}.context: name tasks before this one, counted from 0"
                )
