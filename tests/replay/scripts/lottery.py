"""Two are drawn by lot and race each other against a clock; the others comment on the winner."""

from __future__ import annotations

from odds import PATIENCE, pair

from actors.routing.steps import Answer, Failure
from actors.routing.turn import Turn


async def route(turn: Turn) -> Answer | Failure | str | None:
    """The winner's text with its comments; none where nobody was in time."""
    ids = [participant.id for participant in turn.participants]
    drawn = pair(ids, await turn.draw("lot"))
    turn.decide(drawn, "by lot")
    winner = await turn.first(
        turn.first(*(turn.ask(id, purpose="race") for id in drawn)),
        _too_late(turn),
    )
    if not isinstance(winner, Answer):
        return None
    others = [id for id in ids if id not in drawn]
    comments = await turn.gather(
        *(turn.ask(id, instruction="One sentence on that.", see="now") for id in others)
    )
    said = [comment.text for comment in comments if isinstance(comment, Answer)]
    return " / ".join([winner.text, *said])


async def _too_late(turn: Turn) -> str:
    await turn.timer(PATIENCE, "patience")
    return "too late"
