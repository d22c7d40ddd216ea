"""LangChain: chains of prompts as LCEL, and its agents with the tools of the room."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from actors.frameworks.configuring import parsed
from actors.frameworks.langchain_config import ChainStep, LangChainConfig
from actors.frameworks.numbers import numbering
from actors.frameworks.port import BadWorkflow, Doors, Models, Result
from actors.frameworks.templates import text_of

if TYPE_CHECKING:
    from actors.frameworks.langchain_steps import Steps


class LangChain:
    """Runs chains and agents of LangChain 1."""

    name = "langchain"
    environment = None

    def config_schema(self) -> dict[str, Any]:
        return LangChainConfig.model_json_schema()

    def check(self, config: Mapping[str, Any], models: Collection[str]) -> None:
        parsed(LangChainConfig, config).check(models)

    async def execute(
        self, config: Mapping[str, Any], inputs: Mapping[str, Any], models: Models, doors: Doors
    ) -> Result:
        workflow = parsed(LangChainConfig, config)
        workflow.check(models)
        for name in workflow.input_variables or ():
            if name not in inputs:
                raise BadWorkflow(f"the input {name!r} is missing: give it in `inputs`")
        async with _steps(workflow.all_steps(), doors) as steps:
            if workflow.chain_type == "map_reduce":
                chain = steps.map_reduce(workflow.output_keys())
            else:
                chain = steps.sequential(workflow.output_keys())
            state = await chain.ainvoke(dict(inputs), {"max_concurrency": workflow.max_concurrency})
        made = zip(workflow.output_keys(), workflow.all_steps(), strict=True)
        names = workflow.output_variables or workflow.output_keys()
        return {
            "output": text_of(state[names[-1]]),
            "outputs": {name: state[name] for name in names},
            "steps": [
                {"name": key, "by": step.model_id, "output": text_of(state[key])}
                for key, step in made
            ],
        }


@asynccontextmanager
async def _steps(steps: Sequence[ChainStep], doors: Doors) -> AsyncIterator[Steps]:
    """The steps, with both doors open as far as they are needed."""
    for name in ("LANGSMITH_TRACING", "LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING_V2"):
        os.environ[name] = "false"  # no traces leave, whatever the environment says
    import httpx2

    from actors.frameworks.langchain_steps import Steps
    from actors.frameworks.tool_door import door_tools

    async with AsyncExitStack() as open:
        # The door itself bounds a call.
        http = await open.enter_async_context(
            httpx2.AsyncClient(timeout=None, trust_env=False, event_hooks=numbering())
        )
        wanted = any(step.tools for step in steps)
        tools = await open.enter_async_context(door_tools(doors)) if wanted else ()
        yield Steps(steps, doors, http, tools)
