"""What only NIM does: its list of models, schemas under another name, its refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from actors.providers.chat_completions import normalised
from actors.providers.config import ProviderSpec, create, parse
from events.errors import ModelNotFound, ProviderError, ProviderUnavailable
from events.values import Parameters, Usage
from tests.contract.every_provider import ASKED, answer, serving
from tests.contract.provider_calls import listen
from tests.servers.dialects.dialect import MODEL
from tests.servers.dialects.nvidia import NvidiaDialect
from tests.servers.scripted import ScriptedServer

NIM = NvidiaDialect()
SCHEMA = {"type": "object", "properties": {"go": {"type": "boolean"}}, "required": ["go"]}
ASKED_FOR_SCHEMA = replace(ASKED, parameters=Parameters(schema_=SCHEMA))


def refusing(server: ScriptedServer, *keys: str) -> None:
    """Refuse each of the keys, one after the other, then answer."""
    good = server.replies.pop()
    for key in keys:
        said = f"[{{'type': 'extra_forbidden', 'loc': ('body', '{key}'), 'msg': 'Extra inputs'}}]"
        body = json.dumps({"error": said}).encode()
        server.reply(body, status=400, content_type="application/json")
    server.replies.append(good)


async def test_the_models_of_the_configuration_are_listed() -> None:
    async with serving(NIM, config={"models": ["meta/llama-3.1-70b-instruct"]}) as (_, provider):
        assert await provider.models() == ("meta/llama-3.1-70b-instruct",)
    async with serving(NIM) as (_, provider):
        assert await provider.models() == (MODEL,)


async def test_a_schema_is_sent_as_guided_json_where_nothing_else_is_taken() -> None:
    async with serving(NIM, *answer(NIM, '{"go": true}')) as (server, provider):
        refusing(server, "response_format")
        answered = await listen(provider, ASKED_FOR_SCHEMA)
        assert "response_format" not in server.requests[1].body
        assert server.requests[1].body["nvext"] == {"guided_json": SCHEMA}
        assert any("guided_json was sent" in note for note in answered.end.notes)
        assert provider.capabilities(MODEL).structured_output
        await listen(provider, ASKED_FOR_SCHEMA)
        assert len(server.requests) == 3, "it is remembered"


async def test_a_schema_that_is_not_taken_at_all_is_left_out_and_noted() -> None:
    async with serving(NIM, *answer(NIM, "Yes.")) as (server, provider):
        refusing(server, "response_format", "nvext")
        answered = await listen(provider, ASKED_FOR_SCHEMA)
        assert not {"response_format", "nvext"} & server.requests[2].body.keys()
        assert any("schema was not sent" in note for note in answered.end.notes)
        assert not provider.capabilities(MODEL).structured_output


async def test_a_chat_template_is_sent_to_one_s_own_server() -> None:
    asked = replace(ASKED, chat_template="{{ messages }}")
    async with serving(NIM, *answer(NIM, "Yes.")) as (server, provider):
        assert provider.capabilities(MODEL).chat_template
        await listen(provider, asked)
        assert server.requests[0].body["chat_template"] == "{{ messages }}"
    hosted = create(ProviderSpec(id="nim", type="nvidia"), {})
    assert not hosted.capabilities(MODEL).chat_template


REFUSALS: list[tuple[int, dict[str, Any], type[ProviderError], str]] = [
    (404, {"detail": "Function 'f': Not found for account 'a'"}, ModelNotFound, "Not found for"),
    (404, {"object": "error", "message": "no such model", "code": 404}, ModelNotFound, "no such"),
    (410, {"status": 410, "title": "Gone", "detail": "end of life"}, ModelNotFound, "end of"),
    (422, {"detail": [{"loc": ["body", "n"], "msg": "Extra inputs"}]}, ProviderError, "Extra inp"),
    (202, {}, ProviderUnavailable, "queue"),
]


@pytest.mark.parametrize(("status", "body", "expected", "words"), REFUSALS)
async def test_a_refusal_has_its_class(
    status: int,
    body: dict[str, Any],
    expected: type[ProviderError],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving(NIM, json.dumps(body).encode(), status=status) as (server, provider):
        # As if the server were NVIDIA's own.
        monkeypatch.setattr(provider, "_hosted", True)
        with pytest.raises(expected, match=words) as caught:
            await listen(provider, ASKED)
        assert type(caught.value) is expected
        assert len(server.requests) == 1


def test_the_configuration_of_the_blueprint_loads() -> None:
    [spec] = parse(
        """{"providers": [{"id": "nvidia_nim", "type": "nvidia", "config": {
        "api_key": "${NVIDIA_API_KEY}",
        "models": ["meta/llama-3.1-405b-instruct", "meta/llama-3.1-70b-instruct"]}}]}"""
    )
    assert spec.config["api_key"] == "${NVIDIA_API_KEY}"


def test_usage_of_the_vendor_s_documented_example() -> None:
    # "Elastic NIM", NVIDIA Cloud Functions documentation.
    raw = {"prompt_tokens": 19, "total_tokens": 51, "completion_tokens": 32}
    assert normalised(raw) == Usage(input=19, output=32)
