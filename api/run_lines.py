"""A run as people read it, line by line: while it goes on, and as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from api.client_messages import Event
from api.money import spent
from api.tool_lines import short, tool_line


def run_line(event: Event) -> str | None:
    """What an event of a run says; None where that is nothing to people."""
    data = event.payload
    match event.type.partition("."):
        case "run", _, kind:
            return _of_run(kind, event.step, data)
        case "model", _, kind:
            return _of_model(kind, event.step, data)
        case "budget", _, "exceeded":
            return f"{data['participant']} is not asked: the {data['scope']}'s budget is used up"
        case "tool" | "approval" | "elicitation", _, _:
            return tool_line(event.type, event.step, data)
        case _:
            return None


def _of_run(kind: str, step: str | None, data: Mapping[str, Any]) -> str | None:
    match kind:
        case "started":
            return f"the workflow runs ({data['framework']})"
        case "restarted":
            return f"the workflow runs again, attempt {data['attempt']}: {data['reason']}"
        case "matched":
            return f"{_who(step)}: as in the attempt before, which is not asked again"
        case _:
            return None


def _of_model(kind: str, step: str | None, data: Mapping[str, Any]) -> str | None:
    who = _who(step)
    match kind:
        case "asked":
            instead = " instead" if data.get("instead_of") else ""
            return f"{data['participant']} is asked{instead} ({data['provider']}/{data['model']})"
        case "answered":
            calls = ", ".join(f"{c['name']}({short(c['arguments'])})" for c in data["tool_calls"])
            text = short(data["text"])
            return f"{who}: {text}{' ' if text and calls else ''}{f'→ {calls}' if calls else ''}"
        case "failed":
            return f"{who} failed: {data['message']}"
        case "cancelled":
            return f"{who} is called off"
        case _:
            return None


def run_lines(run: Mapping[str, Any]) -> Iterator[str]:
    """A whole run: what it is, each of its calls, and its end."""
    title = f"  {run['title']}" if run["title"] else ""
    yield f"{run['run_id']}  {run['framework']}{title}"
    yield f"status   {run['status']}{_problem(run)}"
    yield f"inputs   {short(run['inputs'])}"
    if len(run["turns"]) > 1:
        yield f"turns    {', '.join(run['turns'])}; this is {run['turn']}, --turn shows another"
    for attempt in run["attempts"][1:]:
        yield f"attempt  {attempt['attempt']}: {attempt['reason']}"
    for step in run["steps"]:
        yield ""
        yield from _step(step)
    yield ""
    totals = run["totals"]
    tokens = totals["usage"]["output"] + totals["usage"]["reasoning"]
    yield f"{totals['calls']} calls, {tokens} tokens written, {_cost(totals)}"


def _step(step: Mapping[str, Any]) -> Iterator[str]:
    if step["kind"] == "tool":
        what = f"{step['name']}({short(step['arguments'])})"
    else:
        what = f"{step['participant']} ({step['provider']}/{step['model']})"
    took = "" if step["duration_ms"] is None else f", {step['duration_ms'] / 1000:.1f} s"
    again = f", attempts {step['attempts']}" if len(step["attempts"]) > 1 else ""
    yield f"{step['step']}  {what}: {step['status']}{took}{again}"
    for said in (step["text"], step["message"]):
        if said:
            yield f"    {short(said)}"
    for call in step["tool_calls"]:
        yield f"    → {call['name']}({short(call['arguments'])})"
    for question in step["questions"]:
        yield f"    ? {short(question['message'])}"


def _problem(run: Mapping[str, Any]) -> str:
    message = run["problem"] and run["problem"]["message"]
    return f": {message}" if message else ""


def _cost(totals: Mapping[str, Any]) -> str:
    cost, unpriced = Decimal(totals["cost"]), totals["unpriced"]
    return spent(cost, int(cost > 0), unpriced)


def _who(step: str | None) -> str:
    parts = (step or "").split(":")
    return parts[1] if len(parts) == 3 else step or ""
