"""What a tool server asks for and tells is bounded, and harms nobody but its own call."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest

from actors.tools.actor import secret_texts
from actors.tools.config import ToolServerSpec
from events.tools import ElicitationAnswered
from tests.integration.tool_calls import Caller, calling, configured
from tests.unit.test_forms import doubling, field
from tests.waiting import eventually

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


async def test_structured_content_is_checked_where_it_holds_up_no_other_call(
    module_nats_url: str,
) -> None:
    never: dict[str, Any] = {"type": "object", "required": ["never"]}
    async with calling(module_nats_url, hostile(KEY="", OUTPUT=json.dumps(never))) as caller:
        await caller.listed()
        error, message = await caller.failure("env")
        assert error == "BadResult"
        assert "the structured content does not fit the schema of 'env': 'never'" in message
    async with calling(module_nats_url, hostile(OUTPUT=json.dumps(doubling(40)))) as caller:
        await caller.listed()
        step = await caller.begin("env")
        assert await caller.text("echo") == "{}"
        assert caller.outcomes[step].empty()
        returned = (await caller.outcome(step)).returned
        assert returned is not None
        assert returned.notes == ("the structured content could not be checked against its schema",)


async def test_what_a_configuration_refers_to_is_in_nothing_that_a_server_says(
    module_nats_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    key = 'hidden-from-all "1"'
    spec = hostile(KEY="${THE_KEY}", TOOLS=json.dumps({f"x-{key}": {"type": "object"}}))
    async with calling(module_nats_url, spec, {"THE_KEY": key}) as caller:
        listing = await caller.listed()
        assert listing.implementation == f"{'x' * 195}[secr"
        assert listing.tools is not None
        tools = json.loads(caller.blobs.get(listing.tools))
        assert [tool["description"] for tool in tools] == [
            "ask [secret]",
            "env [secret]",
            "echo [secret]",
        ]
        returned = (await caller.call("env")).returned
        assert returned is not None
        assert returned.text == "KEY=[secret]"
        assert returned.structured == '{"[secret]":[{"key":"is [secret]"}]}'
        assert returned.implementation == listing.implementation
        await eventually(lambda: caller.deltas, within=10, what="progress")
        step = await caller.begin("ask", json.dumps({"times": 1}))
        question = (await caller.outcome(step)).elicited
        assert question is not None
        assert question.message == "0: [secret]"
        told = [one.model_dump_json() for one in (*caller.listings, returned)]
        assert "hidden" not in "".join(told) + json.dumps(caller.deltas)
        await eventually(lambda: "what is no message" in caplog.text, within=10, what="the log")
    assert "hidden-f" not in caplog.text


def test_how_a_secret_may_come_back() -> None:
    found = ("/home/ada", "a\nb\u00e4")
    assert set(secret_texts(found, {"HOME": "/home/ada"})) == {
        "a\nb\u00e4",
        "a",
        "b\u00e4",
        "a\\nb\\u00e4",
        "a\\nb\u00e4",
    }
