"""The tool loop: ask, call the tools that the answer asks for, ask again."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from actors.routing import valid
from actors.routing.engine import TurnEngine
from actors.routing.offers import Offer
from actors.routing.pending import Pending
from actors.routing.steps import Answer, AskStep, CallStep, Failure, ToolResult
from events.turns import asks_for_tools

ROUNDS = 8
"""How often a participant may call tools for one answer, unless its session says otherwise."""
AT_ONCE = 32
"""Calls of one answer that are carried out; the others are refused."""
TOLD = 128
"""Calls of one answer that anything is told of."""
LONGEST_NAME = 256
"""Characters that are kept of the name of a tool that does not exist."""
LONGEST_ID = 512
"""Characters of a call's id, at most; a longer one is replaced."""
NAMED = 40
"""Tools that a refusal names, at most."""
TOO_MANY = f"at most {AT_ONCE} calls are made at once: call it again"
NO_STEPS = "the turn has no steps left for calls: answer with what is known"


async def tool_loop(
    engine: TurnEngine, offer: Offer, rounds: int, root: AskStep, first: Pending[Any]
) -> Answer | Failure:
    """Go on from the step `first`, which asked `root`; returns the answer that calls no tool.

    The calls of an answer are made at once. After `rounds` of them, or where the turn has no steps
    to spare, the participant is asked for an answer without further calls.
    """
    outcome: Answer | Failure = await first
    for done in range(1, rounds + 1):
        if isinstance(outcome, Failure) or not asks_for_tools(outcome.tool_calls, offer.client):
            break
        steps = _steps(outcome, offer, engine.spare(min(len(outcome.tool_calls), AT_ONCE)))
        await engine.gather(*(call(engine, step) for step in steps))
        last = done == rounds or not engine.spare(1)
        again = root._replace(continues=outcome.step, tool_choice="none" if last else None)
        outcome = await engine.emit("ask", root.participant, again.with_key)
        if last:
            break
    return outcome


def call(engine: TurnEngine, step: CallStep) -> Pending[ToolResult | Failure]:
    """Emit a call, whose key is still to be given; one that is refused counts as no step."""
    counted = step.refused is None
    return engine.emit("call", token(step.name), step.with_key, counted=counted)


def _steps(answer: Answer, offer: Offer, spare: int) -> Iterator[CallStep]:
    """The calls of an answer, of which no more than `spare` are made."""
    made, ids = 0, set[str]()
    for number, wanted in enumerate(answer.tool_calls[:TOLD], 1):
        refused = None
        if wanted.name not in offer.calls:
            refused = unknown(wanted.name, sorted(offer.calls))
        elif made >= spare:
            refused = TOO_MANY if made >= AT_ONCE else NO_STEPS
        made += refused is None
        id = wanted.id
        if not 0 < len(id) <= LONGEST_ID or id in ids:
            id = f"{answer.step.replace(':', '_')}_{number}"
        ids.add(id)
        yield CallStep(
            "",
            wanted.name[:LONGEST_NAME],
            wanted.arguments,
            answer.participant,
            answer.step,
            id,
            refused,
        )


def token(name: str) -> str:
    """A tool's name as it stands in a step's key; a name that may not is made one that may."""
    if valid.is_name(name):
        return name
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in name[:50])
    digest = sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{safe}_{digest}"


def unknown(name: str, names: list[str]) -> str:
    """Why a tool that is not offered is not called, as a model is told."""
    listed = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
    return f"there is no tool {name[:LONGEST_NAME]!r}: " + (
        f"there are {listed}" if names else "there are none"
    )
