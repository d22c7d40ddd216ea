"""What only the provider `generic_http` does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from actors.providers.config import create, parse
from actors.providers.generic_answer import normalised
from actors.providers.port import ChatMessage, ChatRequest, Provider, Tool
from actors.providers.request_template import RequestTemplate
from actors.providers.sandbox import TemplateFault
from events.errors import (
    AuthenticationFailed,
    BadResponse,
    ConfigError,
    ContentFiltered,
    ProviderError,
)
from events.values import Parameters, ToolCall, Usage
from tests.contract.provider_calls import KEY, listen, made
from tests.servers.dialects.dialect import PICTURE
from tests.servers.scripted import HANG, ScriptedServer, Step, listening

BLUEPRINT: dict[str, Any] = {
    "endpoint": "https://my-custom-llm.com/v1/chat",
    "headers": {"X-API-Key": "${CUSTOM_API_KEY}"},
    "request_template": {
        "model": "{{ config.model_name }}",
        "messages": "{{ messages }}",
        "temperature": "{{ config.temperature }}",
    },
    "response_path": "$.choices[0].message.content",
}
ASKED = ChatRequest(
    "a-model", (ChatMessage("system", "Be brief."), ChatMessage("user", "Hello {{ 1 }}"))
)
YES = json.dumps({"choices": [{"message": {"content": "Yes."}}]}).encode()
SSE = {"format": "sse", "text_path": "$.t"}


def written(**config: Any) -> str:
    """A provider file with that configuration."""
    entry = {"id": "custom_api", "type": "generic_http", "config": {**BLUEPRINT, **config}}
    return json.dumps({"providers": [entry]})


@asynccontextmanager
async def asking(
    *steps: Step, status: int = 200, content_type: str = "application/json", **config: Any
) -> AsyncIterator[tuple[ScriptedServer, Provider]]:
    server = ScriptedServer({})
    server.reply(*(steps or [YES]), status=status, content_type=content_type)
    async with listening(server):
        here = {"endpoint": f"{server.url}/v1/chat", "headers": {"X-API-Key": "${KEY}"}}
        async with made("generic_http", **{**BLUEPRINT, **here, **config}) as provider:
            yield server, provider


async def sent(template: Any, asked: ChatRequest = ASKED, **config: Any) -> tuple[Any, list[str]]:
    """The body that a template makes of a request, and the notes of the answer."""
    async with asking(request_template=template, **config) as (server, provider):
        answered = await listen(provider, asked)
        return server.requests[0].body, list(answered.end.notes)


def events(*items: Any) -> list[bytes]:
    return [b"data: " + json.dumps(item).encode() + b"\n\n" for item in items]


async def test_the_blueprint_s_configuration_works_as_it_is() -> None:
    [spec] = parse(written())
    await create(spec, {"CUSTOM_API_KEY": "a-key"}).close()
    asked = replace(ASKED, parameters=Parameters(temperature=0.5))
    async with asking() as (server, provider):
        answered = await listen(provider, asked)
        assert answered.text == "Yes."
        assert answered.end.finish_reason == "stop"
        assert server.requests[0].body == {
            "model": "a-model",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Hello {{ 1 }}"},
            ],
            "temperature": 0.5,
        }


async def test_types_are_kept_and_what_is_not_there_is_left_out() -> None:
    asked = replace(
        ASKED,
        parameters=Parameters(temperature=1, max_tokens=7, stop=("END",), schema_={"type": "null"}),
        role="critic",
    )
    body, notes = await sent(
        {
            "limit": "{{ config.max_tokens }}",
            "double": "{{ config.max_tokens * 2 }}",
            "hot": "{{ config.temperature > 0.5 }}",
            "stop": "{{ config.stop }}",
            "seed": "{{ config.seed }}",
            "nothing": "{{ something_else }}",
            "otherwise": "{{ config.seed | default(12) }}",
            "none": None,
            "text": "{{ config.max_tokens }} of {{ config.seed }}",
            "list": ["{{ config.seed }}", "{{ config.max_tokens }}", {"a": "{{ config.seed }}"}],
            "number": 3,
            "texts": "{{ messages | map(attribute='content') | list }}",
            "schema": "{{ request.schema }}",
            "who": "{{ request.role }}/{{ request.purpose }}",
            "prompt": "{{ prompt }}",
            "braces": "{not} a template",
        },
        asked,
    )
    assert body == {
        "limit": 7,
        "double": 14,
        "hot": True,
        "stop": ["END"],
        "otherwise": 12,
        "none": None,
        "text": "7 of ",
        "list": [7, {}],
        "number": 3,
        "texts": ["Be brief.", "Hello {{ 1 }}"],
        "schema": {"type": "null"},
        "who": "critic/answer",
        "prompt": "Hello {{ 1 }}",
        "braces": "{not} a template",
    }
    assert notes == []


async def test_a_chat_template_makes_the_prompt() -> None:
    asked = replace(ASKED, chat_template="{% for m in messages %}[{{ m.role }}]{% endfor %}")
    body, _ = await sent({"inputs": "{{ prompt }}"}, asked)
    assert body == {"inputs": "[system][user]"}
    async with asking(request_template={"inputs": "{{ prompt }}"}) as (_, provider):
        assert provider.capabilities("m").chat_template
    async with asking() as (_, provider):
        assert not provider.capabilities("m").chat_template


async def test_tools_are_sent_only_where_calls_can_be_read() -> None:
    asked = replace(ASKED, tools=(Tool("t", "T.", {}),))
    async with asking(request_template={"tools": "{{ request.tools }}"}) as (server, provider):
        assert not provider.capabilities("a-model").tools
        answered = await listen(provider, asked)
        assert server.requests[0].body == {}
        [note] = answered.end.notes
        assert "tool_calls_path" in note


async def test_calls_are_read_whole_and_in_parts() -> None:
    asked = replace(ASKED, tools=(Tool("t", "T.", {}),))
    how: dict[str, Any] = {
        "request_template": {"tools": "{{ request.tools }}"},
        "finish_path": "$.why",
        "tool_calls_path": "$.calls",
    }
    call = {"id": "c1", "function": {"name": "t", "arguments": '{"a":'}}
    rest = {"index": 0, "function": {"arguments": "1}"}}
    expected = (ToolCall(id="c1", name="t", arguments='{"a":1}'),)
    whole = {"id": "c1", "function": {"name": "t", "arguments": '{"a":1}'}}
    for reason in ("tool_use", "stop"):
        body = json.dumps({"calls": [whole], "why": reason}).encode()
        async with asking(body, **how) as (_, provider):
            assert provider.capabilities("a-model").tools
            end = (await listen(provider, asked)).end
            assert (end.finish_reason, end.tool_calls) == ("tool_calls", expected)
    steps = events({"calls": [call]}, {"calls": [rest], "why": "tool_calls"})
    steps.append(b"data: [DONE]\n\n")
    async with asking(*steps, content_type="text/event-stream", stream=SSE, **how) as (_, provider):
        end = (await listen(provider, asked)).end
        assert (end.finish_reason, end.tool_calls) == ("tool_calls", expected)


async def test_calls_that_are_not_there_are_a_bad_response() -> None:
    body = json.dumps({"choices": [{"message": {"content": "I call."}}], "why": "tool_use"})
    async with asking(body.encode(), finish_path="$.why") as (_, provider):
        with pytest.raises(BadResponse, match="tool_calls_path"):
            await listen(provider, ASKED)


async def test_what_has_no_place_is_noted_and_extra_is_passed_through() -> None:
    parameters = Parameters(
        seed=3, max_tokens=7, extra={"top_k": 5, "style": "plain", "max_tokens": 9, "model": "x"}
    )
    asked = replace(ASKED, parameters=parameters, tools=(Tool("t", "T.", {}),))
    template = {"in": {"style": "{{ config.style }}"}, "model": "{{ config.model_name }}"}
    body, notes = await sent(template, asked)
    assert body == {
        "in": {"style": "plain"}, "model": "a-model", "top_k": 5, "max_tokens": 9,
    }  # fmt: skip
    assert sorted(note.split(":")[0] for note in notes) == ["model", "seed", "tools"]
    body, notes = await sent(
        {"all": "{{ config }}", "tools": "{{ request.tools }}"},
        asked,
        tool_calls_path="$.choices[0].message.tool_calls",
    )
    assert body["all"]["seed"] == 3
    assert body["tools"][0]["function"]["name"] == "t"
    assert notes == []


@pytest.mark.parametrize(
    ("config", "place"),
    [
        ({"request_template": {"a": [{"b": "{{ config. }}"}]}}, r"request_template: .*a\[0\]\.b"),
        ({"request_template": {"a": "{% if %}"}}, "request_template: .*a: line 1"),
        ({"request_template": {"key": "${CUSTOM_API_KEY}"}}, "api_key"),
        ({"request_template": "{{ messages }}"}, "request_template"),
        ({"response_path": "$.choices["}, "response_path: .*no JSONPath"),
        ({"response_path": ""}, "response_path"),
        ({"usage_paths": {"input": "$["}}, "usage_paths.input"),
        ({"usage_paths": {"inputs": "$.a"}}, "usage_paths.inputs"),
        ({"stream": {**SSE, "done_path": "a b"}}, "done_path"),
        ({"stream": {**SSE, "format": "xml"}}, "format"),
        ({"endpoint": "my-custom-llm.com"}, "endpoint"),
        ({"endpoint": "https://me:pass@my-custom-llm.com"}, "endpoint"),
    ],
)
def test_a_mistake_is_found_when_the_file_is_loaded(config: dict[str, Any], place: str) -> None:
    with pytest.raises(ConfigError, match=rf"'custom_api': .*{place}"):
        parse(written(**config))


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages.__class__.__mro__ }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{{ messages * 3000000 }}",
        "{{ 'x' * 99999999 }}",
        "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
        "{{ messages.append(1) }}",
        "{{ messages | map('upper') }}",
        "{{ nothing.of_this }}",
        "{{ 1 / 0 }}",
    ],
)
async def test_a_template_can_do_no_harm(template: str) -> None:
    async with asking(request_template={"place": template}) as (server, provider):
        with pytest.raises(ProviderError, match="request_template fails at") as caught:
            await listen(provider, ASKED)
        assert not caught.value.retryable
        assert server.requests == []


def test_what_a_template_gives_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    template = RequestTemplate({"a": "{{ messages }}", "b": ["{{ messages }}"]})
    assert template.body({"messages": ["x" * 40]})["a"] == ["x" * 40]
    monkeypatch.setattr("actors.providers.request_template.LARGEST_BODY", 80)
    with pytest.raises(TemplateFault, match="more than 80"):
        template.body({"messages": ["x" * 40]})


async def test_no_error_holds_a_secret() -> None:
    words = f"bad key {KEY} at query-secret"
    refusal = json.dumps({"error": {"message": words}}).encode()
    async with asking(
        refusal, status=401, api_key="${KEY}", request_template={"key": "{{ api_key }}"}
    ) as (server, provider):
        with pytest.raises(AuthenticationFailed, match="bad key") as caught:
            await listen(provider, ASKED)
        assert server.requests[0].body == {"key": KEY}
        assert KEY not in caught.value.message
    server = ScriptedServer({})
    server.reply(refusal, status=401, content_type="application/json")
    async with listening(server):
        here = {**BLUEPRINT, "headers": {}, "endpoint": f"{server.url}/chat?key=query-secret"}
        async with made("generic_http", **here) as provider:
            with pytest.raises(AuthenticationFailed) as caught:
                await listen(provider, ASKED)
        assert server.requests[0].query == {"key": "query-secret"}
        assert "query-secret" not in caught.value.message
    fails = {"a": "{{ api_key.none.at_all }}{{ (api_key ~ 'x') % 3 }}"}
    async with asking(api_key="${KEY}", request_template=fails) as (_, provider):
        with pytest.raises(ProviderError) as failed:
            await listen(provider, ASKED)
        assert KEY not in failed.value.message


async def test_an_error_is_found_where_it_stands() -> None:
    body = json.dumps({"problems": [{"text": "no such key"}]}).encode()
    path = "$.problems[0].text"
    async with asking(body, status=401, error_path=path) as (_, provider):
        with pytest.raises(AuthenticationFailed, match="It says: no such key"):
            await listen(provider, ASKED)
    async with asking(body, error_path=path) as (_, provider):
        with pytest.raises(ProviderError, match="It says: no such key"):
            await listen(provider, ASKED)


async def test_an_answer_in_another_form_is_no_answer() -> None:
    for body in (b'{"output": "x"}', b'{"choices": [{"message": {"content": ["x"]}}]}', b"[]"):
        async with asking(body) as (_, provider):
            with pytest.raises(BadResponse):
                await listen(provider, ASKED)


async def test_paths_say_how_it_ended_and_what_was_used() -> None:
    body = {"out": 42, "why": "MAX_TOKENS", "n": {"in": 20, "hit": 12, "out": 9, "think": 4}}
    usage = {"input": "$.n.in", "cache_read": "$.n.hit", "output": "$.n.out"}
    async with asking(
        json.dumps(body).encode(),
        response_path="$.out",
        finish_path="$.why",
        usage_paths={**usage, "reasoning": "$.n.think"},
    ) as (_, provider):
        answered = await listen(provider, ASKED)
        assert (answered.text, answered.end.finish_reason) == ("42", "length")
        assert answered.end.usage == Usage(input=8, cache_read=12, output=5, reasoning=4)
    refused = json.dumps({**body, "why": "SAFETY"}).encode()
    async with asking(refused, response_path="$.out", finish_path="$.why") as (_, provider):
        with pytest.raises(ContentFiltered):
            await listen(provider, ASKED)


# OpenAI, "Prompt caching": cached tokens are within the prompt's, those of reasoning within the
# completion's.
@pytest.mark.parametrize(
    ("raw", "usage"),
    [
        (
            {"input": 2006, "cache_read": 1920, "output": 300, "reasoning": 0},
            Usage(input=86, cache_read=1920, output=300),
        ),
        ({"input": 5, "cache_read": 9, "cache_write": 9}, Usage(cache_read=5)),
        ({"output": 5, "reasoning": 9}, Usage(reasoning=5)),
        ({"cache_read": 9}, None),
        ({"input": -1}, None),
    ],
)
def test_usage_is_normalised(raw: dict[str, int], usage: Usage | None) -> None:
    assert normalised(raw) == usage


@pytest.mark.parametrize(
    ("how", "end"),
    [
        ({}, b"data: [DONE]\n\n"),
        ({"done_path": "$.over"}, events({"over": 1})[0]),
        ({"done_path": "$.state", "done_value": "end"}, events({"state": "end"})[0]),
        ({"done_path": "$.left", "done_value": 0}, events({"left": 0})[0]),
    ],
)
async def test_a_stream_ends_by_its_mark(how: dict[str, Any], end: bytes) -> None:
    begun = events({"t": "The ", "state": "on", "left": 2}, {"t": "log.", "over": False})
    async with asking(
        *begun, end, HANG, content_type="text/event-stream", stream={**SSE, **how}
    ) as (_, provider):
        answered = await listen(provider, ASKED)
        assert (answered.text, answered.end.finish_reason) == ("The log.", "stop")
    async with asking(*begun, content_type="text/event-stream", stream={**SSE, **how}) as (
        _,
        provider,
    ):
        with pytest.raises(BadResponse, match="before the answer was complete"):
            await listen(provider, ASKED)


async def test_a_picture_is_refused() -> None:
    asked = replace(ASKED, messages=(ChatMessage("user", "See", images=(PICTURE,)),))
    async with asking() as (server, provider):
        assert not provider.capabilities("m").images
        with pytest.raises(ProviderError, match="no pictures"):
            await listen(provider, asked)
        assert server.requests == []
