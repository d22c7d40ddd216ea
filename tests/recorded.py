"""Recorded sessions as files: one JSON object a line, the first about the whole.

    {"about": "...", "blobs": {"<sha256>": "<text>"}}
    {"stream": "s1", "position": 1, "type": "session.created", "version": 1, "at": "...", ...}

Old files stay readable: payloads go through the registry, which upcasts them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from events.envelope import Event
from events.registry import Registry
from events.values import Blob

_REGISTRY = Registry()
_ENVELOPE = ("at", "by", "command", "step", "cause")


@dataclass(frozen=True)
class Recorded:
    """A session as it was written down."""

    about: str
    events: tuple[Event, ...]
    contents: Mapping[str, bytes]

    def load(self, blob: Blob) -> str:
        """A text by its reference."""
        return self.contents[blob.sha256].decode()


def dumps(about: str, events: Sequence[Event], contents: Mapping[str, bytes]) -> bytes:
    """The lines of a recorded session, the same for the same session."""
    blobs = {sha: contents[sha].decode() for sha in sorted(contents)}
    lines = [orjson.dumps({"about": about, "blobs": blobs})]
    lines += [orjson.dumps(_line(event), option=orjson.OPT_UTC_Z) for event in events]
    return b"\n".join(lines) + b"\n"


def loads(lines: bytes) -> Recorded:
    """The recorded session of those lines."""
    first, *rest = lines.splitlines()
    head = orjson.loads(first)
    contents = {sha: text.encode() for sha, text in head["blobs"].items()}
    return Recorded(head["about"], tuple(map(_event, rest)), contents)


def read(path: Path) -> Recorded:
    """The recorded session of a file."""
    return loads(path.read_bytes())


def _line(event: Event) -> dict[str, object]:
    line: dict[str, object] = {
        "stream": event.stream,
        "position": event.position,
        "type": event.type,
        "version": event.version,
        "turn": event.turn,
    }
    line |= {name: getattr(event, name) for name in _ENVELOPE}
    line["data"] = orjson.Fragment(event.data.model_dump_json())
    return {name: value for name, value in line.items() if value is not None}


def _event(line: bytes) -> Event:
    tree = orjson.loads(line)
    stored = {name: tree[name] for name in (*_ENVELOPE, "data") if name in tree}
    body = _REGISTRY.load(tree["type"], tree["version"], orjson.dumps(stored))
    return Event(
        tree["stream"],
        tree["position"],
        body.at,
        body.by,
        body.data,
        body.command,
        tree.get("turn"),
        body.step,
        body.cause,
    )
