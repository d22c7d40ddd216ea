"""What a tool server asks for and tells is bounded, and harms nobody but its own call."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from actors.tools.config import ToolServerSpec
from events.tools import ElicitationAnswered
from tests.integration.tool_calls import Caller, calling, configured
from tests.unit.test_forms import doubling, field

HOSTILE = Path(__file__).parents[1] / "servers" / "mcp_hostile.py"


def hostile(**env: str) -> ToolServerSpec:
    """The server that asks too much."""
    return configured("hostile", {"command": sys.executable, "args": [str(HOSTILE)], "env": env})


async def answers(caller: Caller, step: str) -> Any:
    """What the questions of a call of `ask` were answered with."""
    returned = (await caller.outcome(step)).returned
    assert returned is not None
    assert isinstance(returned.text, str)
    return json.loads(returned.text)


async def test_a_form_that_is_none_is_refused_to_the_tool(module_nats_url: str) -> None:
    async with calling(module_nats_url, hostile()) as caller:
        form = field(type="string", pattern="^(a+)+$")
        step = await caller.begin("ask", json.dumps({"times": 1, "form": form}))
        (refused,) = await answers(caller, step)
        assert "field 'x': 'pattern' does not belong into a form" in refused["message"]


async def test_a_call_asks_one_question_after_the_other_and_not_without_end(
    module_nats_url: str,
) -> None:
    async with calling(module_nats_url, hostile()) as caller:
        step = await caller.begin("ask", json.dumps({"times": 40}))
        for number in range(16):
            question = (await caller.outcome(step)).elicited
            assert question is not None
            assert question.message == f"{number}: "
            assert caller.outcomes[step].empty()  # the next one comes after the answer
            await caller.answer(step, ElicitationAnswered(id=question.id, action="decline"))
        said = await answers(caller, step)
        assert len(said) == 40
        assert [one["action"] for one in said if "action" in one] == ["decline"] * 16
        refused = [one["message"] for one in said if "message" in one]
        assert refused == ["the tool asks the person more than 16 questions"] * 24


async def test_a_schema_that_takes_for_ever_holds_up_no_other_call(module_nats_url: str) -> None:
    async with calling(
        module_nats_url, hostile(TOOLS=json.dumps({"bomb": doubling(40)}))
    ) as caller:
        await caller.listed()
        step = await caller.begin("bomb")
        assert await caller.text("echo") == "{}"
        assert caller.outcomes[step].empty()
        failed = (await caller.outcome(step)).tool_failed
        assert failed is not None
        assert (failed.error, failed.retryable) == ("ToolError", False)
        assert "the arguments could not be checked in time" in failed.message
