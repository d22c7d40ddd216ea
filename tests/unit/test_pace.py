"""What is learned of a model's rate limits, and how long calls wait for that."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from actors.providers.pace import LONGEST_HELD, LONGEST_LEARNED, Pace, seconds


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def openai(kind: str, limit: int, left: int, reset: str) -> dict[str, str]:
    return {
        f"x-ratelimit-limit-{kind}": str(limit),
        f"x-ratelimit-remaining-{kind}": str(left),
        f"x-ratelimit-reset-{kind}": reset,
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1s", 1), ("6m0s", 360), ("120ms", 0.12), ("2m59.56s", 179.56), ("1h0m1s", 3601),
        ("7", 7), ("0.25", 0.25), ("", None), ("soon", None), ("1s?", None), ("-1", None),
        ("2d", None), ("1e9", None),
    ],
)  # fmt: skip
def test_durations_are_read_in_every_form(text: str, expected: float | None) -> None:
    assert seconds(text) == (None if expected is None else pytest.approx(expected))


def test_dates_are_read_as_the_time_until_then() -> None:
    then = datetime.now(UTC) + timedelta(seconds=30)
    assert seconds(then.strftime("%Y-%m-%dT%H:%M:%SZ")) == pytest.approx(30, abs=2)
    assert seconds("2020-01-01T00:00:00Z") == 0


def test_nothing_is_known_and_nobody_waits() -> None:
    pace = Pace()
    pace.learn({"content-type": "text/plain", "x-ratelimit-remaining-requests": "many"})
    pace.spend(10_000)
    assert pace.wait(10_000) == 0


def test_a_used_up_limit_is_waited_for() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.learn(openai("requests", 1, 0, "1s"))
    assert pace.wait() == pytest.approx(1)
    clock.now += 0.75
    assert pace.wait() == pytest.approx(0.25)
    clock.now += 0.25
    assert pace.wait() == 0


def test_what_is_used_comes_back_steadily() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.learn(openai("requests", 60, 0, "1m0s"))
    assert pace.wait() == pytest.approx(1)
    clock.now += 1
    assert pace.wait() == 0
    pace.spend()
    assert pace.wait() == pytest.approx(1)


def test_calls_since_the_last_answer_count() -> None:
    pace = Pace(Clock())
    pace.learn(openai("requests", 100, 2, "98s"))
    assert pace.wait() == 0
    pace.spend()
    assert pace.wait() == 0
    pace.spend()
    assert pace.wait() == pytest.approx(1)


def test_calls_under_way_are_not_forgotten_with_the_next_answer() -> None:
    pace = Pace(Clock())
    pace.learn(openai("requests", 60, 40, "20s"))
    for _ in range(40):
        pace.spend()
    assert pace.wait() == pytest.approx(1)
    pace.learn(openai("requests", 60, 39, "21s"))  # of the first of them
    assert pace.wait() == pytest.approx(1)
    for left in range(38, 0, -1):
        pace.learn(openai("requests", 60, left, f"{60 - left}s"))
    pace.learn(openai("requests", 60, 1, "59s"))
    assert pace.wait() == 0, "all have answered"


def test_a_call_that_ends_without_headers_is_under_way_no_longer() -> None:
    pace = Pace(Clock())
    with pace.call(50), pytest.raises(OSError, match="gone"), pace.call(950):
        raise OSError("gone")
    pace.learn(openai("tokens", 1000, 100, "9s"))
    assert pace.wait(100) == 0


def test_an_older_answer_does_not_raise_what_is_left() -> None:
    clock = Clock()
    pace = Pace(clock)
    with pace.call(), pace.call():
        clock.now += 1
        pace.learn(openai("requests", 60, 0, "60s"))
        pace.learn(openai("requests", 60, 20, "40s"))
        assert pace.wait() == pytest.approx(1)
    clock.now += 0.5
    assert pace.wait() == pytest.approx(0.5)
    # That of a call which was sent after it is believed.
    with pace.call():
        pace.learn(openai("requests", 60, 20, "40s"))
    assert pace.wait() == 0


def test_tokens_are_waited_for_as_many_as_a_call_wants() -> None:
    pace = Pace(Clock())
    pace.learn({**openai("requests", 100, 99, "1s"), **openai("tokens", 1000, 400, "6s")})
    assert pace.wait(400) == 0
    assert pace.wait(700) == pytest.approx(3)
    # It would never fit: that is for the server to say.
    assert pace.wait(1001) == 0


def test_the_names_of_anthropic_are_read() -> None:
    pace = Pace()
    reset = (datetime.now(UTC) + timedelta(seconds=20)).isoformat()
    pace.learn(
        {
            "anthropic-ratelimit-requests-limit": "50",
            "anthropic-ratelimit-requests-remaining": "49",
            "anthropic-ratelimit-requests-reset": reset,
            "anthropic-ratelimit-input-tokens-limit": "1000",
            "anthropic-ratelimit-input-tokens-remaining": "0",
            "anthropic-ratelimit-input-tokens-reset": reset,
        }
    )
    assert pace.wait(500) == pytest.approx(10, abs=0.5)


def test_a_limit_without_its_size_is_waited_for_whole() -> None:
    pace = Pace(Clock())
    pace.learn({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "9s"})
    assert pace.wait() == pytest.approx(9)


def test_a_refusal_shows_that_nothing_comes_back_before_the_reset() -> None:
    pace = Pace(Clock())
    pace.learn(openai("requests", 60, 0, "30s"), limited=True)
    assert pace.wait() == pytest.approx(30)


def test_every_wait_is_bounded() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.learn(openai("requests", 1, 0, "24h"))
    assert pace.wait() == LONGEST_LEARNED
    pace.hold(10.0**9)
    assert pace.wait() == LONGEST_HELD
    pace.hold(1)
    assert pace.wait() == LONGEST_HELD
