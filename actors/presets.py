"""Owns the presets of some partitions: saves and deletes them, one command after the other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import to_json

from actors.bus import Msg
from actors.deciding import NotFound, explain
from actors.messages import Problem
from actors.problem import problem
from events.config import SessionConfig
from events.envelope import Event, now
from events.errors import ConfigError, Conflict, ControlRoomError, StoreError
from events.preset import Preset
from events.presets import LONGEST, PresetDeleted, PresetKind, PresetSaved, stream_of
from events.store import EventStore
from events.types import Payload
from events.values import Id, Value

_log = logging.getLogger(__name__)

CONFLICTS = 5
"""How often a decision is made again after another writer was faster."""


class SavePreset(Value):
    """To the owner: let `name` stand for this configuration from now on."""

    op: Literal["save"] = "save"
    name: Id
    by: str
    id: str = Field(min_length=1, max_length=256)
    preset: PresetKind
    config: dict[str, Any]


class DeletePreset(Value):
    """To the owner: let `name` stand for nothing any more."""

    op: Literal["delete"] = "delete"
    name: Id
    by: str
    id: str = Field(min_length=1, max_length=256)


KEEPING: TypeAdapter[SavePreset | DeletePreset] = TypeAdapter(
    Annotated[SavePreset | DeletePreset, Field(discriminator="op")]
)


class Kept(Value):
    """Answer of the owner: the position at which it is committed, or why it is not carried out."""

    position: int | None = None
    problem: Problem | None = None


class Presets:
    """The presets of one router. A plain class: its owner subscribes `serve`."""

    def __init__(
        self, store: EventStore, announce: Callable[[Sequence[Event]], Awaitable[None]]
    ) -> None:
        """`announce` tells those who follow the log of a commit."""
        self._store = store
        self._announce = announce
        self._deciding = asyncio.Lock()

    async def serve(self, msg: Msg) -> None:
        """Answer one command, when it is committed or refused."""
        try:
            kept = Kept(position=await self.carry_out(KEEPING.validate_json(msg.data)))
        except ValidationError as error:
            kept = Kept(problem=problem(ConfigError(explain(error))))
        except ControlRoomError as error:
            if not isinstance(error, ConfigError):
                _log.warning("a preset could not be kept: %s", error)
            kept = Kept(problem=problem(error))
        await msg.respond(kept)

    async def carry_out(self, command: SavePreset | DeletePreset) -> int:
        """Decide and commit; the position of the preset's last event then.

        Raises `ConfigError` for a configuration that cannot be, `NotFound` where there is nothing
        to delete.
        """
        async with self._deciding:
            for _ in range(CONFLICTS):
                preset = Preset(stream_of(command.name))
                for event in await self._store.read(preset.stream):
                    preset.apply(event)
                made = decided(preset, command)
                if made is None:
                    return preset.position
                event = Event(
                    preset.stream, preset.position + 1, now(), command.by, made, command.id
                )
                try:
                    await self._store.append(preset.stream, preset.position, [event])
                except Conflict:
                    continue
                await self._announce([event])
                return event.position
        raise StoreError(f"preset {command.name!r} has another writer", retryable=True)


def decided(preset: Preset, command: SavePreset | DeletePreset) -> Payload | None:
    """What a command adds to the preset's stream; None where it is so already."""
    made = preset.commands.get(command.id)
    if isinstance(command, DeletePreset):
        if made is not None:
            _check_same(command, made, PresetDeleted())
            return None
        if preset.config is None:
            raise NotFound(f"there is no preset {command.name!r}: GET /v1/presets lists them")
        return PresetDeleted()
    config = checked(command.preset, command.config)
    if made is not None:
        _check_same(command, made, PresetSaved(preset=command.preset, config=config))
        return None
    if (preset.preset, preset.config) == (command.preset, config):
        return None
    return PresetSaved(preset=command.preset, config=config)


def _check_same(command: SavePreset | DeletePreset, made: Payload, now: Payload) -> None:
    """Raise `ConfigError` where a command that was carried out is another one now."""
    if made != now:
        raise ConfigError(
            f"Idempotency-Key {command.id!r} was used for another change of preset"
            f" {command.name!r}: use a new key for it"
        )


def checked(preset: PresetKind, config: dict[str, Any]) -> dict[str, Any]:
    """The configuration without the id that each use gives its own.

    Raises `ConfigError` where it is too long, or can be no room.
    """
    own = "session_id" if preset == "room" else "run_id"
    config = {key: value for key, value in config.items() if key != own}
    size = len(to_json(config))
    if size > LONGEST:
        raise ConfigError(f"config: {size} bytes, and a preset may have {LONGEST}: shorten it")
    if preset == "room":
        try:
            SessionConfig.model_validate({"session_id": "room"} | config)
        except ValidationError as error:
            raise ConfigError(f"config: {explain(error)}") from None
    return config
