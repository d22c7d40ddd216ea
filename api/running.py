"""Which process of a room is which: one small file each in `run/` of the data directory.

For people and tests. Nothing in the room depends on it, and after a crash a file may name a process
that is gone.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

_log = logging.getLogger(__name__)


def note(folder: Path, name: str, pid: int | None = None, **facts: Any) -> None:
    """Write `<folder>/<name>.json`: `{"pid": ..., **facts}`, readable by the owner alone."""
    path = folder / f"{name}.json"
    fresh = folder / f".{name}.{os.getpid()}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh.touch(mode=0o600)
        fresh.write_text(json.dumps({"pid": os.getpid() if pid is None else pid, **facts}))
        fresh.replace(path)
    except OSError as error:
        _log.warning("%s cannot be written: %s", path, error)


def noted(folder: Path) -> dict[str, dict[str, Any]]:
    """What was noted, by name."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        try:
            content = json.loads(path.read_text())
        except (OSError, ValueError):
            continue  # it was taken away meanwhile, or is another file
        if isinstance(content, dict) and isinstance(content.get("pid"), int):
            found[path.stem] = content
    return found
