"""Which router, in which version, runs a turn. Old versions stay, so that old turns replay."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from actors.routing import broadcast, coordinator, round_robin, voting, workflow
from actors.routing.turn import Turn
from events.config import Pattern
from events.errors import UnknownEvent

Route = Callable[[Turn], Coroutine[Any, Any, Any]]

ROUTERS: dict[tuple[Pattern, int], Route] = {
    ("broadcast", 1): broadcast.route,
    ("coordinator", 1): coordinator.route,
    ("round_robin", 1): round_robin.route,
    ("voting", 1): voting.route,
    ("workflow", 1): workflow.route,
}

CURRENT: dict[Pattern, int] = {"script": 1}
for _pattern, _version in ROUTERS:
    CURRENT[_pattern] = max(_version, CURRENT.get(_pattern, 0))


def router(pattern: Pattern, version: int) -> Route:
    """The router of a pattern in a version; raises `UnknownEvent` for one this release lacks."""
    try:
        return ROUTERS[pattern, version]
    except KeyError:
        raise UnknownEvent(
            f"this release has no router {pattern!r} in version {version}: replay the session with "
            "the release that recorded it, or a newer one"
        ) from None
