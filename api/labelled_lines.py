"""A turn as plain lines, each with the name of who says it: for pipes and narrow terminals.

Texts come as they are written, a sentence or so at a time, so those of several participants stand
between each other; a line once written stays as it is.
"""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from api.columns import connection_lost, decision_label, outcome, state_line
from api.progress import Call, Decided, TurnProgress
from api.terminal_text import safe, safe_line

SHORTEST = 60
"""Characters after which a piece is long enough for a line, where a sentence ends."""
BACK = "connected again"
LONGEST = 400


class LabelledLines:
    """Writes what is new in a turn's progress; call `update` whenever it may have changed."""

    def __init__(self, progress: TurnProgress, console: Console) -> None:
        self.progress = progress
        self._console = console
        self._shown: dict[str, str] = {}
        self._attempts: dict[str, int] = {}
        self._begun: set[str] = set()
        self._ended: set[str] = set()
        self._introduced: set[str] = set()
        self._decisions = 0
        self._lost = ""
        width = max((len(seat.id) for seat in progress.seats), default=0)
        self._width = min(width, 24)
        self._titles = {seat.id: seat for seat in progress.seats}

    def update(self) -> None:
        """Write everything that is complete by now."""
        progress = self.progress
        if progress.lost != self._lost:
            self._lost = progress.lost
            self._say(connection_lost(self._lost) if self._lost else BACK, "red")
        decisions = 0
        for each in progress.history:
            if isinstance(each, Decided):
                decisions += 1
                if decisions > self._decisions:
                    label = decision_label(progress.pattern, each.kind)
                    self._say(label + safe_line(each.text), "bold")
            elif not each.running:
                self._call(each)
        self._decisions = decisions
        for call in progress.calls.values():
            if call.running:
                self._call(call)

    def finish(self) -> None:
        """Write the rest, and how the turn ended."""
        self.update()
        line = outcome(self.progress)
        self._say(line.plain, str(line.style))

    def _call(self, call: Call) -> None:
        if call.step in self._ended:
            return
        if call.step not in self._begun:
            self._begun.add(call.step)
            if call.participant not in self._introduced:
                self._introduced.add(call.participant)
                seat = self._titles.get(call.participant)
                role = f"{seat.role}, " if seat and seat.role not in ("", seat.id) else ""
                self._label(call, safe_line(f"({role}{call.provider}/{call.model})"), "dim")
        if call.attempt != self._attempts.setdefault(call.step, call.attempt):
            self._attempts[call.step] = call.attempt
            self._shown[call.step] = ""
            self._label(call, "(asked again)", "dim")
        if call.public:
            self._text(call)
        if not call.running:
            self._ended.add(call.step)
            if call.state == "failed":
                self._label(call, safe_line(call.message), "red")
            state = state_line(call, 0.0)
            self._label(call, f"({state.plain})", str(state.style))

    def _text(self, call: Call) -> None:
        shown = self._shown.get(call.step, "")
        if not call.text.startswith(shown):  # pieces were lost on the way here
            self._label(call, "(some of this was not shown; the whole text:)", "dim")
            shown = ""
        rest = call.text[len(shown) :]
        if call.running:
            rest = rest[: _breakable(rest)]
        self._shown[call.step] = shown + rest
        for line in safe(rest).splitlines():
            if line.strip():
                self._label(call, line.strip(), "")

    def _label(self, call: Call, text: str, style: str) -> None:
        name = call.participant[: self._width].ljust(self._width)
        self._write(Text(f"{name} │ ", style="bold").append(text, style=style or "not bold"))

    def _say(self, text: str, style: str) -> None:
        self._write(Text(f"{'':<{self._width}} │ ", style="bold").append(text, style=style))

    def _write(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True, highlight=False)


def _breakable(text: str) -> int:
    """How much of a text that is being written makes whole lines."""
    end = text.rfind("\n") + 1
    for mark in (". ", "! ", "? ", "。"):
        at = text.rfind(mark, max(end, SHORTEST))
        end = max(end, at + len(mark) if at >= 0 else 0)
    if len(text) - end > LONGEST and (at := text.rfind(" ", end, end + LONGEST)) > 0:
        end = at + 1
    return end
