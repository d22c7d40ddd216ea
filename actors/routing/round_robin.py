"""Round robin: one speaker a message, or a debate of several rounds."""

from __future__ import annotations

from actors.routing.steps import Answer
from actors.routing.turn import Turn


async def route(turn: Turn) -> Answer | None:
    """Let one speak, or all in turn.

    With `rounds` 0 the participant after the last speaker answers; otherwise everyone speaks in
    order, so many times, each seeing what was said before. The answer is the last one given.
    """
    if turn.config.rounds == 0:
        return await _one(turn)
    answer: Answer | None = None
    for number in range(1, turn.config.rounds + 1):
        for participant in turn.participants:
            turn.decide([participant.id], f"round {number} of {turn.config.rounds}")
            outcome = await turn.ask(participant.id, see="now")
            if isinstance(outcome, Answer):
                answer = outcome
    return answer


async def _one(turn: Turn) -> Answer | None:
    """The next in order; where one fails, the one after it, once round."""
    order = [participant.id for participant in turn.participants]
    start = order.index(turn.last_speaker) + 1 if turn.last_speaker in order else 0
    failed: str | None = None
    for speaker in order[start:] + order[:start]:
        if failed is None:
            turn.decide([speaker], "next in order")
        else:
            turn.decide([speaker], "next in order", fallback=f"{failed} failed")
        outcome = await turn.ask(speaker)
        if isinstance(outcome, Answer):
            return outcome
        failed = speaker
    return None
