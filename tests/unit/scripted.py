"""Sessions whose router is a function of the test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from actors.routing.turn import Turn
from events.values import Blob
from tests.sessions import Driven


def scripted(route: Callable[[Turn], Any], **changes: Any) -> Driven:
    """A session whose router is `route`."""
    settings = {"routing_pattern": "script", "script": "test:route"} | changes
    script = Blob.of(b"source of test:route", "application/json")
    return Driven(source=script, scripts=lambda _blob, _entry: route, **settings)
