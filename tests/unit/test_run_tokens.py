"""Tokens of runs: what a door believes, and what it does not."""

from __future__ import annotations

import pytest

from actors.run_tokens import RunToken, run_of

KEY = b"k" * 32
RUN = RunToken("night-shift", "t1", 2)


def test_a_token_says_which_run_it_is_for() -> None:
    assert run_of(RUN.signed(KEY), KEY) == RUN


@pytest.mark.parametrize(
    "forged",
    [
        RUN.signed(b"another key of thirty-two bytes!"),
        RUN.signed(KEY).replace(".2.", ".3."),
        RUN.signed(KEY).replace("night-shift", "day-shift"),
        RUN.signed(KEY)[:-1],
        RUN.signed(KEY) + "0",
        "run-night-shift.t1.2",
        "",
        "secret",
    ],
)
def test_whatever_else_is_no_token(forged: str) -> None:
    assert run_of(forged, KEY) is None
