"""The step that an outcome is awaited for, and what the router itself says of a step."""

from __future__ import annotations

from actors.routing.batch import Given
from events.session import Session
from events.turns import Step
from events.types import Input


def awaited(session: Session, key: tuple[str, str, str], attempt: int) -> Step | None:
    """The step of that session, turn and name, where the open turn awaits that attempt of it."""
    turn = session.open
    step = turn.steps.get(key[2]) if turn and turn.id == key[1] else None
    return step if step and step.outcome is None and step.attempt == attempt else None


def by_router(data: Input, turn: str, step: Step) -> Given:
    """What the router says of a step of a turn."""
    return Given(data, "router", turn=turn, step=step.key, cause=step.position)
