"""The turns of every built-in router replay."""

from __future__ import annotations

import pytest

from events.types import TurnCompleted
from tests.sessions import Driven
from tests.unit.structured_answers import ballot, plan


@pytest.mark.parametrize("pattern", ["broadcast", "coordinator", "round_robin", "voting"])
def test_every_turn_replays(pattern: str) -> None:
    room = Driven(routing_pattern=pattern, coordinator="a")
    for text in (plan(["b", "c"]), ballot("b"), "nonsense"):
        room.post()
        while room.waiting:
            room.answer(room.waiting[-1], text)
    assert len(room.data(TurnCompleted)) == 3
    assert room.replay().session.position == len(room.log)
