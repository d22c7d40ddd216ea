"""What the provider of OpenAI-compatible servers sends, and leaves out where it is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from actors.providers.config import ProviderSpec, create
from actors.providers.port import ChatMessage, ChatRequest, Tool
from events.errors import ProviderError, ProviderUnavailable
from events.values import Parameters, ToolCall
from tests.contract.provider_calls import ASKED, HEADER, KEY, listen, made, scripted
from tests.servers.chat import DONE, chunk, error, whole
from tests.servers.dialects.vllm import UNTRUSTED, VllmDialect
from tests.servers.scripted import ScriptedServer, listening


async def test_the_request_says_all_that_was_given() -> None:
    tool = Tool("look", "Looks.", {"type": "object", "properties": {}})
    asked = ChatRequest(
        "a-model",
        (
            ChatMessage("system", "Be brief."),
            ChatMessage("user", "Look!", name="ada"),
            ChatMessage(
                "assistant", "", tool_calls=(ToolCall(id="c1", name="look", arguments="{}"),)
            ),
            ChatMessage("tool", "a cat", tool_call_id="c1"),
        ),
        Parameters(
            temperature=0.5,
            top_p=0.9,
            max_tokens=9,
            seed=4,
            stop=("END",),
            extra={"top_k": 3, "temperature": 0.1, "stream": False, "model": "another"},
        ),
        (tool,),
    )
    async with scripted() as (server, provider):
        server.reply(*whole("A cat."))
        await listen(provider, asked)
    (request,) = server.requests
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.headers["X-Extra"] == HEADER
    assert request.body == {
        "model": "a-model",
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.1,
        "top_p": 0.9,
        "max_tokens": 9,
        "seed": 4,
        "stop": ["END"],
        "top_k": 3,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Look!", "name": "ada"},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [
                    {
                        "id": "c1",
                        "type": "function",
                        "function": {"name": "look", "arguments": "{}"},
                    }
                ],
            },
            {"role": "tool", "content": "a cat", "tool_call_id": "c1"},
        ],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "look",
                    "description": "Looks.",
                    "parameters": {"type": "object", "properties": {}},
                },
            }
        ],
    }


async def test_without_a_key_none_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "the key of somebody else")
    async with scripted(api_key=None) as (server, provider):
        server.reply(*whole("Hello"))
        await listen(provider, ASKED)
        assert "Authorization" not in server.requests[0].headers


SCHEMA = {"type": "object", "properties": {}, "additionalProperties": False}


async def test_a_schema_that_the_server_refuses_is_left_out_and_noted() -> None:
    asked = replace(ASKED, parameters=Parameters(schema_=SCHEMA))
    async with scripted() as (server, provider):
        assert provider.capabilities("a-model").structured_output
        server.reply(
            error("Unknown parameter: response_format", param="response_format"), status=400
        )
        server.reply(*whole("{}"))
        answered = await listen(provider, asked)
        assert [note for note in answered.end.notes if "response_format" in note]
        assert [("response_format" in request.body) for request in server.requests] == [True, False]
        await listen(provider, asked)
        assert "response_format" not in server.requests[2].body, "it is refused only once"
        assert not provider.capabilities("a-model").structured_output
        assert provider.capabilities("another-model").structured_output


@pytest.mark.parametrize(
    "said",
    [
        error(
            "Invalid schema for response_format 'answer': In context=('properties', 'unsupported'),"
            " 'allOf' is not permitted.",
            param="response_format",
            code="invalid_json_schema",
        ),
        error("response_format.json_schema.schema: property 'x' is not supported"),
        error("response_format: the schema has too many properties", param="response_format"),
    ],
)
async def test_one_bad_schema_is_an_error_of_its_own(said: bytes) -> None:
    """It changes nothing for whoever asks with a good one."""
    asked = replace(ASKED, parameters=Parameters(schema_=SCHEMA))
    async with scripted() as (server, provider):
        server.reply(said, status=400, content_type="application/json")
        server.reply(*whole("{}"))
        with pytest.raises(ProviderError, match=r"refuses the request.*It says: ") as caught:
            await listen(provider, asked)
        assert not caught.value.retryable
        assert len(server.requests) == 1
        assert provider.capabilities("a-model").structured_output
        await listen(provider, asked)
        assert "response_format" in server.requests[1].body


async def test_a_limit_of_tokens_that_is_too_large_is_an_error() -> None:
    said = "max_tokens is too large: 200000. This model supports at most 128000 completion tokens"
    async with scripted() as (server, provider):
        server.reply(error(said, param="max_tokens", code="invalid_value"), status=400)
        with pytest.raises(ProviderError, match="at most 128000"):
            await listen(provider, replace(ASKED, parameters=Parameters(max_tokens=200_000)))
        assert len(server.requests) == 1


async def test_a_schema_is_not_sent_where_the_configuration_says_so() -> None:
    asked = replace(ASKED, parameters=Parameters(schema_=SCHEMA))
    async with scripted(structured_output=False) as (server, provider):
        server.reply(*whole("{}"))
        await listen(provider, asked)
        assert "response_format" not in server.requests[0].body
        assert not provider.capabilities("a-model").structured_output


async def test_the_limit_of_tokens_goes_by_the_name_that_the_server_knows() -> None:
    asked = replace(ASKED, parameters=Parameters(max_tokens=5))
    async with scripted() as (server, provider):
        server.reply(
            error("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."),
            status=400,
        )
        server.reply(*whole("Hi"))
        await listen(provider, asked)
        await listen(provider, asked)
        sent = [
            {key: value for key, value in request.body.items() if "tokens" in key}
            for request in server.requests
        ]
        assert sent == [
            {"max_tokens": 5},
            {"max_completion_tokens": 5},
            {"max_completion_tokens": 5},
        ]


async def test_an_old_server_is_asked_without_what_it_does_not_know() -> None:
    async with scripted() as (server, provider):
        server.reply(error("extra fields not permitted", param="stream_options"), status=422)
        server.reply(chunk("Hi", finish="stop"), DONE)
        answered = await listen(provider, ASKED)
        assert (answered.text, answered.end.usage) == ("Hi", None)
        assert ["stream_options" in request.body for request in server.requests] == [True, False]


async def test_what_is_refused_again_is_an_error_and_not_remembered() -> None:
    asked = replace(ASKED, parameters=Parameters(schema_=SCHEMA))
    async with scripted() as (server, provider):
        server.reply(error("response_format is unknown, and so is all else"), status=400)
        with pytest.raises(ProviderError, match="refuses the request"):
            await listen(provider, asked)
        assert len(server.requests) == 2
        assert provider.capabilities("a-model").structured_output


TEMPLATED = replace(ASKED, chat_template="{{ messages }}")
NOTE = "chat_template: the server uses its own"


@pytest.mark.parametrize("said", [True, False])
async def test_a_chat_template_is_sent_where_it_is_said_that_the_server_takes_it(
    said: bool,
) -> None:
    async with scripted(chat_template=said) as (server, provider):
        assert provider.capabilities(ASKED.model).chat_template is said
        server.reply(*whole("Yes."))
        await listen(provider, TEMPLATED)
        assert server.requests[0].body.get("chat_template") == ("{{ messages }}" if said else None)
        assert server.asked_for == []


async def test_a_chat_template_is_sent_to_a_server_that_lists_its_models_as_vllm_does() -> None:
    async with scripted() as (server, provider):
        server.pages.update(VllmDialect().pages())
        server.reply(*whole("Yes."))
        await listen(provider, ASKED)
        assert server.asked_for == [], "who brings no template need not wait for the list"
        for _ in range(2):
            answered = await listen(provider, TEMPLATED)
            assert server.requests[-1].body["chat_template"] == "{{ messages }}"
            assert NOTE not in answered.end.notes
        assert server.asked_for == ["/v1/models"]
        assert provider.capabilities(ASKED.model).chat_template


@pytest.mark.parametrize("page", [None, {"data": [{"id": "a"}]}, {"data": [{"owned_by": "me"}]}, 7])
async def test_no_chat_template_is_sent_to_another_server_which_is_noted_once(page: Any) -> None:
    async with scripted() as (server, provider):
        if page is None:
            del server.pages["/v1/models"]
        else:
            server.pages["/v1/models"] = page
        server.reply(*whole("Yes."))
        assert provider.capabilities(ASKED.model).chat_template, "it is not known yet"
        assert NOTE in (await listen(provider, TEMPLATED)).end.notes
        # From now on whoever asks knows it before.
        assert not provider.capabilities(ASKED.model).chat_template
        assert NOTE not in (await listen(provider, TEMPLATED)).end.notes
        assert all("chat_template" not in request.body for request in server.requests)
        assert server.asked_for == ["/v1/models"]


async def test_a_server_that_is_down_is_not_taken_for_one_without_templates() -> None:
    async with made("openai", base_url="http://127.0.0.1:9/v1") as provider:
        with pytest.raises(ProviderUnavailable):
            await listen(provider, TEMPLATED)
        assert provider.capabilities(ASKED.model).chat_template


def test_the_official_server_takes_no_chat_template() -> None:
    for config in ({}, {"base_url": "http://127.0.0.1:9/v1", "api": "responses"}):
        provider = create(ProviderSpec(id="one", type="openai", config=config), {})
        assert not provider.capabilities("gpt").chat_template


@pytest.mark.parametrize("type", ["openai", "nvidia"])
async def test_vllm_that_was_not_told_to_trust_templates_says_what_to_do(type: str) -> None:
    vllm = VllmDialect()
    server = ScriptedServer(vllm.pages())
    server.reply(vllm.failure(400, UNTRUSTED), status=400, content_type="application/json")
    async with listening(server), made(type, base_url=f"{server.url}/v1") as provider:
        with pytest.raises(ProviderError, match="start its server with --trust-request") as caught:
            await listen(provider, TEMPLATED)
        assert caught.type is ProviderError
        assert not caught.value.retryable
        assert len(server.requests) == 1
