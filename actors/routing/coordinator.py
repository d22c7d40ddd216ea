"""Coordinator: one participant plans who answers, and joins their answers into one."""

from __future__ import annotations

from typing import Any

from actors.routing.parsing import first_object, named_participants
from actors.routing.steps import Answer, Failure
from actors.routing.turn import Turn

PLAN = (
    "You coordinate this conversation. Decide who should answer the last message. "
    'Reply with JSON only, in this form: {{"participants": ["<id>", ...], "reason": "<why>"}}. '
    "The ids are:\n{who}"
)
SYNTHESIS = (
    "Now answer the last message of the user yourself, in one text, out of what the participants "
    "have answered to it. Say where they disagree."
)


async def route(turn: Turn) -> Answer | None:
    """Plan, ask those named at once, synthesise.

    A plan that cannot be had or used falls back to everyone but the coordinator; the rule is
    recorded. Where only one answered there is nothing to join: that is the turn's answer.
    """
    coordinator = turn.config.coordinator or turn.participants[0].id
    chosen = await _plan(turn, coordinator)
    outcomes = await turn.gather(*(turn.ask(participant) for participant in chosen))
    answers = [outcome for outcome in outcomes if isinstance(outcome, Answer)]
    if len(answers) < 2:
        return answers[0] if answers else None
    synthesis = await turn.ask(
        coordinator, instruction=SYNTHESIS, purpose="synthesis", see="now", history="shared"
    )
    return synthesis if isinstance(synthesis, Answer) else None


async def _plan(turn: Turn, coordinator: str) -> tuple[str, ...]:
    ids = [participant.id for participant in turn.participants]
    who = "\n".join(f"- {p.id}: {p.role or 'no role'}" for p in turn.participants)
    outcome = await turn.ask(
        coordinator,
        instruction=PLAN.format(who=who),
        purpose="plan",
        public=False,
        tools=False,
        history="shared",
        schema=plan_schema(ids) if coordinator in turn.facts.structured_output else None,
    )
    everyone = tuple(id for id in ids if id != coordinator) or (coordinator,)
    if isinstance(outcome, Failure):
        turn.decide(everyone, "everyone", fallback=f"the coordinator failed: {outcome.error}")
        return everyone
    plan = first_object(outcome.text, "participants")
    named = named_participants(plan.get("participants") if plan else None, turn.participants)
    if plan is None:
        turn.decide(everyone, "everyone", fallback="the plan is not JSON")
    elif not named:
        turn.decide(everyone, "everyone", fallback="the plan names no participant")
    else:
        reason = plan.get("reason")
        turn.decide(named, reason[:1000] if isinstance(reason, str) else "")
        return named
    return everyone


def plan_schema(ids: list[str]) -> dict[str, Any]:
    """The JSON schema of a plan."""
    return {
        "type": "object",
        "properties": {
            "participants": {
                "type": "array",
                "items": {"type": "string", "enum": ids},
                "minItems": 1,
                "maxItems": len(ids),
            },
            "reason": {"type": "string"},
        },
        "required": ["participants", "reason"],
        "additionalProperties": False,
    }
