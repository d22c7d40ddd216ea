"""An event in one line that a person can read."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from rich.text import Text

from api.client_messages import Event
from api.money import money
from api.terminal_text import safe_line
from api.tool_lines import tool_line

_STYLES = {"session": "magenta", "turn": "bold", "model": "cyan", "route": "yellow", "tool": "blue"}
_POSITION, _TURN, _TYPE = 6, 5, 20  # cells of a column


def event_line(event: Event) -> Text:
    """Position, time (UTC), turn, type, and what the event says in short."""
    style = "red" if event.type.endswith("failed") else _STYLES.get(event.type.split(".")[0], "")
    line = Text(f"{event.position:>{_POSITION}}  ", no_wrap=True, overflow="ellipsis")
    line.append(f"{event.at[11:19]}  ", style="dim")
    line.append(f"{event.turn or '':<{_TURN}} ")
    line.append(f"{event.type:<{_TYPE}} ", style=style)
    return line.append(safe_line(_says(event)))


def _says(event: Event) -> str:
    data = event.payload
    match event.type.partition("."):
        case "session", _, kind:
            return _session(kind, data)
        case "turn", _, _:
            return _turn(data)
        case "model", _, kind:
            return f"{_who(event)}: {_model(kind, data)}"
        case "budget", _, kind:
            return _budget(kind, data)
        case "timer", _, _:
            seconds = f" in {data['seconds']:g} s" if "seconds" in data else ""
            return f"{event.step or ''}{seconds}"
        case "tool" | "approval" | "elicitation" | "run" as what, _, kind:
            run = what == "run"
            return _run(kind, data) if run else tool_line(event.type, event.step, data)
        case "route" | "vote" | "votes" as what, _, _:
            return _decision(what, data)
        case _:
            return ", ".join(f"{name}={value}" for name, value in data.items())


def _session(kind: str, data: Mapping[str, Any]) -> str:
    if kind not in ("created", "reconfigured"):
        return ""
    config = data["config"]
    names = ", ".join(model["id"] for model in config["models"])
    title = f" “{config['title']}”" if config.get("title") else ""
    return f"{config['routing_pattern']}{title}: {names}"


def _turn(data: Mapping[str, Any]) -> str:
    if message := data.get("message"):
        if not isinstance(message, dict):
            return str(message)
        files = "".join(f" [{one['name']}]" for one in message.get("attachments", ()))
        return _text(message["content"]) + files
    if retry := data.get("retry"):
        return f"{retry['participant']} is asked again about {retry['turn']}"
    if data.get("answer_from"):
        return f"the answer is that of {data['answer_from']}"
    if data.get("answer"):
        return _text(data["answer"])
    return str(data.get("reason") or "")


def _who(event: Event) -> str:
    step = event.step or ""
    return step.split(":")[1] if step.count(":") > 1 else step


def _model(kind: str, data: Mapping[str, Any]) -> str:
    match kind:
        case "asked":
            left_out = data.get("images_left_out", 0)
            images = f", images left out: {left_out}" if left_out else ""
            return f"{data['purpose']} by {data['provider']}/{data['model']}{images}"
        case "answered":
            usage = data["usage"]
            tokens = usage["output"] + usage["reasoning"]
            return f"{tokens} tokens, {data['duration_ms'] / 1000:.1f} s: {_text(data['text'])}"
        case "failed":
            return f"{data['error']}: {data['message']}"
        case "discarded" if usage := data.get("usage"):
            return f"{data['reason']}: {usage['output'] + usage['reasoning']} tokens"
        case "reasked":
            return f"attempt {data['attempt']}: {data['reason']}"
        case _:
            return str(data.get("reason", ""))


def _run(kind: str, data: Mapping[str, Any]) -> str:
    match kind:
        case "started":
            return str(data["framework"])
        case "asked":
            return f"{data['participant']} is asked"
        case "called":
            return f"{data['name']}({_text(data['arguments'])})"
        case "completed":
            return f"{data['duration_ms'] / 1000:.1f} s: {_text(data['output'])}"
        case "failed":
            return f"{data['error']}: {data['message']}"
        case "restarted" | "matched":
            return ": ".join(filter(None, (f"attempt {data['attempt']}", data.get("reason"))))
        case _:
            return str(data.get("reason", "")).replace("_", " ")


def _decision(what: str, data: Mapping[str, Any]) -> str:
    match what:
        case "route":
            fallback = f" (fallback: {data['fallback']})" if data.get("fallback") else ""
            return f"{', '.join(data['participants'])}{_because(data)}{fallback}"
        case "vote":
            return f"{data['voter']} → {data['choice'] or 'nobody'}{_because(data)}"
        case _:
            counts = ", ".join(f"{each['participant']} {each['votes']}" for each in data["tallies"])
            return f"{data['winner']} wins: {counts}"


def _budget(kind: str, data: Mapping[str, Any]) -> str:
    """US dollars as everywhere; the log has them exactly."""
    who = data.get("participant") or "the session"
    match kind:
        case "warned":
            share = f"{Decimal(data['share']):.0%}"
            return f"{who}: {share} of {money(data['limit'])} reached, {money(data['spent'])} spent"
        case "exceeded":
            whose = f"the {data['scope']}'s budget of {money(data['limit'])}"
            if data.get("unbounded"):
                return f"{who}: {whose}: {data['unbounded']}"
            spent = f"{money(data['spent'])} spent, {money(data['held'])} held"
            return f"{who}: {whose} has no {money(data['needed'])} left: {spent}"
        case "settled":
            return f"{data['step']}: {money(data['cost'])}"
        case _:
            of = f"{money(data['amount'])} of {money(data['limit'])}"
            return f"{data.get('participant') or data.get('step')}: {of} ({data['account']})"


def _because(data: Mapping[str, Any]) -> str:
    return f" – {data['reason']}" if data.get("reason") else ""


def _text(text: str | Mapping[str, Any]) -> str:
    return text if isinstance(text, str) else f"({text['size']} bytes)"
