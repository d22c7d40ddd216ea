"""The number of logical partitions: fixed, and kept with the store."""

from __future__ import annotations

from events.errors import ConfigError

PARTITIONS = 64
"""Logical partitions of all streams. Who owns a stream follows from it, so it never changes."""
UNSAID = 64
"""What it was in stores that were made before they kept it."""


def check_partitions(kept: int, wanted: int, store: str) -> None:
    """Raise a `ConfigError` where `store` was made for another number than this room uses."""
    if kept != wanted:
        raise ConfigError(
            f"{store} was made for {kept} partitions, and this room uses {wanted}: two owners "
            "could take one session. Open it with a release that uses the same number"
        )
