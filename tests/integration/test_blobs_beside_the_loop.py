"""Files of blobs are read and written in threads: the router's event loop never waits for them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from actors.messages import Reconfigure, RetryTurn
from api.nats_server import BundledNats
from events.open import open_blobs, open_store
from events.store import BlobStore
from events.types import Retry, TurnCompleted
from events.values import SPILL, Blob
from tests.sessions import answered
from tests.sound_log import assert_sound
from tests.wire import Wire, routing

SCRIPT = f"""
async def route(turn):
    return await turn.ask("a", instruction="Think. " * {SPILL})
"""


class Watched:
    """Blobs, and in which threads they are used."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._loop = threading.get_ident()
        self.uses: list[str] = []
        self.on_the_loop: list[str] = []

    def put(self, content: bytes, media_type: str = "text/plain; charset=utf-8") -> Blob:
        self._use(f"put {content[:40]!r}")
        return self._blobs.put(content, media_type)

    def get(self, blob: Blob) -> bytes:
        content = self._blobs.get(blob)
        self._use(f"get {content[:40]!r}")
        return content

    def size(self, sha256: str) -> int | None:
        self._use(f"size {sha256}")
        return self._blobs.size(sha256)

    def close(self) -> None:
        self._blobs.close()

    def _use(self, what: str) -> None:
        self.uses.append(what)
        if threading.get_ident() == self._loop:
            self.on_the_loop.append(what)


async def test_no_blob_is_read_or_written_on_the_event_loop(
    nats_server: BundledNats, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/room.db"
    (tmp_path / "long.py").write_text(SCRIPT)
    plain = open_blobs(url)
    store, blobs = open_store(url), Watched(plain)
    scripted: dict[str, Any] = {"routing_pattern": "script", "script": "long:route"}
    async with routing(nats_server, store, blobs, tmp_path) as wire:
        for session, changes in (("s1", {}), ("s2", scripted)):
            await wire.create(session, **changes)
            await wire.post(session, plain.put(b"Hello. " * SPILL), "p1")
            await wire.post(session, plain.put(b"Hello again. " * SPILL), "p2")
            await answer(wire, plain.put(b"Well. " * SPILL))
            await answer(wire, "Good.")
            again = Retry(turn="t1", participant="a")
            await wire.command(RetryTurn(session=session, by="user", id="again", retry=again))
            await answer(wire, "Better.")
            other = {"id": "a", "provider": "rehearsal", "model_name": f"instant-{session}"}
            other["model_name"] = "instant" if session == "s1" else "slow"
            change = Reconfigure(
                session=session, by="user", id="other", changes={"models": [other | {"role": "A"}]}
            )
            await wire.command(change)
            await wire.post(session, "Hello?", "p3")  # is left open
            await wire.asked(1)
    async with routing(nats_server, store, blobs, tmp_path, heartbeat=0.1) as wire:
        for _ in ("s1", "s2"):
            await answer(wire, "I am back.", attempt=2)
        await wire.post("s1", "Hello there.", "p4")
        await answer(wire, "Hello.")
    assert blobs.on_the_loop == []
    for part in ("put", "get"):
        assert any(use.startswith(part) for use in blobs.uses)
    ended = [
        e for s in ("s1", "s2") for e in await store.read(s) if isinstance(e.data, TurnCompleted)
    ]
    assert len(ended) == 9
    await assert_sound(store, plain, {})
    await store.close()


async def answer(wire: Wire, text: str | Blob, attempt: int = 1) -> None:
    ask = await wire.asked(attempt)
    assert await wire.outcome(ask, answered=answered(text, attempt=attempt)) == "committed"


async def test_a_turn_of_short_texts_asks_nothing_of_the_blob_store(
    nats_server: BundledNats, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/room.db"
    store, blobs = open_store(url), Watched(open_blobs(url))
    async with routing(nats_server, store, blobs, tmp_path) as wire:
        await wire.create("s1")
        created = len(blobs.uses)
        for id in ("p1", "p2"):
            await wire.post("s1", "Hello", id)
            await answer(wire, "Good.")
        assert len(blobs.uses) == created == 1
    await store.close()
