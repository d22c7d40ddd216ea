"""What is said of a session above its conversation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from api.progress import seats_of
from api.terminal_text import safe_line


def heading(view: Mapping[str, Any]) -> list[Text]:
    """The id, the pattern, the title, who takes part, and whether the session still runs."""
    config = view["config"]
    title = safe_line(config.get("title") or "")
    seats = seats_of(config)
    names = ", ".join(f"{seat.title} ({seat.provider}/{seat.model})" for seat in seats)
    status = view.get("status", "active")
    lines = [
        Text(f"{view['session_id']}", style="bold").append(
            f"  {config['routing_pattern']}{f'  {title}' if title else ''}", style="not bold"
        ),
        Text(safe_line(names), style="dim"),
    ]
    if status == "paused":
        resume = f"control-room resume {view['session_id']}"
        lines.append(Text(f"It is paused; go on with it: {resume}", style="yellow"))
    if status == "closed":
        lines.append(Text("It is closed, and takes no further message.", style="yellow"))
    if all(seat.provider == "rehearsal" for seat in seats):
        note = "These are rehearsal models: what they say is prepared, and nothing is paid."
        lines.append(Text(note, style="dim"))
    return lines
