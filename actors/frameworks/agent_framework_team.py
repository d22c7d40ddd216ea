"""Agents of Agent Framework on the doors, and their orchestration. Imported when one runs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import httpx2
from agent_framework import Agent, FunctionTool, Message, Workflow, WorkflowRunResult
from agent_framework.openai import OpenAIChatCompletionClient
from agent_framework.orchestrations import (
    ConcurrentBuilder,
    GroupChatBuilder,
    GroupChatState,
    SequentialBuilder,
)
from openai import AsyncOpenAI

from actors.frameworks.agent_framework_config import AgentFrameworkConfig, AgentSpec
from actors.frameworks.lost_door import LostDoor
from actors.frameworks.numbers import numbering
from actors.frameworks.port import Doors, WorkflowFailed
from actors.frameworks.tool_door import door_tools
from actors.frameworks.tools import Tool, chosen

Answers = list[tuple[str, str]]
"""Who said what, in order."""


async def answered(workflow: AgentFrameworkConfig, task: str, doors: Doors) -> Answers:
    """What the agents made of the task. At least one answer."""
    async with AsyncExitStack() as open:
        # The door itself bounds a call.
        http = await open.enter_async_context(
            httpx2.AsyncClient(timeout=None, trust_env=False, event_hooks=numbering())
        )
        client = AsyncOpenAI(
            base_url=doors.base_url,
            api_key=doors.token,
            http_client=http,
            max_retries=0,  # a call that is repeated is another call in the log
            timeout=None,
        )
        wanted = any(agent.tools for agent in workflow.agents)
        tools = await open.enter_async_context(door_tools(doors)) if wanted else ()
        lost = LostDoor()
        tools = tuple(lost.watched(tool) for tool in tools)
        agents = [
            _agent(name, spec, client, tools, f"agents.{number}.tools")
            for number, (name, spec) in enumerate(
                zip(workflow.names(), workflow.agents, strict=True)
            )
        ]
        run = await lost.ended(_orchestrated(workflow, agents, client).run(task))
    return _answers(run, workflow)


def _agent(
    name: str, spec: AgentSpec, client: AsyncOpenAI, tools: Sequence[Tool], place: str
) -> Agent[Any]:
    wishes = {"temperature": spec.temperature, "max_tokens": spec.max_tokens}
    chat = OpenAIChatCompletionClient(
        model=spec.model_id,
        async_client=client,
        function_invocation_configuration={"max_iterations": spec.max_calls},
    )
    return Agent(
        chat,
        spec.instructions or None,
        id=name,  # the default is a random one
        name=name,
        description=spec.description or None,
        tools=[_wrapped(tool) for tool in chosen(tools, spec.tools, place)],
        default_options={key: value for key, value in wishes.items() if value is not None},
    )


def _wrapped(tool: Tool) -> FunctionTool:
    async def call(**arguments: Any) -> str:
        return await tool.call(arguments)

    return FunctionTool(
        name=tool.name,
        description=tool.description,
        func=call,
        input_model=dict(tool.parameters),
    )


def _orchestrated(
    workflow: AgentFrameworkConfig, agents: Sequence[Agent[Any]], client: AsyncOpenAI
) -> Workflow:
    if workflow.orchestration == "sequential":
        return SequentialBuilder(
            participants=agents,
            output_from="all",
            ensure_trailing_user_turn=True,  # some servers answer nothing to an answer
        ).build()
    if workflow.orchestration == "concurrent":
        return ConcurrentBuilder(participants=agents, output_from="all").build()
    names, end = workflow.names(), workflow.stop_at

    def in_turn(state: GroupChatState) -> str:
        return names[state.current_round % len(names)]

    def said(conversation: list[Message]) -> bool:
        """Whether the last utterance has the text; the task itself is none."""
        return end is not None and len(conversation) > 1 and end in conversation[-1].text

    if workflow.manager is None:
        chooser: dict[str, Any] = {"selection_func": in_turn}
    else:
        spec = AgentSpec(**workflow.manager.model_dump())
        chooser = {
            "orchestrator_agent": _agent(workflow.manager_name(), spec, client, (), "manager")
        }
    return GroupChatBuilder(
        participants=agents,
        max_rounds=workflow.rounds(),
        termination_condition=None if end is None else said,
        output_from="all",
        **chooser,
    ).build()


def _answers(run: WorkflowRunResult, workflow: AgentFrameworkConfig) -> Answers:
    names = workflow.names()
    answers = [
        (str(event.executor_id), str(event.data.messages[-1].text))
        for event in run
        if event.type == "output" and event.executor_id in names
    ]
    if not answers:
        raise WorkflowFailed("no agent said anything: see the calls of its run")
    if workflow.orchestration == "concurrent":  # whoever is quicker comes first
        answers.sort(key=lambda answer: names.index(answer[0]))
    return answers
