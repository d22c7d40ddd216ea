"""Presets: one owner decides each command once, and the last one saved is what counts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from actors.deciding import NotFound
from actors.presets import DeletePreset, Presets, SavePreset
from events.envelope import Event
from events.errors import ConfigError
from events.open import open_store
from events.preset import Preset
from events.presets import LONGEST, stream_of
from events.store import EventStore

ROOM: dict[str, Any] = {"models": [{"id": "a", "provider": "rehearsal", "model_name": "steady"}]}


def save(id: str, config: dict[str, Any], **more: Any) -> SavePreset:
    fields: dict[str, Any] = {"name": "reviewers", "by": "user:ada", "preset": "room"} | more
    return SavePreset(id=id, config=config, **fields)


def delete(id: str) -> DeletePreset:
    return DeletePreset(id=id, name="reviewers", by="user:ada")


class Announced:
    """What those who follow the log are told."""

    def __init__(self) -> None:
        self.types: list[str] = []

    async def __call__(self, events: Sequence[Event]) -> None:
        self.types += [event.type for event in events]


@pytest.fixture
def store() -> EventStore:
    return open_store("memory:")


async def folded(store: EventStore) -> Preset:
    preset = Preset(stream_of("reviewers"))
    for event in await store.read(preset.stream):
        preset.apply(event)
    return preset


async def test_the_last_that_was_saved_is_what_the_name_stands_for(store: EventStore) -> None:
    announced = Announced()
    presets = Presets(store, announced)
    assert await presets.carry_out(save("1", ROOM | {"session_id": "gone"})) == 1
    assert await presets.carry_out(save("2", ROOM | {"title": "Second"})) == 2
    preset = await folded(store)
    assert (preset.preset, preset.config) == ("room", ROOM | {"title": "Second"})
    assert preset.by == "user:ada"
    assert (await store.read(preset.stream))[0].data.model_dump()["config"] == ROOM
    assert await presets.carry_out(delete("3")) == 3
    assert (await folded(store)).config is None
    assert announced.types == ["preset.saved", "preset.saved", "preset.deleted"]


async def test_a_repeated_command_takes_effect_once(store: EventStore) -> None:
    presets = Presets(store, Announced())
    await presets.carry_out(save("1", ROOM))
    await presets.carry_out(save("2", ROOM | {"title": "Second"}))
    assert await presets.carry_out(save("1", ROOM)) == 2
    assert (await folded(store)).config == ROOM | {"title": "Second"}
    assert await presets.carry_out(save("3", ROOM | {"title": "Second"})) == 2


async def test_a_key_is_for_one_change(store: EventStore) -> None:
    presets = Presets(store, Announced())
    await presets.carry_out(save("1", ROOM))
    for other in (
        save("1", ROOM | {"title": "Other"}),
        save("1", ROOM, preset="toolchain"),
        delete("1"),
    ):
        with pytest.raises(ConfigError, match="'1' was used for another change"):
            await presets.carry_out(other)
    await presets.carry_out(delete("2"))
    with pytest.raises(ConfigError, match="'2' was used for another change"):
        await presets.carry_out(save("2", ROOM))
    assert await presets.carry_out(delete("2")) == 2
    assert (await folded(store)).config is None


async def test_a_toolchain_is_any_object(store: EventStore) -> None:
    presets = Presets(store, Announced())
    crew = {"mode": "framework", "framework": {"type": "crewai", "config": {}}}
    await presets.carry_out(save("1", crew | {"run_id": "r1"}, preset="toolchain"))
    assert (await folded(store)).config == crew


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"models": []}, "config: models"),
        (ROOM | {"colour": "red"}, "colour: unknown key"),
        (ROOM | {"title": "x" * LONGEST}, "a preset may have"),
    ],
)
async def test_what_can_be_no_room_is_not_saved(
    store: EventStore, config: dict[str, Any], why: str
) -> None:
    with pytest.raises(ConfigError, match=why):
        await Presets(store, Announced()).carry_out(save("1", config))
    assert (await folded(store)).position == 0


async def test_nothing_is_deleted_twice(store: EventStore) -> None:
    presets = Presets(store, Announced())
    with pytest.raises(NotFound, match="no preset 'reviewers'"):
        await presets.carry_out(delete("1"))
    await presets.carry_out(save("2", ROOM))
    await presets.carry_out(delete("3"))
    assert await presets.carry_out(delete("3")) == 2
    with pytest.raises(NotFound):
        await presets.carry_out(delete("4"))


async def test_two_owners_lose_nothing(store: EventStore) -> None:
    """Ownership saves work; what holds is that a position is taken once."""
    owners = [Presets(store, Announced()) for _ in range(2)]
    saved = [owners[n % 2].carry_out(save(f"{n}", ROOM | {"title": f"{n}"})) for n in range(6)]
    positions = await asyncio.gather(*saved)
    assert sorted(positions) == [1, 2, 3, 4, 5, 6]
    assert len((await folded(store)).commands) == 6
