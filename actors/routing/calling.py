"""From a call of a tool to its events, and back from an outcome to what the router gets."""

from __future__ import annotations

from actors.routing import fitting
from actors.routing.asking import Texts
from actors.routing.offers import Offers, Tool
from actors.routing.payment import Made
from actors.routing.steps import CallStep, Failure, ToolResult
from actors.routing.tool_loop import unknown
from events.tools import (
    ApprovalDenied,
    ApprovalGranted,
    ApprovalRequested,
    ToolCalled,
    ToolFailed,
    ToolRefused,
    ToolReturned,
    ToolUse,
)
from events.turns import Step, Turn


def called(turn: Turn, step: CallStep, offers: Offers, texts: Texts) -> Made:
    """What is made of a call: made at once, waiting for a person, or refused."""
    use = ToolUse(
        name=step.name,
        arguments=texts.spill(step.arguments),
        participant=step.participant,
        asked_in=step.asked_in,
        call_id=step.call_id,
    )
    owner = step.owner or step.participant
    tool, reason = offers.find(step.name, owner), step.refused
    if tool is None:
        reason = reason or unknown(step.name, offers.names(owner))
    elif tool.approval and reason is None:
        reason = _unfit(turn, step, tool, offers, texts)
    if reason is not None or tool is None:
        refused = ToolRefused(use=use, reason=reason or "")
        return Made((refused,), Failure(step.name, step.key, "ToolRefused", refused.reason))
    kind = ApprovalRequested if tool.approval else ToolCalled
    return Made((kind(use=use, server=tool.server, tool=tool.tool),))


def _unfit(turn: Turn, step: CallStep, tool: Tool, offers: Offers, texts: Texts) -> str | None:
    """Why nobody need be asked about the call: its arguments cannot fit."""
    assert turn.started
    if turn.started.semantics.engine < 4:
        return None
    every = offers.by_participant.values()
    listed = next(offer.listed for offer in every if offer.calls.get(step.name) == tool)
    return fitting.unfit(step.arguments, fitting.schemas(texts.load(listed)).get(step.name))


def decided(step: Step, decision: ApprovalGranted | ApprovalDenied) -> Made:
    """What follows from what a person has decided."""
    wanted = step.wanted
    if wanted is None:
        return Made(())
    if isinstance(decision, ApprovalGranted):
        return Made((ToolCalled(use=wanted.use, server=wanted.server, tool=wanted.tool),))
    why = f": {decision.reason}" if decision.reason else ""
    failure = Failure(wanted.use.name, step.key, "ApprovalDenied", f"it was not allowed{why}")
    return Made((), failure)


def outcome(step: Step, data: ToolReturned | ToolFailed, texts: Texts) -> ToolResult | Failure:
    """What the router gets for a tool's outcome.

    The texts of a participant's calls are not read: its model is shown them, and nobody else.
    """
    assert step.use
    name = step.use.name
    if isinstance(data, ToolFailed):
        return Failure(name, step.key, data.error, data.message, data.retryable)
    if step.use.participant is not None:
        return ToolResult(name, step.key, "", data.is_error)
    structured = None if data.structured is None else texts.read(data.structured)
    return ToolResult(name, step.key, texts.read(data.text), data.is_error, structured)
