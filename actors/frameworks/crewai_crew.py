"""A crew on the doors. Imported in CrewAI's own environment, when one runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

import httpx
from crewai import Agent, Crew, Process, Task
from crewai.agents.agent_executor import AgentExecutor
from crewai.llms.hooks.base import BaseInterceptor
from crewai.llms.providers.openai.completion import OpenAICompletion
from crewai.tools import BaseTool
from crewai.utilities.agent_utils import extract_tool_call_info
from crewai.utilities.pydantic_schema_utils import create_model_from_schema
from crewai.utilities.string_utils import sanitize_tool_name
from pydantic import PrivateAttr

from actors.frameworks.crewai_config import CrewAgent, CrewConfig
from actors.frameworks.crewai_tools import door_tools
from actors.frameworks.lost_door import LostDoor
from actors.frameworks.port import Doors, WorkflowFailed
from actors.frameworks.templates import rendered
from actors.frameworks.tools import Tool, chosen

_PATIENCE = 7 * 24 * 3600.0
"""Seconds. The door itself bounds a call; CrewAI takes no `None` for none."""


async def run(workflow: CrewConfig, inputs: Mapping[str, Any], doors: Doors) -> list[str]:
    """The output of each task, in order.

    CrewAI works in a thread that cannot be ended. When this is cancelled, or a tool could not be
    called, the thread's next call of a model or a tool fails; the one in flight ends when the door
    ends it.
    """
    loop, over = asyncio.get_running_loop(), threading.Event()
    async with AsyncExitStack() as open:
        wanted = any(agent.tools for agent in workflow.agents)
        tools = await open.enter_async_context(door_tools(doors)) if wanted else ()
        lost = LostDoor()
        tools = tuple(lost.watched(tool) for tool in tools)
        crew = _Crew(workflow, inputs, doors, tools=tools, loop=loop, over=over)
        try:
            return await lost.ended(asyncio.to_thread(crew.kickoff))
        finally:
            over.set()


class _Crew:
    def __init__(
        self,
        workflow: CrewConfig,
        inputs: Mapping[str, Any],
        doors: Doors,
        *,
        tools: Sequence[Tool],
        loop: asyncio.AbstractEventLoop,
        over: threading.Event,
    ) -> None:
        self._workflow = workflow
        self._inputs = inputs
        self._doors = doors
        self._tools = tools
        self._loop = loop
        self._over = over

    def kickoff(self) -> list[str]:
        """Make the crew, and have it work."""
        workflow = self._workflow
        agents = [
            self._agent(number, role, agent)
            for number, (role, agent) in enumerate(
                zip(workflow.roles(), workflow.agents, strict=True)
            )
        ]
        tasks: list[Task] = []
        for number, (name, spec) in enumerate(
            zip(workflow.task_names(), workflow.tasks, strict=True)
        ):
            place = f"tasks.{number}"
            seen = {} if spec.context is None else {"context": [tasks[n] for n in spec.context]}
            task = Task(
                name=name,
                description=rendered(spec.description, self._inputs, f"{place}.description"),
                expected_output=rendered(
                    spec.expected_output, self._inputs, f"{place}.expected_output"
                ),
                agent=agents[workflow.agent_of(number)],
                **seen,
            )
            tasks.append(task)
        hierarchical = workflow.process == "hierarchical"
        manager = workflow.manager_model_id or workflow.agents[0].model_id
        crew = Crew(
            agents=agents,
            tasks=tasks,
            process=Process.hierarchical if hierarchical else Process.sequential,
            manager_llm=self._model(manager) if hierarchical else None,
            verbose=False,
            memory=False,
            cache=False,
            tracing=False,
            share_crew=False,
        )
        done = crew.kickoff()
        return [str(output.raw) for output in done.tasks_output]

    def _agent(self, number: int, role: str, spec: CrewAgent) -> Agent:
        place = f"agents.{number}"
        tools = chosen(self._tools, spec.tools, f"{place}.tools")
        return Agent(
            role=rendered(role, self._inputs, f"{place}.role"),
            goal=rendered(spec.goal, self._inputs, f"{place}.goal"),
            backstory=rendered(spec.backstory, self._inputs, f"{place}.backstory"),
            llm=self._model(
                spec.model_id, temperature=spec.temperature, max_tokens=spec.max_tokens
            ),
            tools=[_wrapped(tool, self._loop, self._over) for tool in tools],
            allow_delegation=spec.allow_delegation,
            max_iter=spec.max_iter,
            max_retry_limit=0,  # the room tries again, and records it
            use_better_compaction=False,  # it names files of this machine to the model
            cache=False,
            verbose=False,
        )

    def _model(self, id: str, **parameters: Any) -> OpenAICompletion:
        """A model for one agent; what two agents share counts their usage twice."""
        model = OpenAICompletion(
            model=id,
            provider="openai",
            api_key=self._doors.token,
            base_url=self._doors.base_url,
            api="completions",
            timeout=_PATIENCE,
            max_retries=0,
            interceptor=_Ending(self._over),
            **{name: value for name, value in parameters.items() if value is not None},
        )
        # It takes any name with "o1" in it for a model of OpenAI's that has no tools.
        model.is_o1_model = model.is_gpt4_model = False
        return model


class _Ending(BaseInterceptor[httpx.Request, httpx.Response]):
    """Lets no request leave once the run is over; and has it use no proxy."""

    def __init__(self, over: threading.Event) -> None:
        self._over = over

    def on_outbound(self, message: httpx.Request) -> httpx.Request:
        if self._over.is_set():
            raise WorkflowFailed("the run is over")
        return message

    def on_inbound(self, message: httpx.Response) -> httpx.Response:
        return message

    async def aon_outbound(self, message: httpx.Request) -> httpx.Request:
        return self.on_outbound(message)

    async def aon_inbound(self, message: httpx.Response) -> httpx.Response:
        return message


class _DoorTool(BaseTool):
    """A tool at the door, called from CrewAI's threads."""

    _tool: Tool = PrivateAttr()
    _loop: asyncio.AbstractEventLoop = PrivateAttr()
    _over: threading.Event = PrivateAttr()

    def _run(self, **arguments: Any) -> str:
        if self._over.is_set():
            raise WorkflowFailed("the run is over")
        calling = asyncio.run_coroutine_threadsafe(_call(self._tool, arguments), self._loop)
        return calling.result()


async def _call(tool: Tool, arguments: Mapping[str, Any]) -> str:
    return await tool.call(arguments)


def _wrapped(tool: Tool, loop: asyncio.AbstractEventLoop, over: threading.Event) -> _DoorTool:
    wrapped = _DoorTool(
        name=tool.name,
        description=tool.description or tool.name,
        args_schema=create_model_from_schema(
            dict(tool.parameters), model_name=f"{tool.name}_arguments"
        ),
    )
    wrapped._tool, wrapped._loop, wrapped._over = tool, loop, over
    return wrapped


_safe_at_once = AgentExecutor._should_parallelize_native_tool_calls


def _only_doors_at_once(executor: AgentExecutor, calls: list[Any]) -> bool:
    """Whether these tools are called at the same time: only those of the room are.

    An agent that is delegated to twice at once refuses one of both, by chance either.
    """
    ours = {
        sanitize_tool_name(tool.name)
        for tool in executor.original_tools or ()
        if isinstance(tool, _DoorTool)
    }
    named = [told[1] for call in calls if (told := extract_tool_call_info(call))]
    return bool(_safe_at_once(executor, calls)) and ours.issuperset(named)


AgentExecutor._should_parallelize_native_tool_calls = _only_doors_at_once  # it is no setting
