"""What only NIM does: its list, schemas under another name, refusals, and its queue."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from actors.providers.chat_completions import normalised
from actors.providers.config import ProviderSpec, create, parse
from actors.providers.port import Provider
from events.errors import BadResponse, ModelNotFound, ProviderError, ProviderUnavailable
from events.values import Parameters, Usage
from tests.contract.every_provider import ASKED, answer, serving
from tests.contract.provider_calls import listen, made
from tests.servers.dialects.dialect import COMPLETION, KEY, MODEL, PROMPT
from tests.servers.dialects.nvidia import REQUEST, NvidiaDialect, Outcome, QueueingServer
from tests.servers.scripted import ScriptedServer, listening
from tests.waiting import eventually

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


# --- the queue -----------------------------------------------------------------------------------

DONE = Outcome(NIM.body("The event log."))


@asynccontextmanager
async def queueing(server: QueueingServer, **config: Any) -> AsyncIterator[Provider]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("actors.providers.nvidia.POLLED_EVERY", 0.005)
        async with (
            listening(server),
            made("nvidia", base_url=f"{server.url}/v1", api_key="${KEY}", **config) as provider,
        ):
            yield provider


@pytest.mark.parametrize("header", [True, False], ids=["header", "body"])
@pytest.mark.parametrize("place", ["/v1/status", "/v2/nvcf/pexec/status"])
@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_that_was_queued_is_fetched(header: bool, place: str, stream: bool) -> None:
    server = QueueingServer(DONE, header=header, place=place)
    async with queueing(server, stream=stream) as provider:
        answered = await listen(provider, ASKED)
        assert answered.text == "The event log."
        assert answered.end.usage == Usage(input=PROMPT, output=COMPLETION)
        assert len(server.requests) == 1
        assert server.asked_for[-3:] == [f"{place}/{REQUEST}"] * 3
        assert server.pending == 0


async def test_a_queued_answer_may_be_a_stream() -> None:
    events = Outcome(b"".join(answer(NIM, "The ", "log.")), content_type="text/event-stream")
    async with queueing(QueueingServer(events)) as provider:
        assert (await listen(provider, ASKED)).text == "The log."


QUEUED_ENDS: list[tuple[Outcome, type[ProviderError], str]] = [
    (Outcome(NIM.failure(500, "ended with an error"), 500), ProviderUnavailable, "ended with"),
    (Outcome(NIM.failure(422, "Extra inputs: seed"), 422), ProviderError, "Extra inputs: seed"),
    (Outcome(b"<h1>Router</h1>", content_type="text/html"), BadResponse, "text/html"),
]


@pytest.mark.parametrize(("outcome", "expected", "words"), QUEUED_ENDS)
async def test_how_a_queued_request_fails_it_was_accepted(
    outcome: Outcome, expected: type[ProviderError], words: str
) -> None:
    server = QueueingServer(outcome)
    async with queueing(server) as provider:
        asked = replace(ASKED, parameters=Parameters(seed=4))
        with pytest.raises(expected, match=words) as caught:
            await listen(provider, asked)
        assert type(caught.value) is expected
        assert caught.value.accepted
        assert len(server.requests) == 1, "nothing is asked for twice"


@pytest.mark.parametrize(
    ("config", "option"),
    [
        ({"first_token_timeout": 0.1}, "first_token_timeout"),
        ({"stream": False, "answer_timeout": 0.1}, "answer_timeout"),
    ],
)
async def test_a_queue_is_not_waited_in_without_end(config: dict[str, Any], option: str) -> None:
    server = QueueingServer(DONE, pending=1_000_000)
    async with queueing(server, **config) as provider:
        with pytest.raises(ProviderUnavailable, match=option) as caught:
            await asyncio.wait_for(listen(provider, ASKED), 20)
        assert caught.value.accepted


async def test_cancel_ends_the_waiting_in_a_queue() -> None:
    server = QueueingServer(DONE, pending=1_000_000)
    async with queueing(server) as provider:
        task = asyncio.create_task(listen(provider, ASKED))
        await eventually(lambda: len(server.asked_for) > 1, within=20, what="it polls")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("id", ["../../v1/models", "a/b", "", "x" * 65])
async def test_an_id_that_is_none_is_not_asked_for(id: str) -> None:
    server = QueueingServer(DONE)
    server.replies[0].headers = {"NVCF-REQID": id}
    async with queueing(server) as provider:
        with pytest.raises(ProviderUnavailable, match="not told its id") as caught:
            await listen(provider, ASKED)
        assert caught.value.accepted
        assert server.asked_for == []
        assert KEY not in caught.value.message


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
