"""That a tool has to be called: by each API's own parameter, or in words where it takes none."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import anthropic.types
import openai.types.chat
import openai.types.responses
import pytest
from pydantic import TypeAdapter

from actors.providers.chat_template import CHATML, render
from actors.providers.forced_calls import NOTE, told
from actors.providers.port import ChatMessage
from events.values import Parameters
from tests.contract.every_provider import ASKED, answer, serving, those_with
from tests.contract.provider_calls import listen
from tests.contract.test_every_provider_tools import CHAIN, TOOL
from tests.servers.dialects.anthropic import AnthropicDialect
from tests.servers.dialects.chat import ChatDialect
from tests.servers.dialects.dialect import Dialect
from tests.servers.dialects.generic import TEMPLATE, GenericDialect
from tests.servers.dialects.llama_cpp import LlamaCppRawDialect
from tests.servers.dialects.ollama_raw import OllamaRawDialect
from tests.servers.dialects.responses import ResponsesDialect

WISH = "Answer by calling the tool look_up, and not with a text."
FORCED = replace(ASKED, tools=(TOOL,), tool_choice="required")
LAST = replace(FORCED, messages=CHAIN, tool_choice="none")
WITHOUT = {"ollama", "oobabooga"}
"""Types whose servers take no such wish, or pass over it."""


async def sent(dialect: Dialect, asked: Any = FORCED, **config: Any) -> tuple[Any, Any]:
    """The body of the request, and the notes of the answer."""
    async with serving(dialect, *answer(dialect, "Yes."), config=config) as (server, provider):
        answered = await listen(provider, asked)
        return server.requests[0].body, answered.end.notes


def declared(type: Any, value: Any) -> Any:
    """The value; fails where it is not of the type."""
    return TypeAdapter(type).validate_python(value)


@those_with("tools")
async def test_every_model_is_told_by_parameter_or_in_words(dialect: Dialect) -> None:
    body, notes = await sent(dialect)
    assert dialect.may_call(body)
    in_words = dialect.type in WITHOUT
    assert json.dumps(body).count(WISH) == in_words
    assert (NOTE in notes) is in_words
    choices = {str(value) for key, value in body.items() if key.endswith(("choice", "abilities"))}
    assert bool(choices & {"required", "{'type': 'any'}"}) is not in_words


async def test_the_forms_are_those_that_the_vendors_declare() -> None:
    body, _ = await sent(ChatDialect())
    option = openai.types.chat.ChatCompletionToolChoiceOptionParam
    assert declared(option, body["tool_choice"]) == "required"
    body, _ = await sent(ResponsesDialect())
    options = openai.types.responses.ToolChoiceOptions
    assert declared(options, body["tool_choice"]) == "required"
    body, _ = await sent(AnthropicDialect())
    any_of_them = anthropic.types.ToolChoiceAnyParam
    assert declared(any_of_them, body["tool_choice"]) == {"type": "any"}


# --- in words ------------------------------------------------------------------------------------


def test_the_words_stand_where_any_model_takes_them() -> None:
    asked = replace(FORCED, messages=CHAIN[:1])
    assert told(asked).messages == (ChatMessage("user", f"Where?\n\n{WISH}"),)
    after_a_tool = told(replace(asked, messages=CHAIN)).messages
    assert after_a_tool == (ChatMessage("system", WISH), *CHAIN)
    prompt = ChatMessage("system", "Be brief.")
    first, *others = told(replace(asked, messages=(prompt, *CHAIN))).messages
    assert first == ChatMessage("system", f"Be brief.\n\n{WISH}")
    assert tuple(others) == CHAIN
    assert told(replace(asked, messages=())).messages == (ChatMessage("system", WISH),)


def test_several_tools_are_left_to_choose_from_and_without_the_wish_nothing_is_said() -> None:
    others = (TOOL, replace(TOOL, name="look_down"))
    [said] = told(replace(FORCED, tools=others)).messages
    assert said.content.endswith("Answer by calling one of the tools, and not with a text.")
    assert told(FORCED).tool_choice is None
    for choice in (None, "none"):
        asked = replace(FORCED, tool_choice=choice)
        assert told(asked) is asked


@pytest.mark.parametrize(
    "dialect", [OllamaRawDialect(), LlamaCppRawDialect()], ids=lambda one: type(one).__name__
)
async def test_a_template_is_shown_the_words(dialect: Dialect) -> None:
    body, notes = await sent(dialect)
    assert WISH in body["prompt"]
    assert NOTE in notes


def test_a_template_sees_the_tools_that_have_to_be_called() -> None:
    template = CHATML + "{% for tool in tools or () %}{{ tool.function.name }}{% endfor %}"
    assert render(template, FORCED).endswith("look_up")
    assert not render(template, replace(FORCED, tool_choice="none")).endswith("look_up")


async def test_a_request_template_without_a_place_for_the_wish_has_the_words() -> None:
    template = {key: value for key, value in TEMPLATE.items() if key != "use_abilities"}
    body, notes = await sent(GenericDialect("sse"), request_template=template)
    assert body["conversation"][-1]["content"].endswith(WISH)
    assert body["abilities"]
    assert NOTE in notes


# --- who is refused ------------------------------------------------------------------------------


async def refused(dialect: Dialect, message: str) -> None:
    """Three calls of which the first is refused so: the words are known from then on."""
    async with serving(dialect, dialect.failure(400, message), status=400) as (server, provider):
        server.reply(*answer(dialect, "Yes."), content_type=dialect.content_type)
        for _ in range(2):
            assert NOTE in (await listen(provider, FORCED)).end.notes
        first, *others = [json.dumps(request.body) for request in server.requests]
        assert WISH not in first
        assert len(others) == 2, "it is refused once"
        assert all(WISH in body and "tool_choice" not in body for body in others)
        await listen(provider, LAST)
        assert not dialect.may_call(server.requests[-1].body), "that is taken all the same"


@pytest.mark.parametrize(
    "message",
    [
        "Thinking mode does not support this tool_choice",
        "<400> InternalError.Algo.InvalidParameter: The tool_choice parameter does not support"
        " being set to required or object in thinking mode",
    ],
    ids=["deepseek", "qwen"],
)
async def test_who_may_not_be_forced_is_told_in_words(message: str) -> None:
    await refused(ChatDialect(), message)


@pytest.mark.parametrize(
    "message",
    [
        "tool_choice forces tool use is not compatible with this model.",
        'tool_choice: type "tool" and "any" are not supported for this model.',
        "Thinking may not be enabled when tool_choice forces tool use.",
    ],
    ids=["no_force", "types", "always_thinks"],
)
async def test_a_claude_that_may_not_be_forced_is_told_in_words(message: str) -> None:
    await refused(AnthropicDialect(), message)


@pytest.mark.parametrize("thinking", ["adaptive", "enabled"])
async def test_a_claude_that_thinks_is_told_in_words_at_once(thinking: str) -> None:
    how = {"type": thinking, "budget_tokens": 2000}
    body, notes = await sent(AnthropicDialect(), thinking=how)
    assert (body["thinking"], "tool_choice" in body) == (how, False)
    assert WISH in body["messages"][-1]["content"][-1]["text"]
    assert NOTE in notes
    by_extra = replace(FORCED, parameters=Parameters(extra={"thinking": how}))
    body, _ = await sent(AnthropicDialect(), by_extra)
    assert "tool_choice" not in body


async def test_a_claude_whose_thinking_is_left_out_can_be_forced() -> None:
    how = {"type": "enabled", "budget_tokens": 2000}
    body, notes = await sent(AnthropicDialect(), replace(FORCED, messages=CHAIN), thinking=how)
    assert (body["tool_choice"], "thinking" in body) == ({"type": "any"}, False)
    assert NOTE not in notes
    body, _ = await sent(AnthropicDialect(), thinking={"type": "disabled"})
    assert body["tool_choice"] == {"type": "any"}
