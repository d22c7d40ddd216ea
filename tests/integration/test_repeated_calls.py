"""A call that is asked again though its first attempt is only late."""

from __future__ import annotations

import asyncio
from pathlib import Path

from actors import subjects
from api.nats_server import BundledNats
from events.open import open_blobs, open_store
from events.types import ModelDiscarded
from tests.sessions import answered
from tests.wire import routing


async def test_a_late_first_answer_counts_and_the_attempt_that_repeats_it_is_cancelled(
    nats_server: BundledNats, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/room.db"
    store, blobs = open_store(url), open_blobs(url)
    async with routing(nats_server, store, blobs, tmp_path, heartbeat=0.1) as wire:
        await wire.create("s1")
        await wire.post("s1", "Hello", "first")
        prompt = await wire.asked(1)
        assert await wire.outcome(prompt, answered=answered("At once.")) == "committed"

        await wire.post("s1", "Hello", "second")
        first = await wire.asked(1)
        again = await wire.asked(2)  # because nothing is heard of the first one
        assert await wire.outcome(first, answered=answered("Late.")) == "committed"
        await asyncio.wait_for(wire.cancel.wait(), 10)
        assert wire.cancelled == [subjects.cancel("s1", first.turn, first.step)]
        ended = ModelDiscarded(attempt=2, reason="cancelled")
        assert await wire.outcome(again, discarded=ended) == "discarded"
    types = [event.type for event in await store.read("s1")]
    assert types[1:] == [
        "turn.started", "model.asked", "model.answered", "turn.completed",
        "turn.started", "model.asked", "model.reasked", "model.answered",
        "turn.completed", "model.discarded",
    ]  # fmt: skip
    await store.close()
