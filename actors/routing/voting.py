"""Voting: everyone proposes, everyone votes for another's proposal, the most votes win."""

from __future__ import annotations

from typing import Any

from actors.routing.parsing import first_object, named_participants
from actors.routing.steps import Answer, Failure
from actors.routing.turn import Turn

BALLOT = (
    "Vote for the best answer to the last message of the user. You may not vote for your own. "
    'Reply with JSON only, in this form: {{"choice": "<id>", "reason": "<why>"}}. '
    "The candidates are:\n{who}"
)
TIE = "earliest in the session's order"


async def route(turn: Turn) -> Answer | None:
    """Propose, vote, count.

    A vote for oneself, for nobody, or that cannot be read is an abstention; a tie goes to the
    candidate who is earliest in the session's order. The winner's proposal is the turn's answer.
    """
    proposals = await turn.gather(*(turn.ask(p.id, purpose="proposal") for p in turn.participants))
    candidates = {p.participant: p for p in proposals if isinstance(p, Answer)}
    if not candidates:
        return None
    counts = dict.fromkeys(candidates, 0)
    if len(candidates) > 1:
        votes = await turn.gather(
            *(_vote(turn, p.id, [c for c in candidates if c != p.id]) for p in turn.participants)
        )
        for voter, (choice, reason) in zip(turn.participants, votes, strict=True):
            turn.cast(voter.id, choice, reason)
            if choice is not None:
                counts[choice] += 1
    best = max(counts.values())
    leaders = [candidate for candidate, votes in counts.items() if votes == best]
    turn.tally(counts, leaders[0], TIE if len(leaders) > 1 else None)
    return candidates[leaders[0]]


async def _vote(turn: Turn, voter: str, others: list[str]) -> tuple[str | None, str]:
    who = "\n".join(f"- {p.id}: {p.role or 'no role'}" for p in turn.participants if p.id in others)
    outcome = await turn.ask(
        voter,
        instruction=BALLOT.format(who=who),
        purpose="vote",
        public=False,
        tools=False,
        see="now",
        history="shared",
        schema=ballot_schema(others) if voter in turn.facts.structured_output else None,
    )
    if isinstance(outcome, Failure):
        return None, f"abstention: the call failed ({outcome.error})"
    ballot = first_object(outcome.text, "choice")
    if ballot is None:
        return None, "abstention: the ballot is not JSON"
    named = named_participants(ballot.get("choice"), turn.participants)
    if len(named) != 1:
        return None, "abstention: the ballot names no single candidate"
    if named[0] == voter:
        return None, "abstention: a vote for oneself"
    if named[0] not in others:
        return None, f"abstention: {named[0]} made no proposal"
    reason = ballot.get("reason")
    return named[0], reason[:1000] if isinstance(reason, str) else ""


def ballot_schema(candidates: list[str]) -> dict[str, Any]:
    """The JSON schema of a ballot."""
    return {
        "type": "object",
        "properties": {
            "choice": {"type": "string", "enum": candidates},
            "reason": {"type": "string"},
        },
        "required": ["choice", "reason"],
        "additionalProperties": False,
    }
