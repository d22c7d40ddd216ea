"""The versions of what decides a turn: what new turns begin with, and what still replays."""

from __future__ import annotations

from actors.routing import context
from events.errors import UnknownEvent
from events.values import Semantics

ENGINE = 4
"""Version of the engine and of the machine: what new turns begin with.

1: no fallbacks. 2: a step that failed is asked again of the participant's next fallback. 3:
participants call tools. 4: nobody is asked about a call whose arguments cannot fit; it is refused.
And no fallback takes the step that another participant's tools leave for its last question.
"""
ENGINES = (1, 2, 3, 4)
"""The versions that are still run, so that what they decided replays."""
PARSERS = 1
"""Version of `actors.routing.parsing`."""


def readable(semantics: Semantics) -> None:
    """Raise `UnknownEvent` for a turn that code of another release decided."""
    ours = {"engine": ENGINES, "context": context.VERSIONS, "parsers": (PARSERS,)}
    for name, versions in ours.items():
        if (theirs := getattr(semantics, name)) not in versions:
            raise UnknownEvent(
                f"the turn was decided by version {theirs} of the {name}, and this release goes up "
                f"to {versions[-1]}: use the release that recorded it, or a newer one"
            )
