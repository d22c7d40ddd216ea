"""The steps of a LangChain workflow as runnables. Imported when one runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx2
from langchain.agents import create_agent
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda, RunnablePassthrough
from langchain_core.tools import StructuredTool
from langchain_openai import ChatOpenAI
from langgraph.errors import GraphRecursionError
from pydantic import SecretStr

from actors.frameworks.langchain_config import ChainStep
from actors.frameworks.port import Doors, WorkflowFailed
from actors.frameworks.templates import names_in, rendered
from actors.frameworks.tools import Tool, chosen

State = dict[str, Any]
"""The inputs, and what the steps made so far, by name."""


class Steps:
    """Makes one runnable, from the inputs to the last state, of all the steps."""

    def __init__(
        self,
        steps: Sequence[ChainStep],
        doors: Doors,
        http: httpx2.AsyncClient,
        tools: Sequence[Tool],
    ) -> None:
        self._doors = doors
        self._http = http
        self._tools = tools
        self._steps = steps

    def sequential(self, keys: Sequence[str]) -> Runnable[State, State]:
        """One step after the other; each adds its output under its key."""
        chain: Runnable[State, State] = RunnablePassthrough()
        for number, key in enumerate(keys):
            chain = chain | RunnablePassthrough.assign(**{key: self._once(number)})
        return chain

    def map_reduce(self, keys: Sequence[str]) -> Runnable[State, State]:
        """All steps but the last at the same time, and then the last."""
        maps = {key: self._mapped(number) for number, key in enumerate(keys[:-1])}
        reduction = self._once(len(maps))
        return RunnablePassthrough.assign(**maps) | RunnablePassthrough.assign(
            **{keys[-1]: reduction}
        )

    def _once(self, number: int) -> Runnable[State, str]:
        """Prompt, model, text."""
        step, place = self._steps[number], f"steps.{number}"

        def prompt(state: State) -> list[BaseMessage]:
            seen = state
            if step.input_variables is not None:
                seen = {name: state[name] for name in step.input_variables if name in state}
            messages: list[BaseMessage] = []
            if step.system_prompt is not None:
                messages.append(SystemMessage(rendered(step.system_prompt, seen, place)))
            return [*messages, HumanMessage(rendered(step.prompt_template, seen, place))]

        answer = self._agent(step, place) if step.tools else self._model(step) | StrOutputParser()
        return RunnableLambda(prompt) | answer

    def _mapped(self, number: int) -> Runnable[State, str]:
        """The step once for each item of the first of its variables that is a list, or once."""
        step, once = self._steps[number], self._once(number)

        async def mapped(state: State, config: RunnableConfig) -> str:
            wanted = step.input_variables or names_in(step.prompt_template, state)
            over = next((name for name in wanted if isinstance(state.get(name), list)), None)
            if over is None:
                return await once.ainvoke(state, config)
            parts = await once.abatch([{**state, over: item} for item in state[over]], config)
            return "\n\n".join(parts)

        return RunnableLambda(mapped)

    def _agent(self, step: ChainStep, place: str) -> Runnable[list[BaseMessage], str]:
        tools = chosen(self._tools, step.tools, f"{place}.tools")
        agent: Any = create_agent(  # its types know no plain messages
            self._model(step), [_wrapped(tool) for tool in tools]
        )

        async def answer(messages: list[BaseMessage], config: RunnableConfig) -> str:
            bounded: RunnableConfig = {**config, "recursion_limit": 2 * step.max_rounds}
            try:
                state = await agent.ainvoke({"messages": messages}, bounded)
            except GraphRecursionError:
                raise WorkflowFailed(
                    f"{place}: the agent had no answer after {step.max_rounds} rounds: raise"
                    " max_rounds, or ask for less"
                ) from None
            return str(state["messages"][-1].text)

        return RunnableLambda(answer)

    def _model(self, step: ChainStep) -> ChatOpenAI:
        more: dict[str, Any] = {}
        if step.max_tokens is not None:
            more["max_completion_tokens"] = step.max_tokens
        model = ChatOpenAI(
            model_name=step.model_id,
            openai_api_base=self._doors.base_url,
            openai_api_key=SecretStr(self._doors.token),
            http_async_client=self._http,
            max_retries=0,  # a call that is repeated is another call in the log
            request_timeout=None,
            use_responses_api=False,
            **more,
        )
        # It reads models of OpenAI's into ids such as `gpt-5-writer`, and leaves theirs out.
        model.temperature = step.temperature
        return model


def _wrapped(tool: Tool) -> StructuredTool:
    async def call(**arguments: Any) -> str:
        return await tool.call(arguments)

    return StructuredTool.from_function(
        coroutine=call,
        name=tool.name,
        description=tool.description or tool.name,
        args_schema=dict(tool.parameters),
    )
