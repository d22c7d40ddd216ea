"""A preset: a saved configuration, as a stream of its own with one owner."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from events.envelope import Event
from events.presets import PresetDeleted, PresetKind, PresetSaved


@dataclass(slots=True)
class Preset:
    """The folded state of a preset. `apply` is the only thing that changes it.

    `config` is None where there is none under that name (any more).
    """

    stream: str
    position: int = 0
    preset: PresetKind | None = None
    config: dict[str, Any] | None = None
    by: str = ""
    at: datetime | None = None
    commands: set[str] = field(default_factory=set)
    """Ids of the commands that were carried out."""

    def apply(self, event: Event) -> None:
        """Fold one event. Events must come in order and without gaps."""
        self.position, self.by, self.at = event.position, event.by, event.at
        if event.command is not None:
            self.commands.add(event.command)
        match event.data:
            case PresetSaved(preset=preset, config=config):
                self.preset, self.config = preset, config
            case PresetDeleted():
                self.preset = self.config = None
            case _:
                pass
