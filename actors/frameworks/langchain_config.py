"""The configuration of a LangChain workflow."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from pydantic import Field

from actors.frameworks.configuring import Config, check_models, check_unique
from actors.frameworks.port import BadWorkflow
from actors.frameworks.tools import check_tool


class ChainStep(Config):
    """One call of a model, or with tools an agent that calls it until it has an answer.

    `prompt_template` has a place `{name}` or `{{name}}` for each variable. `input_variables`, where
    they are given, are all that the step may use.
    """

    model_id: str
    prompt_template: str = Field(min_length=1)
    tools: tuple[str, ...] = Field(
        default=(), description="`mcp:server`, `server:tool` or `server__tool`: makes it an agent"
    )
    max_rounds: int = Field(
        default=12, ge=1, le=100, description="how often an agent's model is asked at most"
    )
    output_key: str = Field(default="", description="default: output_1, output_2, ...")
    input_variables: tuple[str, ...] | None = None
    output_variables: tuple[str, ...] | None = Field(
        default=None, description="another way to name the output: one name"
    )
    system_prompt: str | None = None
    temperature: float | None = None
    max_tokens: int | None = Field(default=None, ge=1)


class LangChainConfig(Config):
    """Steps one after the other, a map and its reduction, or an agent with tools.

    `map_reduce`: the last step reduces what all the others made, which run at the same time. A
    step whose variable is a list runs once an item, and its results are joined by blank lines.
    """

    chain_type: Literal["sequential", "map_reduce", "agent"] = "sequential"
    steps: tuple[ChainStep, ...] = Field(default=(), max_length=100)
    input_variables: tuple[str, ...] | None = Field(
        default=None, description="inputs without which it does not start"
    )
    output_variables: tuple[str, ...] | None = Field(
        default=None, description="what to return; default: what every step made"
    )
    max_concurrency: int = Field(default=5, ge=1, le=100)
    model_id: str = Field(default="", description="agent: its model")
    system_prompt: str | None = Field(default=None, description="agent: what it is told first")
    prompt_template: str = Field(
        default="", description="agent: its task; default: the input `input`"
    )
    tools: tuple[str, ...] = Field(
        default=(), description="agent: `mcp:server`, `server:tool` or `server__tool`"
    )
    max_rounds: int = Field(
        default=12, ge=1, le=100, description="agent: how often its model is asked at most"
    )

    def all_steps(self) -> tuple[ChainStep, ...]:
        """The steps; an agent is one."""
        if self.chain_type != "agent":
            return self.steps
        return (
            ChainStep(
                model_id=self.model_id,
                prompt_template=self.prompt_template or "{{input}}",
                system_prompt=self.system_prompt,
                tools=self.tools,
                max_rounds=self.max_rounds,
                output_key="output",
            ),
        )

    def output_keys(self) -> tuple[str, ...]:
        """The name of each step's output."""
        return tuple(
            step.output_key or (step.output_variables or (f"output_{number}",))[0]
            for number, step in enumerate(self.all_steps(), 1)
        )

    def check(self, models: Collection[str]) -> None:
        """Raise `BadWorkflow` where it cannot run on models of these ids."""
        if self.chain_type == "agent":
            self._check_agent(models)
            return
        if self.tools or self.model_id:
            raise BadWorkflow(
                f"tools and model_id belong to chain_type `agent`; steps of {self.chain_type!r}"
                " name their own"
            )
        least = 2 if self.chain_type == "map_reduce" else 1
        if len(self.steps) < least:
            raise BadWorkflow(
                f"steps: {self.chain_type!r} needs {least} or more (the last one reduces)"
                if least == 2
                else "steps: give at least one"
            )
        check_models(
            ((f"steps.{n}.model_id", s.model_id) for n, s in enumerate(self.steps)), models
        )
        for number, step in enumerate(self.steps):
            if step.output_variables is not None and len(step.output_variables) != 1:
                raise BadWorkflow(f"steps.{number}.output_variables: a step has one output")
            for tool in step.tools:
                check_tool(f"steps.{number}.tools", tool)
        keys = self.output_keys()
        check_unique("steps (output_key)", keys)
        for name in self.output_variables or ():
            if name not in (*keys, *(self.input_variables or ())):
                made = ", ".join(keys)
                raise BadWorkflow(f"output_variables: no step makes {name!r}; they make {made}")

    def _check_agent(self, models: Collection[str]) -> None:
        if self.steps:
            raise BadWorkflow("steps: an agent has none; give model_id, prompt_template and tools")
        check_models([("model_id", self.model_id)], models)
        for tool in self.tools:
            check_tool("tools", tool)
