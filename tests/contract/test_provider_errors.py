"""What an OpenAI-compatible server does wrong has its class, and its message says what to do."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from actors.providers.port import Provider
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
from events.values import Usage
from tests.contract.provider_calls import ASKED, HEADER, KEY, Answered, listen, made, scripted
from tests.servers.chat import DONE, chunk, error, event, usage
from tests.servers.scripted import CUT, HANG

PICTURELESS = [
    (400, "Invalid content type. image_url is only supported by certain models."),
    (500, "image input is not supported - hint: if this is unexpected, provide the mmproj"),
    (400, "this model does not support image input (ref: b8bd630e)"),
    (404, "No endpoints found that support image input"),
    (400, "At most 0 image(s) may be provided in one request."),
    (400, "tiny-llama is not a multimodal model"),
    (422, "messages[0]: unknown variant `image_url`, expected `text` at line 1"),
    (400, "Image input is not enabled for this model"),
    (400, "Unsupported content part type for text-only server: image_url"),
]
OF_ONE_PICTURE = [
    (400, "You uploaded an unsupported image. Please make sure your image has of one the formats"),
    (400, "image_url must be a valid URL"),
    (400, "This model does not support images of more than 20 MB"),
    (400, "At most 10 image(s) may be provided in one request."),
]


@pytest.mark.parametrize(("status", "said"), PICTURELESS, ids=[one[1][:25] for one in PICTURELESS])
async def test_a_model_that_takes_no_pictures_is_known_by_its_refusal(
    status: int, said: str
) -> None:
    async with scripted() as (server, provider):
        assert provider.capabilities("a-model").images
        server.reply(error(said), status=status, content_type="application/json")
        with pytest.raises(ProviderError, match="takes no pictures") as caught:
            await listen(provider, ASKED)
        assert not caught.value.retryable
        assert not provider.capabilities("a-model").images
        assert provider.capabilities("another").images


@pytest.mark.parametrize(
    ("status", "said"), OF_ONE_PICTURE, ids=[one[1][:25] for one in OF_ONE_PICTURE]
)
async def test_a_picture_that_is_refused_says_nothing_of_the_next(status: int, said: str) -> None:
    async with scripted() as (server, provider):
        server.reply(error(said), status=status, content_type="application/json")
        with pytest.raises(ProviderError):
            await listen(provider, ASKED)
        assert provider.capabilities("a-model").images


REFUSALS: list[tuple[str, int, bytes, type[ProviderError], bool, str]] = [
    ("401", 401, error("bad key", code="invalid_api_key"), AuthenticationFailed, False, "api_key"),
    ("403", 403, error("not allowed"), AuthenticationFailed, False, "api_key"),
    ("404", 404, error("no model", code="model_not_found"), ModelNotFound, False, "a-model"),
    ("429", 429, error("slow down"), RateLimited, True, "ask again"),
    ("quota", 429, error("no", type="insufficient_quota"), RateLimited, False, "credit"),
    # Rates of OpenAI, whose message advertises; then a month's limit that no waiting helps against.
    (
        "429-openai",
        429,
        error(
            "Rate limit reached for gpt-4o-mini on requests per min (RPM): Limit 3, Used 3. You can"
            " increase your rate limit by adding a payment method at"
            " https://platform.openai.com/account/billing.",
            type="requests",
            code="rate_limit_exceeded",
        ),
        RateLimited,
        True,
        "ask again",
    ),
    (
        "quota-openai",
        429,
        error("no", type="requests", code="billing_hard_limit_reached"),
        RateLimited,
        False,
        "credit",
    ),
    ("quota-text", 429, b"You exceeded your current quota", RateLimited, False, "credit"),
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
    ("302", 302, b"", BadResponse, False, "configure the address"),
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
    cases: list[tuple[dict[str, str], Any]] = [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "0.5"}, 0.5),
        ({"Retry-After-Ms": "250", "Retry-After": "9"}, 0.25),
        ({"Retry-After": in_a_minute}, pytest.approx(58, abs=2)),
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
            assert caught.value.retry_after == expected


async def test_who_says_when_to_ask_again_is_not_out_of_credit() -> None:
    async with scripted() as (server, provider):
        said = error("See your plan: you exceeded your current quota")
        server.reply(said, status=429, headers={"Retry-After": "20"})
        with pytest.raises(RateLimited, match="in 20 s") as caught:
            await listen(provider, ASKED)
        assert caught.value.retryable
        assert caught.value.retry_after == 20


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        ({"message": "overloaded", "type": "server_error"}, ProviderUnavailable),
        ({"message": "slow down", "type": "rate_limit_error"}, RateLimited),
        (
            {"message": "Rate limit", "type": "tokens", "code": "rate_limit_exceeded"},
            RateLimited,
        ),
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
        await asyncio.wait_for(server.gone.wait(), 20)


async def test_an_answer_broken_off_by_a_filter_is_filtered() -> None:
    async with scripted() as (server, provider):
        server.reply(chunk("How to"), chunk(finish="content_filter"), usage(5000, 40), DONE)
        with pytest.raises(ContentFiltered) as caught:
            await listen(provider, ASKED)
        assert caught.value.usage == Usage(input=5000, output=40), "which has to be paid for"


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
            await asyncio.wait_for(listen(provider, ASKED), 20)


@pytest.mark.parametrize("content_type", ["text/html", "text/plain"])
async def test_another_content_type_is_a_bad_response(content_type: str) -> None:
    async with scripted() as (server, provider):
        server.reply(b"<h1>Router login</h1>", content_type=content_type)
        with pytest.raises(BadResponse, match=f"{content_type}.*address.*Router login"):
            await listen(provider, ASKED)


async def test_an_answer_without_end_is_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.providers.assembly.LONGEST_ANSWER", 10_000)
    monkeypatch.setattr("actors.providers.sse.LONGEST_ITEM", 10_000)
    async with scripted() as (server, provider):
        for endless in (chunk("x" * 1000), b"data: " + b"x" * 1000, b": " + b"x" * 1000):
            server.replies.clear()
            server.gone.clear()
            server.reply(*([endless] * 20), HANG)
            with pytest.raises(BadResponse, match="more than 10000"):
                await asyncio.wait_for(listen(provider, ASKED), 20)
            await asyncio.wait_for(server.gone.wait(), 20)


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
