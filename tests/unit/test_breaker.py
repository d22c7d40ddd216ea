"""When a model is left alone, and when it is asked again."""

from __future__ import annotations

import asyncio

import pytest

from actors.breaker import Breaker
from events.errors import BadResponse, ContextTooLong, ProviderUnavailable, RateLimited
from tests.unit.test_pace import Clock

GONE = ProviderUnavailable("nobody is at home")


def breaker(clock: Clock, failures: int = 3) -> Breaker:
    return Breaker("model 'm' of provider 'p'", failures, 30.0, clock)


def fail(breaker: Breaker, error: BaseException = GONE, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(type(error), match=str(error)), breaker.call():
            raise error


def test_it_opens_after_failures_in_a_row() -> None:
    one = breaker(Clock())
    fail(one, times=2)
    assert one.state == "closed"
    fail(one)
    assert one.report() == {"state": "open", "failures": 3, "seconds": 30.0}
    with pytest.raises(ProviderUnavailable, match=r"'m' of.* 3 times .* UTC, in 30 s") as caught:
        one.check()
    assert caught.value.retry_after == 30
    assert caught.value.retryable
    assert "nobody is at home" in caught.value.message


@pytest.mark.parametrize("error", [None, ContextTooLong("too long"), RateLimited("slow down")])
def test_any_answer_of_the_provider_ends_the_row(error: Exception | None) -> None:
    one = breaker(Clock())
    fail(one, times=2)
    if error is None:
        with one.call():
            assert one.state == "closed"
    else:
        fail(one, error)
    fail(one, times=2)
    assert one.state == "closed"


@pytest.mark.parametrize(
    "error",
    [
        ProviderUnavailable("loading", retry_after=5),
        asyncio.CancelledError("x"),
    ],
)
def test_what_tells_nothing_changes_nothing(error: BaseException) -> None:
    one = breaker(Clock())
    fail(one, times=2)
    fail(one, error, times=5)
    assert one.report()["failures"] == 2
    fail(one)
    assert one.state == "open"


def test_broken_answers_count_as_failures() -> None:
    clock = Clock()
    one = breaker(clock)
    fail(one)
    fail(one, BadResponse("cut"), times=2)
    assert one.state == "open"
    with pytest.raises(ProviderUnavailable, match="The last time: cut"):
        one.check()
    clock.now += 31
    fail(one, BadResponse("cut"))
    assert one.state == "open"


def test_after_its_pause_one_call_may_try() -> None:
    clock = Clock()
    one = breaker(clock)
    fail(one, times=3)
    clock.now += 30
    assert one.state == "half-open"
    one.check()
    with one.call():
        with pytest.raises(ProviderUnavailable, match="being tried with another call"):
            one.check()
        with pytest.raises(ProviderUnavailable, match="being tried"), one.call():
            raise AssertionError("it is not sent")
    assert one.report() == {"state": "closed", "failures": 0, "seconds": 0.0}
    one.check()


def test_a_try_that_fails_opens_it_again() -> None:
    clock = Clock()
    one = breaker(clock)
    fail(one, times=3)
    clock.now += 31
    fail(one)
    assert one.report() == {"state": "open", "failures": 4, "seconds": 30.0}


def test_a_try_that_was_called_off_leaves_room_for_another() -> None:
    clock = Clock()
    one = breaker(clock)
    fail(one, times=3)
    clock.now += 31
    fail(one, asyncio.CancelledError("called off"))
    assert one.state == "half-open"
    with one.call():
        pass
    assert one.state == "closed"


def test_none_is_opened_where_none_is_wanted() -> None:
    one = breaker(Clock(), failures=0)
    fail(one, times=50)
    assert one.state == "closed"
