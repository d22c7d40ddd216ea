"""One behaviour that every provider shows, whatever stands behind it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import openai
import pytest

from actors.providers.config import ProviderSpec, create
from actors.providers.port import ChatMessage, ChatRequest, Delta, Finished, Provider, Tool
from events.errors import (
    AuthenticationFailed,
    BadResponse,
    ContentFiltered,
    ContextTooLong,
    ControlRoomError,
    ModelNotFound,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
)
from events.values import Parameters, ToolCall, Usage
from tests.servers.chat import (
    CUT,
    DONE,
    HANG,
    ChatServer,
    chat_server,
    chunk,
    error,
    event,
    usage,
    whole,
)
from tests.servers.llama import LlamaServer
from tests.waiting import eventually

KEY = "marked-secret-5f3b9c"
HEADER = "marked-header-71d0aa"
ASKED = ChatRequest("a-model", (ChatMessage("user", "Say something about the event log."),))


@dataclass
class Answered:
    """All that one stream brought."""

    deltas: list[Delta] = field(default_factory=list)
    finished: Finished | None = None

    @property
    def text(self) -> str:
        return "".join(delta.text for delta in self.deltas if delta.channel == "text")

    @property
    def reasoning(self) -> str:
        return "".join(delta.text for delta in self.deltas if delta.channel == "reasoning")

    @property
    def end(self) -> Finished:
        assert self.finished is not None
        return self.finished


async def listen(provider: Provider, asked: ChatRequest, into: Answered | None = None) -> Answered:
    answered = into or Answered()
    async with aclosing(provider.stream(asked)) as stream:
        async for item in stream:
            assert answered.finished is None, "nothing comes after the end"
            if isinstance(item, Finished):
                answered.finished = item
            else:
                assert item.text, "a delta has at least one character"
                answered.deltas.append(item)
    assert answered.finished is not None, "a stream without an end raises"
    return answered


@asynccontextmanager
async def made(type: str, **config: Any) -> AsyncIterator[Provider]:
    provider = create(ProviderSpec(id="the-provider", type=type, config=config), {"KEY": KEY})
    try:
        yield provider
    finally:
        await provider.close()


@asynccontextmanager
async def scripted(**config: Any) -> AsyncIterator[tuple[ChatServer, Provider]]:
    async with (
        chat_server() as server,
        made(
            "openai",
            **{
                "base_url": server.base_url,
                "api_key": "${KEY}",
                "headers": {"X-Extra": HEADER},
                **config,
            },
        ) as provider,
    ):
        yield server, provider


# --- what every provider does ------------------------------------------------------------------

Situation = Callable[[AsyncExitStack], Awaitable[tuple[Provider, ChatRequest]]]


def rehearsing(temper: str, **config: Any) -> Situation:
    async def prepare(stack: AsyncExitStack) -> tuple[Provider, ChatRequest]:
        provider = await stack.enter_async_context(made("rehearsal", **{"pace": 50, **config}))
        return provider, replace(ASKED, model=temper)

    return prepare


def served(*steps: Any, how: dict[str, Any] | None = None, **config: Any) -> Situation:
    async def prepare(stack: AsyncExitStack) -> tuple[Provider, ChatRequest]:
        server, provider = await stack.enter_async_context(scripted(**config))
        server.reply(*steps, **(how or {}))
        return provider, ASKED

    return prepare


SITUATIONS: dict[str, dict[str, Situation]] = {
    "answer": {
        "rehearsal": rehearsing("instant"),
        "openai": served(*whole("The ", "event ", "log.")),
        "openai-in-one-packet": served(b"".join(whole("The ", "event ", "log."))),
        "openai-by-bytes": served(*(bytes([b]) for b in b"".join(whole("The ", "log", "…")))),
    },
    "late": {
        "rehearsal": rehearsing("late", first_token_timeout=0.05),
        "openai": served(how={"after": asyncio.Event()}, first_token_timeout=0.05),
        "openai-after-headers": served(HANG, first_token_timeout=0.05),
        "openai-only-comments": served(b": still at it\n\n", HANG, first_token_timeout=0.05),
    },
    "stall": {
        "rehearsal": rehearsing("stalling", stall_timeout=0.05),
        "openai": served(chunk("The "), HANG, stall_timeout=0.05),
    },
    "cut": {
        "rehearsal": rehearsing("cutting"),
        "openai-ends-early": served(chunk("The ")),
        "openai-done-without-a-finish": served(chunk("The "), DONE),
        "openai-connection-lost": served(chunk("The "), CUT),
    },
    "unavailable": {
        "rehearsal": rehearsing("failing"),
        "openai": served(error("oops"), how={"status": 500}),
        "openai-nobody-there": served(base_url="http://127.0.0.1:9/v1"),
        "openai-hangs-up": served(how={"hang_up": True}),
    },
    "unknown-model": {
        "rehearsal": rehearsing("no-such-temper"),
        "openai": served(error("no such model", code="model_not_found"), how={"status": 404}),
    },
}


def situations(name: str) -> pytest.MarkDecorator:
    ways = SITUATIONS[name]
    return pytest.mark.parametrize("situation", ways.values(), ids=ways.keys())


async def failing(situation: Situation) -> tuple[ProviderError, Answered]:
    answered = Answered()
    async with AsyncExitStack() as stack:
        provider, asked = await situation(stack)
        with pytest.raises(ProviderError) as caught:
            await asyncio.wait_for(listen(provider, asked, answered), 10)
    return caught.value, answered


@situations("answer")
async def test_an_answer_comes_in_pieces_and_ends(situation: Situation) -> None:
    async with AsyncExitStack() as stack:
        provider, asked = await situation(stack)
        answered = await listen(provider, asked)
        assert "log" in answered.text
        assert answered.end.finish_reason == "stop"
        assert answered.end.usage is not None
        assert not answered.end.usage.estimated
        assert answered.end.usage.input > 0
        assert answered.end.usage.output > 0
        assert answered.end.served_model


@situations("late")
async def test_a_late_first_token_is_not_waited_for_without_end(situation: Situation) -> None:
    raised, answered = await failing(situation)
    assert type(raised) is ProviderUnavailable
    assert raised.retryable
    assert "first_token_timeout" in raised.message
    assert answered.deltas == []


@situations("stall")
async def test_a_stream_that_stalls_fails(situation: Situation) -> None:
    raised, answered = await failing(situation)
    assert type(raised) is ProviderUnavailable
    assert answered.text


@situations("cut")
async def test_a_stream_without_its_end_is_no_answer(situation: Situation) -> None:
    raised, answered = await failing(situation)
    assert type(raised) is BadResponse
    assert raised.retryable
    assert answered.text


@situations("unavailable")
async def test_a_server_that_cannot_answer_is_unavailable(situation: Situation) -> None:
    raised, answered = await failing(situation)
    assert type(raised) is ProviderUnavailable
    assert raised.retryable
    assert answered.deltas == []


@situations("unknown-model")
async def test_an_unknown_model_is_named(situation: Situation) -> None:
    raised, _ = await failing(situation)
    assert type(raised) is ModelNotFound
    assert not raised.retryable
    assert "a-model" in raised.message or "no-such-temper" in raised.message


# --- a real server -------------------------------------------------------------------------------


@asynccontextmanager
async def llama(server: LlamaServer, **config: Any) -> AsyncIterator[Provider]:
    async with made("openai", base_url=server.base_url, **config) as provider:
        yield provider


async def test_llama_answers_counts_and_repeats_itself_by_seed(llama_server: LlamaServer) -> None:
    asked = replace(
        ASKED, model=llama_server.model_name, parameters=Parameters(seed=3, max_tokens=24)
    )
    async with llama(llama_server) as provider:
        assert await provider.models() == (llama_server.model_name,)
        one, two = await listen(provider, asked), await listen(provider, asked)
        assert one.text
        assert one.text == two.text
        assert one.end.finish_reason in ("stop", "length")
        assert one.end.usage is not None
        assert 0 < one.end.usage.output <= 24
        raw = one.end.usage_raw
        assert raw is not None
        assert one.end.usage.input + one.end.usage.cache_read == raw["prompt_tokens"]

        async with openai.AsyncOpenAI(base_url=llama_server.base_url, api_key="none") as vendor:
            told = await vendor.chat.completions.create(
                model=llama_server.model_name,
                messages=[{"role": "user", "content": ASKED.messages[0].content}],
                seed=3,
                max_tokens=24,
            )
        assert told.choices[0].message.content == one.text


async def test_llama_keeps_to_a_schema(llama_server: LlamaServer) -> None:
    schema = {
        "type": "object",
        "properties": {"choice": {"type": "string", "enum": ["a", "b"]}},
        "required": ["choice"],
        "additionalProperties": False,
    }
    asked = replace(
        ASKED,
        model=llama_server.model_name,
        parameters=Parameters(seed=1, max_tokens=100, schema_=schema),
    )
    async with llama(llama_server) as provider:
        answered = await listen(provider, asked)
        assert json.loads(answered.text)["choice"] in ("a", "b")


async def test_llama_says_that_a_conversation_is_too_long(llama_server: LlamaServer) -> None:
    asked = ChatRequest(llama_server.model_name, (ChatMessage("user", "word " * 50_000),))
    async with llama(llama_server) as provider:
        with pytest.raises(ContextTooLong, match="shorten"):
            await listen(provider, asked)


# --- cancel --------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [[HANG], [chunk("The "), HANG]], ids=["before", "in-between"])
async def test_cancel_reaches_the_server(steps: list[Any]) -> None:
    async with scripted() as (server, provider):
        server.reply(*steps)
        answered = Answered()
        task = asyncio.create_task(listen(provider, ASKED, answered))
        await _asked(server, answered, len(steps) - 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(server.gone.wait(), 5)


async def test_leaving_a_stream_closes_its_connection() -> None:
    async with scripted() as (server, provider):
        server.reply(chunk("The "), HANG)
        async with aclosing(provider.stream(ASKED)) as stream:
            async for _ in stream:
                break
        await asyncio.wait_for(server.gone.wait(), 5)


async def _asked(server: ChatServer, answered: Answered, deltas: int) -> None:
    def reached() -> bool:
        return bool(server.requests) and len(answered.deltas) >= deltas

    await eventually(reached, within=5, what="the server streams")


async def test_connections_are_kept_and_shared() -> None:
    async with scripted() as (server, provider):
        server.reply(*whole("Hello"))
        for _ in range(3):
            await listen(provider, ASKED)
        assert server.connections == 1


async def test_a_kept_connection_that_the_server_has_closed_is_no_failure() -> None:
    async with scripted() as (server, provider):
        server.reply(*whole("Hello"))
        for _ in range(5):
            assert (await listen(provider, ASKED)).text == "Hello"
            server.close_idle()
        assert len(server.requests) == 5


# --- what is sent --------------------------------------------------------------------------------


async def test_the_request_says_all_that_was_given() -> None:
    tool = Tool("look", "Looks.", {"type": "object", "properties": {}})
    asked = ChatRequest(
        "a-model",
        (
            ChatMessage("system", "Be brief."),
            ChatMessage("user", "Look!"),
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
            {"role": "user", "content": "Look!"},
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


async def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with chat_server() as proxy:
        monkeypatch.setenv("http_proxy", proxy.base_url.removesuffix("/v1"))
        proxy.reply(*whole("Hello"))
        async with made("openai", base_url="http://models.example/v1") as provider:
            assert (await listen(provider, ASKED)).text == "Hello"
        assert proxy.requests[0].headers["Host"] == "models.example"


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
        server.reply(error("response_format is wrong, and so is all else"), status=400)
        with pytest.raises(ProviderError, match="refuses the request"):
            await listen(provider, asked)
        assert len(server.requests) == 2
        assert provider.capabilities("a-model").structured_output


# --- what is read --------------------------------------------------------------------------------


async def test_unicode_is_whole_however_the_bytes_are_cut() -> None:
    text = "Zürich — 東京 🙂 e\u0301 \u2028 ok"
    raw = event({"choices": [{"index": 0, "delta": {"content": text}}]}).decode()
    raw = json.dumps(json.loads(raw[6:]), ensure_ascii=False)
    data = b"data: " + raw.encode() + b"\n\n"
    async with scripted() as (server, provider):
        server.reply(*(bytes([byte]) for byte in data), chunk(finish="stop"), DONE)
        assert (await listen(provider, ASKED)).text == text


async def test_half_a_character_does_not_break_the_answer() -> None:
    async with scripted() as (server, provider):
        server.reply(chunk("a\ud83d"), chunk("\ude42b", finish="stop"), DONE)
        text = (await listen(provider, ASKED)).text
        assert text.encode()
        assert (text[0], text[-1]) == ("a", "b")


async def test_an_empty_answer_is_an_answer() -> None:
    async with scripted() as (server, provider):
        server.reply(chunk(role="assistant"), chunk(finish="stop"), DONE)
        answered = await listen(provider, ASKED)
        assert (answered.text, answered.end.finish_reason) == ("", "stop")
        assert answered.end.usage is None


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
async def test_reasoning_is_kept_apart(name: str) -> None:
    async with scripted() as (server, provider):
        server.reply(
            b"".join([chunk(**{name: "Let me "}), chunk(**{name: "think."}), chunk("Yes")]),
            chunk(".", finish="stop"),
            DONE,
        )
        answered = await listen(provider, ASKED)
        assert (answered.reasoning, answered.text) == ("Let me think.", "Yes.")


async def test_tool_calls_are_put_together() -> None:
    def part(index: int, **fields: Any) -> bytes:
        return chunk(tool_calls=[{"index": index, **fields}])

    async with scripted() as (server, provider):
        server.reply(
            part(0, id="c1", type="function", function={"name": "look", "arguments": ""}),
            part(0, function={"arguments": '{"at":'}),
            part(1, id="c2", type="function", function={"name": "wait", "arguments": "{}"}),
            part(0, function={"arguments": '"cat"}'}),
            chunk(finish="tool_calls"),
            DONE,
        )
        answered = await listen(provider, ASKED)
        assert answered.end.finish_reason == "tool_calls"
        assert answered.end.tool_calls == (
            ToolCall(id="c1", name="look", arguments='{"at":"cat"}'),
            ToolCall(id="c2", name="wait", arguments="{}"),
        )


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({}, Usage(input=10, output=5)),
        ({"prompt_tokens_details": {"cached_tokens": 4}}, Usage(input=6, cache_read=4, output=5)),
        (
            {"completion_tokens_details": {"reasoning_tokens": 3}},
            Usage(input=10, output=2, reasoning=3),
        ),
        (
            {"completion_tokens_details": {"reasoning_tokens": 8}},
            Usage(input=10, output=5, reasoning=8),
        ),
        (
            {"prompt_tokens_details": None, "completion_tokens_details": None},
            Usage(input=10, output=5),
        ),
        ({"prompt_tokens": "many"}, None),
    ],
)
async def test_usage_is_normalised_and_kept_raw(
    raw: dict[str, Any], expected: Usage | None
) -> None:
    async with scripted() as (server, provider):
        server.reply(chunk("Hi", finish="stop"), usage(**raw), DONE)
        end = (await listen(provider, ASKED)).end
        assert end.usage == expected
        assert end.usage_raw is not None
        assert raw.items() <= end.usage_raw.items()


async def test_a_second_answer_is_passed_over() -> None:
    async with scripted() as (server, provider):
        other = {"index": 1, "delta": {"content": "No"}, "finish_reason": "stop"}
        server.reply(chunk("Yes"), event({"choices": [other]}), chunk(finish="stop"), DONE)
        assert (await listen(provider, ASKED)).text == "Yes"


async def test_lines_of_json_are_read_as_well() -> None:
    async with scripted() as (server, provider):
        lines = [one.removeprefix(b"data: ").strip() + b"\n" for one in whole("Hi")[:-1]]
        server.reply(*lines, content_type="application/x-ndjson")
        assert (await listen(provider, ASKED)).text == "Hi"


# --- failures of servers -------------------------------------------------------------------------

REFUSALS: list[tuple[str, int, bytes, type[ProviderError], bool, str]] = [
    ("401", 401, error("bad key", code="invalid_api_key"), AuthenticationFailed, False, "api_key"),
    ("403", 403, error("not allowed"), AuthenticationFailed, False, "api_key"),
    ("404", 404, error("no model", code="model_not_found"), ModelNotFound, False, "a-model"),
    ("429", 429, error("slow down"), RateLimited, True, "ask again"),
    ("quota", 429, error("no", type="insufficient_quota"), RateLimited, False, "credit"),
    ("402", 402, error("Payment required"), RateLimited, False, "credit"),
    ("500", 500, error("oops"), ProviderUnavailable, True, "later"),
    ("502", 502, b"<html>Bad gateway</html>", ProviderUnavailable, True, "Bad gateway"),
    ("503", 503, b"", ProviderUnavailable, True, "503"),
    (
        "context",
        400,
        error("This model's maximum context length is 8192 tokens", code="context_length_exceeded"),
        ContextTooLong,
        False,
        "shorten",
    ),
    (
        "context-llama",
        400,
        error("the request exceeds the available context size", type="exceed_context_size_error"),
        ContextTooLong,
        False,
        "shorten",
    ),
    ("413", 413, b"Request Entity Too Large", ContextTooLong, False, "shorten"),
    ("filter", 400, error("filtered", code="content_filter"), ContentFiltered, False, "change"),
    ("400", 400, error("temperature must be positive"), ProviderError, False, "temperature"),
    ("422", 422, b'{"detail": [{"msg": "field required"}]}', ProviderError, False, "field req"),
    ("302", 302, b"", BadResponse, False, "base_url"),
]


@pytest.mark.parametrize(
    ("status", "body", "expected", "retryable", "words"),
    [pytest.param(*case[1:], id=case[0]) for case in REFUSALS],
)
async def test_a_refusal_has_its_class_and_says_what_to_do(
    status: int, body: bytes, expected: type[ProviderError], retryable: bool, words: str
) -> None:
    async with scripted() as (server, provider):
        server.reply(body, status=status, content_type="application/json")
        with pytest.raises(ProviderError) as caught:
            await listen(provider, ASKED)
        assert type(caught.value) is expected
        assert caught.value.retryable is retryable
        assert words in caught.value.message
        assert "the-provider" in caught.value.message


async def test_retry_after_is_understood() -> None:
    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    cases: list[tuple[dict[str, str], float | None]] = [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "0.5"}, 0.5),
        ({"Retry-After-Ms": "250", "Retry-After": "9"}, 0.25),
        ({"Retry-After": in_a_minute}, 60),
        ({"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-3"}, None),
        ({"Retry-After": "nan"}, None),
        ({}, None),
    ]
    async with scripted() as (server, provider):
        for headers, _ in cases:
            server.reply(error("slow down"), status=429, headers=headers)
        for _, expected in cases:
            with pytest.raises(RateLimited) as caught:
                await listen(provider, ASKED)
            got = caught.value.retry_after
            assert got == (None if expected is None else pytest.approx(expected, abs=3))


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        ({"message": "overloaded", "type": "server_error"}, ProviderUnavailable),
        ({"message": "slow down", "type": "rate_limit_error"}, RateLimited),
        ({"message": "oops", "code": 502}, ProviderUnavailable),
        ({"message": "too long", "code": "context_length_exceeded"}, ContextTooLong),
        ({"message": "no", "code": "content_filter", "type": "content_filter"}, ContentFiltered),
        ("a bare sentence", ProviderUnavailable),
    ],
)
async def test_an_error_within_a_stream_has_its_class(
    inner: Any, expected: type[ProviderError]
) -> None:
    async with scripted() as (server, provider):
        server.reply(chunk("The "), event({"error": inner}), HANG)
        answered = Answered()
        with pytest.raises(ProviderError) as caught:
            await listen(provider, ASKED, answered)
        assert type(caught.value) is expected
        assert answered.text == "The "
        await asyncio.wait_for(server.gone.wait(), 5)


async def test_an_answer_broken_off_by_a_filter_is_filtered() -> None:
    async with scripted() as (server, provider):
        server.reply(chunk("How to"), chunk(finish="content_filter"), DONE)
        with pytest.raises(ContentFiltered):
            await listen(provider, ASKED)


MALFORMED = {
    "no-json": b"data: {broken\n\n",
    "no-object": b"data: [1]\n\n",
    "no-utf8": b"data: \xff\xfe\n\n",
    "choices-no-list": event({"choices": 7}),
    "choice-no-object": event({"choices": ["x"]}),
    "delta-no-object": event({"choices": [{"delta": "x"}]}),
    "content-no-text": event({"choices": [{"delta": {"content": 7}}]}),
    "calls-no-list": event({"choices": [{"delta": {"tool_calls": 7}}]}),
    "finish-no-text": event({"choices": [{"delta": {}, "finish_reason": 7}]}),
    "deep": b"data: " + b"[" * 100_000 + b"\n\n",
}


@pytest.mark.parametrize("malformed", MALFORMED.values(), ids=MALFORMED.keys())
async def test_malformed_streams_are_bad_responses(malformed: bytes) -> None:
    async with scripted() as (server, provider):
        server.reply(malformed, HANG)
        with pytest.raises(BadResponse):
            await asyncio.wait_for(listen(provider, ASKED), 5)


@pytest.mark.parametrize("content_type", ["text/html", "application/json", "text/plain"])
async def test_another_content_type_is_a_bad_response(content_type: str) -> None:
    async with scripted() as (server, provider):
        server.reply(b"<h1>Router login</h1>", content_type=content_type)
        with pytest.raises(BadResponse, match=f"{content_type}.*base_url.*Router login"):
            await listen(provider, ASKED)


async def test_an_answer_without_end_is_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.providers.chat_completions.LONGEST_ANSWER", 10_000)
    monkeypatch.setattr("actors.providers.sse.LONGEST_ITEM", 10_000)
    async with scripted() as (server, provider):
        for endless in (chunk("x" * 1000), b"data: " + b"x" * 1000, b": " + b"x" * 1000):
            server.replies.clear()
            server.gone.clear()
            server.reply(*([endless] * 20), HANG)
            with pytest.raises(BadResponse, match="more than 10000"):
                await asyncio.wait_for(listen(provider, ASKED), 5)
            await asyncio.wait_for(server.gone.wait(), 5)


async def test_the_list_of_models_and_its_failures() -> None:
    async with scripted() as (server, provider):
        server.models = ["one", "two"]
        assert await provider.models() == ("one", "two")
    async with made("openai", base_url="http://127.0.0.1:9/v1") as provider:
        with pytest.raises(ProviderUnavailable, match=r"127\.0\.0\.1:9"):
            await provider.models()


# --- secrets -------------------------------------------------------------------------------------


async def test_no_failure_tells_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    said: list[str] = []

    async def fail(provider: Provider) -> None:
        with pytest.raises(ControlRoomError) as caught:
            await asyncio.wait_for(listen(provider, ASKED), 10)
        chained: BaseException | None = caught.value
        while chained is not None:
            said.extend((str(chained), repr(chained), repr(chained.__dict__)))
            chained = chained.__cause__ if chained.__suppress_context__ else chained.__context__
        said.append(repr(provider))

    echo = f"you sent {KEY} and {HEADER} as Bearer {KEY}"
    async with scripted(stall_timeout=0.1, first_token_timeout=0.1) as (server, provider):
        for _, status, _, _, _, _ in REFUSALS:
            server.replies.clear()
            server.reply(error(echo, code=echo), status=status, content_type="application/json")
            await fail(provider)
        for steps in ([event({"error": {"message": echo, "code": echo}})], [CUT], [HANG]):
            server.replies.clear()
            server.reply(*steps)
            await fail(provider)
        server.replies.clear()
        server.reply(echo.encode(), content_type="text/html")
        await fail(provider)
    async with made(
        "openai", base_url="http://127.0.0.1:9/v1", api_key="${KEY}", headers={"X-Extra": HEADER}
    ) as provider:
        await fail(provider)
    everything = "\n".join([*said, caplog.text, *(str(r.__dict__) for r in caplog.records)])
    assert "[secret]" in everything
    assert KEY not in everything
    assert HEADER not in everything


# --- held honest -------------------------------------------------------------------------------


async def test_the_scripted_server_satisfies_the_vendor_s_own_client() -> None:
    async with (
        chat_server() as server,
        openai.AsyncOpenAI(base_url=server.base_url, api_key="none", max_retries=0) as vendor,
    ):

        async def ask() -> tuple[str, Any]:
            text, counted = "", None
            stream = await vendor.chat.completions.create(
                model="a-model",
                messages=[{"role": "user", "content": "Hello"}],
                stream=True,
                stream_options={"include_usage": True},
            )
            async for item in stream:
                counted = item.usage or counted
                for choice in item.choices:
                    text += choice.delta.content or ""
            return text, counted

        server.reply(*whole("The ", "log."))
        text, counted = await ask()
        assert text == "The log."
        assert counted.prompt_tokens == 10
        assert [model.id async for model in vendor.models.list()] == ["a-model"]
        for status, raised in (
            (401, openai.AuthenticationError),
            (404, openai.NotFoundError),
            (429, openai.RateLimitError),
            (500, openai.InternalServerError),
        ):
            server.replies.clear()
            server.reply(error("no"), status=status, content_type="application/json")
            with pytest.raises(raised):
                await ask()
        server.replies.clear()
        server.reply(event({"error": {"message": "in the stream"}}))
        with pytest.raises(openai.APIError, match="in the stream"):
            await ask()


async def test_time_outs_are_about_the_provider_and_not_about_whoever_listens() -> None:
    """A slow listener does not make a stream stall."""
    async with scripted(stall_timeout=0.05) as (server, provider):
        server.reply(*whole("a", "b", "c"))
        heard = ""
        never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        async with aclosing(provider.stream(ASKED)) as stream:
            async for item in stream:
                if isinstance(item, Delta):
                    heard += item.text
                    await asyncio.wait({never}, timeout=0.1)
        assert heard == "abc"
