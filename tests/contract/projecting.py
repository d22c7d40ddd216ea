"""Session logs, and their projections made from a store."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

from events.store import EventStore
from projections.runner import ProjectionRunner
from tests.eventful_logs import eventful_log
from tests.session_logs import SessionLog


def logs(seed: int, count: int = 3) -> list[SessionLog]:
    """Sessions `s0`, `s1`, ... in which anything happens."""
    random = Random(seed)
    return [eventful_log(f"s{n}", random) for n in range(count)]


async def catch_up(store: EventStore, path: Path, **options: Any) -> int:
    """Count in all that is in the store; returns the sequence that was reached."""
    async with ProjectionRunner(store, path, **options) as runner:
        return await runner.catch_up()
