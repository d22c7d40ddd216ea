"""Broadcast: everyone answers the message at once."""

from __future__ import annotations

from actors.routing.steps import Answer
from actors.routing.turn import Turn


async def route(turn: Turn) -> Answer | None:
    """Ask all participants; the turn has one answer only where exactly one of them answered."""
    outcomes = await turn.gather(*(turn.ask(p.id) for p in turn.participants))
    answers = [outcome for outcome in outcomes if isinstance(outcome, Answer)]
    return answers[0] if len(answers) == 1 else None
