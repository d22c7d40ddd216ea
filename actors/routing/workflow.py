"""A workflow of another framework: it runs outside, and what it asks becomes steps of the turn."""

from __future__ import annotations

from typing import Any

from actors.routing.asking import Texts
from actors.routing.engine import TurnEngine
from actors.routing.steps import AskStep, CallStep, Emission, Failure
from actors.routing.tool_loop import token
from actors.routing.turn import WORKFLOW, Turn
from events.runs import RunAsked, RunCalled, RunCompleted, RunFailed

PURPOSE = "workflow"


async def route(turn: Turn) -> Any:
    """The turn's answer is the workflow's output."""
    return await turn.run()


def injected(engine: TurnEngine, data: RunAsked | RunCalled, texts: Texts) -> list[Emission]:
    """What follows from a call of the run, which may call what is granted to the workflow alone."""
    if isinstance(data, RunCalled):
        call = CallStep("", data.name, texts.read(data.arguments), owner=WORKFLOW)
        return engine.inject("call", token(data.name), call.with_key)
    ask = AskStep(
        "",
        data.participant,
        purpose=PURPOSE,
        public=False,
        tools=False,
        given=data.given,
        offered=data.tools,
        tool_choice=data.tool_choice,
        parameters=data.parameters,
    )
    return engine.inject("ask", data.participant, ask.with_key)


def outcome(key: str, data: RunCompleted | RunFailed, texts: Texts) -> str | Failure:
    """What the router gets for the run's end."""
    if isinstance(data, RunCompleted):
        return texts.read(data.output)
    return Failure(key.split(":")[1], key, data.error, data.message, data.retryable)
