"""Who waits for the projections looks again when they have advanced."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from actors import subjects
from actors.bus import Bus
from api.projected import Advances
from projections.runner import Projected
from tests.waiting import eventually


class Position:
    """How far the projections are; counts the looks."""

    def __init__(self) -> None:
        self.at = 0
        self.looks = 0

    def looked(self, times: int) -> Callable[[], bool]:
        return lambda: self.looks == times

    def __call__(self) -> int:
        self.looks += 1
        return self.at


async def test_a_notice_is_looked_at_once_and_nothing_else_is(
    module_nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.projected.AGAIN", 600)
    monkeypatch.setattr("api.projected.WITHIN", 60)
    bus, projector = await Bus.connect(module_nats_url), await Bus.connect(module_nats_url)
    advances, position = Advances(bus), Position()
    await advances.start()
    waiting = asyncio.create_task(advances.until(position, 2))
    for sequence in (1, 2):
        await eventually(position.looked(sequence), within=10, what="a look")
        position.at = sequence
        await projector.publish(subjects.PROJECTED, Projected(sequence=sequence))
    await asyncio.wait_for(waiting, 10)
    assert position.looks == 3
    await bus.close()
    await projector.close()


async def test_a_notice_that_is_lost_costs_a_moment_and_a_projector_that_stands_two_seconds(
    module_nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.projected.AGAIN", 0.01)
    bus = await Bus.connect(module_nats_url)
    advances, position = Advances(bus), Position()
    await advances.start()
    waiting = asyncio.create_task(advances.until(position, 1))
    await eventually(lambda: position.looks > 1, within=10, what="another look")
    position.at = 1
    await asyncio.wait_for(waiting, 10)
    monkeypatch.setattr("api.projected.WITHIN", 0.05)
    await asyncio.wait_for(advances.until(position, 20), 10)
    await bus.close()
