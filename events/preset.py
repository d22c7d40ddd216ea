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
    commands: dict[str, PresetSaved | PresetDeleted] = field(default_factory=dict)
    """What each command that was carried out made, by its id."""

    def apply(self, event: Event) -> None:
        """Fold one event. Events must come in order and without gaps."""
        self.position, self.by, self.at = event.position, event.by, event.at
        if event.command is not None and isinstance(event.data, PresetSaved | PresetDeleted):
            self.commands[event.command] = event.data
        match event.data:
            case PresetSaved(preset=preset, config=config):
                self.preset, self.config = preset, config
            case PresetDeleted():
                self.preset = self.config = None
            case _:
                pass
