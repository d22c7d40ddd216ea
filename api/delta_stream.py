"""The DELTAS stream: minutes of pieces in the memory of NATS, for clients that come back.

It is made by whoever needs it first and needs no care: it is not the record of anything.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import BadRequestError

from actors import subjects
from actors.bus import Bus

_log = logging.getLogger(__name__)

MAX_AGE = 15 * 60  # seconds
MAX_BYTES = 128 * 1024 * 1024
PAGE = 500  # pieces fetched at once
PATIENCE = 2.0  # seconds for one page
TRIES, PAUSE = 5, 0.2  # seconds between two tries to make the stream

_CONFIG = StreamConfig(
    name=subjects.DELTA_STREAM,
    description="pieces of answers, for eyes only",
    subjects=["room.delta.>"],
    storage=StorageType.MEMORY,
    retention=RetentionPolicy.LIMITS,
    discard=DiscardPolicy.OLD,
    max_age=MAX_AGE,
    max_bytes=MAX_BYTES,
    num_replicas=1,
)


async def ensure_stream(bus: Bus) -> bool:
    """Have the DELTAS stream there, with our bounds; tells whether it is.

    Without it, everything works but for the beginning of answers that are under way when a client
    comes back: that is missing until the answer is complete.
    """
    trouble: Exception | None = None
    for _ in range(TRIES):
        try:
            js = bus.jetstream()
            try:
                await js.add_stream(_CONFIG)
            except BadRequestError:
                await js.update_stream(_CONFIG)  # made by another release
        except (NatsError, TimeoutError, OSError) as error:
            trouble = error
            await asyncio.sleep(PAUSE)  # a server that has just started is not ready for this
        else:
            return True
    _log.warning("no stream of deltas, so answers under way cannot be shown again: %s", trouble)
    return False


async def stored_pieces(
    bus: Bus, session: str, steps: Iterable[tuple[str, str]]
) -> list[tuple[str, bytes]]:
    """Subject and bytes of every stored piece of these steps (turn and key), in their order.

    Empty where NATS does not give them.
    """
    filters = [
        f"{subjects.delta(session, turn, step, 0).rpartition('.')[0]}.*" for turn, step in steps
    ]
    if not filters:
        return []
    try:
        return await _read(bus.jetstream(), filters)
    except (NatsError, TimeoutError, OSError) as error:
        _log.warning("pieces of session %s could not be read again: %s", session, error)
        return []


async def _read(js: JetStreamContext, filters: list[str]) -> list[tuple[str, bytes]]:
    config = ConsumerConfig(
        filter_subjects=filters,
        deliver_policy=DeliverPolicy.ALL,
        ack_policy=AckPolicy.NONE,
        mem_storage=True,
        inactive_threshold=30.0,
    )
    consumer = await js.add_consumer(subjects.DELTA_STREAM, config)
    left = consumer.num_pending or 0
    pieces: list[tuple[str, bytes]] = []
    if left:
        subscription = await js.pull_subscribe_bind(
            consumer=consumer.name, stream=subjects.DELTA_STREAM
        )
        try:
            while left > 0:
                for message in await subscription.fetch(min(left, PAGE), timeout=PATIENCE):
                    pieces.append((message.subject, message.data))
                    left -= 1
        finally:
            await subscription.unsubscribe()
    await js.delete_consumer(subjects.DELTA_STREAM, consumer.name)
    return pieces
