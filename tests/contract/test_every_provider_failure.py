"""How every type of provider fails: the class of the error, and what it says to do."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from events.errors import (
    AuthenticationFailed,
    BadResponse,
    ModelNotFound,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
)
from tests.contract.every_provider import ASKED, answer, every_provider, serving, those_with
from tests.contract.provider_calls import Answered, listen
from tests.servers.dialects.dialect import KEY, MODEL, Dialect, has
from tests.servers.scripted import CUT, HANG


async def failing(dialect: Dialect, *steps: Any, **how: Any) -> tuple[ProviderError, Answered]:
    """The error, and what came before it."""
    answered = Answered()
    async with serving(dialect, *steps, **how) as (_, provider):
        with pytest.raises(ProviderError) as caught:
            await asyncio.wait_for(listen(provider, ASKED, answered), 10)
    assert "the-provider" in caught.value.message or type(caught.value) is BadResponse
    assert KEY not in caught.value.message
    return caught.value, answered


REFUSALS: list[tuple[int, str, type[ProviderError], bool, str]] = [
    (401, f"the key {KEY} is not known", AuthenticationFailed, False, "check"),
    (403, "not allowed", AuthenticationFailed, False, "check"),
    (404, "there is no such model", ModelNotFound, False, repr(MODEL)),
    (429, "slow down", RateLimited, True, "ask again"),
    (500, "oops", ProviderUnavailable, True, "later"),
    (502, "bad gateway", ProviderUnavailable, True, "later"),
    (529, "overloaded", ProviderUnavailable, True, "later"),
    (400, "temperature must be positive", ProviderError, False, "temperature must be positive"),
]


@every_provider
@pytest.mark.parametrize("refusal", REFUSALS, ids=[str(case[0]) for case in REFUSALS])
async def test_a_refusal_has_its_class_and_says_what_to_do(
    dialect: Dialect, refusal: tuple[int, str, type[ProviderError], bool, str]
) -> None:
    status, message, expected, retryable, words = refusal
    error, _ = await failing(dialect, dialect.failure(status, message), status=status)
    assert type(error) is expected
    assert error.retryable is retryable
    assert words in error.message
    assert not error.accepted


@every_provider
async def test_retry_after_is_obeyed(dialect: Dialect) -> None:
    body = dialect.failure(429, "slow down")
    error, _ = await failing(dialect, body, status=429, headers={"Retry-After": "7"})
    assert isinstance(error, RateLimited)
    assert error.retry_after == 7
    error, _ = await failing(dialect, body, status=429)
    assert isinstance(error, RateLimited)
    assert error.retry_after is None


@every_provider
async def test_a_server_that_is_loading_is_unavailable_for_now(dialect: Dialect) -> None:
    error, _ = await failing(dialect, dialect.failure(503, "loading the model"), status=503)
    assert isinstance(error, ProviderUnavailable)
    assert error.retryable
    assert "loading the model" in error.message


@those_with("stream")
async def test_a_late_first_token_is_not_waited_for_without_end(dialect: Dialect) -> None:
    for how in ({"after": asyncio.Event()}, {}):
        error, answered = await failing(dialect, HANG, config={"first_token_timeout": 0.05}, **how)
        assert type(error) is ProviderUnavailable
        assert error.retryable
        assert "first_token_timeout" in error.message
        assert error.accepted
        assert answered.deltas == []


@those_with("whole")
async def test_a_whole_answer_has_a_time_limit_of_its_own(dialect: Dialect) -> None:
    config = {"stream": False, "first_token_timeout": 0.05, "answer_timeout": 0.3}
    for how in ({"after": asyncio.Event()}, {}):
        error, _ = await failing(dialect, HANG, config=config, **how)
        assert type(error) is ProviderUnavailable
        assert "0.3 s" in error.message
        assert "answer_timeout" in error.message
        assert error.accepted


@those_with("stream")
async def test_a_stream_that_stalls_fails(dialect: Dialect) -> None:
    steps = [*dialect.begin(), dialect.piece("The "), HANG]
    error, answered = await failing(dialect, *steps, config={"stall_timeout": 0.05})
    assert type(error) is ProviderUnavailable
    assert error.retryable
    assert "stall_timeout" in error.message
    assert error.accepted
    assert answered.text == "The "


@every_provider
@pytest.mark.parametrize("end", [(), (CUT,)], ids=["ends-early", "connection-lost"])
async def test_a_stream_without_its_end_is_no_answer(dialect: Dialect, end: Any) -> None:
    steps = [*dialect.begin(), dialect.piece("The "), *end]
    error, answered = await failing(dialect, *steps)
    assert type(error) is BadResponse
    assert error.retryable
    assert error.accepted
    assert answered.text == ("The " if has(dialect, "stream") else "")


@every_provider
async def test_a_server_that_hangs_up_is_unavailable(dialect: Dialect) -> None:
    error, _ = await failing(dialect, hang_up=True)
    assert type(error) is ProviderUnavailable
    assert error.retryable
    assert not error.accepted


@every_provider
@pytest.mark.parametrize(
    "malformed", [b"{broken\n\n", b"[1]\n\n", b"\xff\xfe\n\n", b"7\n\n", b"[" * 100_000 + b"\n\n"]
)
async def test_malformed_json_is_a_bad_response(dialect: Dialect, malformed: bytes) -> None:
    prefix = b"data: " if dialect.content_type == "text/event-stream" else b""
    # Only at its end is it known what a whole answer holds.
    rest = (HANG,) if has(dialect, "stream") else ()
    error, _ = await failing(dialect, prefix + malformed, *rest)
    assert type(error) is BadResponse
    assert error.accepted


@every_provider
async def test_another_content_type_is_a_bad_response(dialect: Dialect) -> None:
    error, _ = await failing(dialect, b"<h1>Router login</h1>", content_type="text/html")
    assert type(error) is BadResponse
    assert "Router login" in error.message
    assert "address" in error.message
    assert error.accepted


@every_provider
async def test_a_redirect_is_not_followed(dialect: Dialect) -> None:
    error, _ = await failing(dialect, b"", status=302, headers={"Location": "http://127.0.0.1:9/"})
    assert type(error) is BadResponse
    assert not error.retryable


@every_provider
async def test_after_a_failure_the_next_call_succeeds(dialect: Dialect) -> None:
    async with serving(dialect, dialect.failure(500, "oops"), status=500) as (server, provider):
        server.reply(*answer(dialect, "Hello."), content_type=dialect.content_type)
        with pytest.raises(ProviderUnavailable):
            await listen(provider, ASKED)
        assert (await listen(provider, ASKED)).text == "Hello."
