"""A writer and a critic: the writer writes until the critic is content.

Copy this file into the scripts directory of your room and create a session with

    {"routing_pattern": "script", "script": "critic:route", "models": [writer, critic]}

The first participant writes, the second criticises.
"""

from __future__ import annotations

from actors.routing.steps import Answer, Failure
from actors.routing.turn import Turn

ROUNDS = 3
"""How often the writer may try."""

GOOD = "GOOD"

CRITICISE = (
    "Criticise the last answer to the user's message. If nothing in it needs to change, reply with "
    f"the single word {GOOD}; otherwise say what to change, and nothing else."
)
IMPROVE = "Write your answer again, and take the criticism into account. Write the answer only."


async def route(turn: Turn) -> Answer | Failure | None:
    """Ask the writer and the critic in turn; the last draft is the answer."""
    if len(turn.participants) < 2:
        raise ValueError("this script needs two participants: a writer and a critic")
    writer, critic = (participant.id for participant in turn.participants[:2])
    draft = await turn.ask(writer)
    for attempt in range(1, ROUNDS):
        if isinstance(draft, Failure):
            return draft
        verdict = await turn.ask(
            critic, instruction=CRITICISE, purpose="criticism", see="now", history="shared"
        )
        if isinstance(verdict, Failure):
            turn.decide([writer], "the draft stands", fallback=f"{critic} failed")
            return draft
        if is_good(verdict.text):
            turn.decide([writer], f"{critic} is content with draft {attempt}")
            return draft
        better = await turn.ask(
            writer, instruction=IMPROVE, purpose="draft", see="now", history="shared"
        )
        draft = draft if isinstance(better, Failure) else better
    return draft


def is_good(verdict: str) -> bool:
    """Whether the critic is content."""
    return verdict.strip().strip(".!*\"'").upper() == GOOD
