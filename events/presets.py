"""What is saved under a name: rooms to open again, and toolchains to run again."""

from __future__ import annotations

from typing import Any, ClassVar, Final, Literal

from events.payload import Input

PREFIX = "preset:"

PresetKind = Literal["room", "toolchain"]
LONGEST: Final = 64 * 1024
"""Bytes of a configuration, as compact JSON in UTF-8."""


def stream_of(name: str) -> str:
    """The stream of the preset of that name."""
    return PREFIX + name


class PresetSaved(Input):
    """The configuration that the name stands for from now on.

    Of a room it is a session's without `session_id`, of a toolchain a workflow's without `run_id`.
    """

    type: ClassVar[str] = "preset.saved"
    preset: PresetKind
    config: dict[str, Any]


class PresetDeleted(Input):
    """The name stands for nothing any more; sessions and runs that were made of it go on."""

    type: ClassVar[str] = "preset.deleted"


PRESET_PAYLOADS = (PresetSaved, PresetDeleted)
