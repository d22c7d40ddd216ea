"""The list of presets: one row for each name that stands for a configuration."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import Any

import orjson
from pydantic import Field

from events.presets import PREFIX, PresetDeleted, PresetKind, PresetSaved
from events.values import Value
from projections.projector import Page


class PresetView(Value):
    """A saved configuration, as of `position` of its stream."""

    name: str
    kind: PresetKind
    config: dict[str, Any]
    saved_at: datetime
    saved_by: str
    position: int


class PresetPage(Value):
    """All presets, by name. `position` is the sequence of the store that is counted in."""

    presets: tuple[PresetView, ...]
    position: int = Field(description="of the store, up to which events are counted in")


class PresetTable:
    """Keeps `presets`."""

    name = "presets"
    version = 1
    ddl: tuple[str, ...] = (
        "CREATE TABLE presets (name TEXT PRIMARY KEY, kind TEXT NOT NULL, config BLOB NOT NULL, "
        "saved_at TEXT NOT NULL, saved_by TEXT NOT NULL, position INTEGER NOT NULL) WITHOUT ROWID",
    )

    def apply(self, connection: sqlite3.Connection, page: Page) -> None:
        for recorded in page:
            event = recorded.event
            name = event.stream.removeprefix(PREFIX)
            if name == event.stream:
                continue
            match event.data:
                case PresetSaved() as data:
                    values = (
                        name,
                        data.preset,
                        data.model_dump_json(include={"config"}),
                        event.at.isoformat(),
                        event.by,
                        event.position,
                    )
                    connection.execute(
                        "INSERT OR REPLACE INTO presets VALUES (?,?,?,?,?,?)", values
                    )
                case PresetDeleted():
                    connection.execute("DELETE FROM presets WHERE name = ?", (name,))
                case _:
                    pass


def list_presets(
    connection: sqlite3.Connection, kind: PresetKind | None = None
) -> tuple[PresetView, ...]:
    """All of them, or those of one kind, by name."""
    found = connection.execute(
        "SELECT name, kind, config, saved_at, saved_by, position FROM presets "
        "WHERE kind = ? OR ? IS NULL ORDER BY name",
        (kind, kind),
    )
    return tuple(
        PresetView(
            name=name,
            kind=kind,
            config=orjson.loads(config)["config"],
            saved_at=saved_at,
            saved_by=saved_by,
            position=position,
        )
        for name, kind, config, saved_at, saved_by, position in found
    )
