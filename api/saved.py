"""Presets as the log has them now."""

from __future__ import annotations

from api.doors import Doors
from events.preset import Preset
from events.presets import stream_of
from projections.presets import PresetView


async def preset_of(doors: Doors, name: str) -> PresetView | None:
    """What the name stands for as of now; None for nothing."""
    preset = Preset(stream_of(name))
    for event in await doors.room.store.read(preset.stream):
        preset.apply(event)
    if preset.config is None or preset.preset is None or preset.at is None:
        return None
    return PresetView(
        name=name,
        kind=preset.preset,
        config=preset.config,
        saved_at=preset.at,
        saved_by=preset.by,
        position=preset.position,
    )
