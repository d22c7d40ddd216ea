"""A turn in columns: one panel a participant, side by side, with what it writes as it comes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from api.money import UNKNOWN
from api.progress import Call, Decided, Seat, TurnProgress
from api.terminal_text import safe, safe_line, tail, wrapped

NARROWEST = 26
"""Cells of a column; where not even two fit, there are labelled lines instead."""
TALLEST = 16
"""Lines of a live panel, border included."""
DECISIONS_SHOWN = 6
REASON_CELLS = 300
"""Cells of a decision, its reason included, in the result of a turn."""
PART = "\n· · ·\n"
"""Stands between two texts of one participant."""

_FRAME_WIDTH, _FRAME_HEIGHT = 4, 3  # border and padding; border and the line of the state
_STYLES = {
    "idle": "dim",
    "thinking": "yellow",
    "streaming": "cyan",
    "done": "green",
    "failed": "red",
    "cancelled": "dim",
}
_DOING = {"plan": "planning", "vote": "voting", "synthesis": "joining"}
_DID = {"plan": "planned", "vote": "voted", "synthesis": "joined"}
_DECISIONS = {"plan": "→", "vote": "✓", "tally": "★", "tool": "⚙"}


def fits(width: int) -> bool:
    """Whether columns can be shown on so many cells."""
    return width >= 2 * NARROWEST


def columns_a_row(width: int, count: int) -> int:
    """How many of `count` columns stand side by side on so many cells."""
    most = max(1, width // NARROWEST)
    rows = -(-count // most)
    return -(-count // rows)  # rows of about one length


class TurnColumns:
    """The turn as it is now, never taller than the terminal: for live display."""

    def __init__(self, progress: TurnProgress, now: float = 0.0) -> None:
        self.progress = progress
        self.now = now
        self._bodies: dict[str, tuple[tuple[object, ...], Text]] = {}

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        progress, width = self.progress, options.max_width
        seats = progress.seats
        across = columns_a_row(width, len(seats))
        rows = -(-len(seats) // across)
        below = list(_decisions(progress, width))[-DECISIONS_SHOWN:]
        height = min(TALLEST, (options.size.height - DECISIONS_SHOWN - 2) // rows)
        height = max(_FRAME_HEIGHT + 1, height)
        widths = _widths(width, across, len(seats))
        panels = [self._panel(seat, each, height) for seat, each in zip(seats, widths, strict=True)]
        yield from _rows(panels, across)
        yield from below
        yield _status(progress)

    def _panel(self, seat: Seat, width: int, height: int) -> Panel:
        calls = self.progress.calls_of(seat.id)
        said, private = _said(calls)
        # Texts only grow or are replaced, so their lengths tell a change well enough for eyes.
        last = calls[-1] if calls else None
        key = (len(said), last and (last.step, last.state), width, height, private)
        known = self._bodies.get(seat.id)
        if known is None or known[0] != key:
            lines = tail(said, width - _FRAME_WIDTH, height - _FRAME_HEIGHT)
            body = Text("\n".join(lines), style="dim" if private else "", no_wrap=True)
            known = self._bodies[seat.id] = (key, body)
        return _framed(self.progress, seat, known[1], self.now, (width, height))


class TurnResult:
    """The turn after its end, with everyone who was asked in it and all that was said, in full."""

    def __init__(self, progress: TurnProgress) -> None:
        self.progress = progress

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        progress, width = self.progress, options.max_width
        seats = [seat for seat in progress.seats if progress.calls_of(seat.id)]
        if seats:
            across = columns_a_row(width, len(seats))
            panels = self._panels(seats, width, across)
            if across > 1 and max(panel.height or 0 for panel in panels) > options.size.height:
                across = 1  # long texts are read more easily one below the other
                panels = self._panels(seats, width, across)
            for start in range(0, len(panels), across):
                row = panels[start : start + across]
                tallest = max(panel.height or 0 for panel in row)
                for panel in row:
                    panel.height = tallest
            yield from _rows(panels, across)
        for line in _decisions(progress, REASON_CELLS):
            line.no_wrap = False
            yield line
        yield outcome(progress)

    def _panels(self, seats: Sequence[Seat], width: int, across: int) -> list[Panel]:
        widths = _widths(width, across, len(seats))
        return [self._panel(seat, each) for seat, each in zip(seats, widths, strict=True)]

    def _panel(self, seat: Seat, width: int) -> Panel:
        calls = self.progress.calls_of(seat.id)
        said, private = _said(calls)
        lines = list(wrapped(safe(said).strip(), width - _FRAME_WIDTH)) if said.strip() else []
        body = Text("\n".join(lines), style="dim" if private else "", no_wrap=True)
        height = _FRAME_HEIGHT + len(lines)
        return _framed(self.progress, seat, body, 0.0, (width, height))


def _said(calls: Sequence[Call]) -> tuple[str, bool]:
    """What a participant said in the turn, or else what it is writing for the router alone."""
    public = [text for call in calls if call.public and (text := _words(call))]
    if public:
        return PART.join(public), False
    return (_words(calls[-1]), True) if calls else ("", False)


def _words(call: Call) -> str:
    """The text of a call, and how it failed."""
    if call.state != "failed":
        return call.text
    return f"{call.text}\n{call.message}" if call.text else call.message


def _framed(
    progress: TurnProgress, seat: Seat, body: Text, now: float, size: tuple[int, int]
) -> Panel:
    calls = progress.calls_of(seat.id)
    call = _current(calls)
    state = call.state if call else "idle"
    chosen = bool(call) and progress.answer_from in {each.step for each in calls}
    title = Text(safe_line(seat.title), style="bold")
    if chosen:
        title = Text("★ ", style="bold yellow") + title
    content = Text(no_wrap=True, overflow="ellipsis")
    content.append_text(state_line(call, now, size[0] - _FRAME_WIDTH))
    content.append("\n")
    content.append_text(body)
    return Panel(
        content,
        title=title,
        subtitle=Text(safe_line(f"{seat.provider}/{seat.model}"), style="dim"),
        border_style="bold yellow" if chosen else _STYLES[state],
        box=box.HEAVY if chosen else box.ROUNDED,
        padding=(0, 1),
        width=size[0],
        height=size[1],
    )


def _current(calls: Sequence[Call]) -> Call | None:
    """The call that a participant is at, or else the last one whose text is shown."""
    chosen = (
        [call for call in calls if call.running]
        or [call for call in calls if call.public]
        or list(calls)
    )
    return chosen[-1] if chosen else None


def state_line(call: Call | None, now: float, width: int = 80) -> Text:
    """What a participant is doing, in a few words: at `now` on the clock of the progress.

    What does not fit on `width` cells is left out where it matters least.
    """
    if call is None:
        return Text("not asked", style="dim")
    style = _STYLES[call.state]
    seconds = f"{max(0.0, now - call.since):.1f} s"
    match call.state:
        case "thinking":
            doing = "reasoning" if call.reasoning else _DOING.get(call.purpose, "thinking")
            doing = safe_line(call.status) or doing
            return Text(f"○ {doing} {seconds}", style=style)
        case "streaming":
            doing = _DOING.get(call.purpose, "streaming")
            return Text(f"● {doing} {seconds}", style=style)
        case "failed":
            return Text(f"✗ failed: {safe_line(call.error)}", style=style)
        case "cancelled":
            used = f" · {_tokens(call)}" if call.tokens is not None else ""
            return Text(f"– cancelled{used}", style=style)
        case _:
            return Text(_done(call, width), style=style)


def _tokens(call: Call) -> str:
    return f"{'~' if call.estimated else ''}{call.tokens} tokens"


def _done(call: Call, width: int) -> str:
    parts = []
    if call.tokens is not None:
        parts.append(_tokens(call))
    if call.seconds is not None:
        parts.append(f"{call.seconds:.1f} s")
    did = _DID.get(call.purpose)
    more = [did] if did else []
    more += ["cut short"] if call.finish_reason == "length" else []
    more += ["images left out"] if call.blind else []
    line = f"✓ {' · '.join([*more, *parts]) or 'done'}"
    return line if len(line) <= width or not parts else f"✓ {' · '.join(parts)}"


def _widths(width: int, across: int, count: int) -> list[int]:
    """The widths of `count` panels, `across` in a row of so many cells."""
    each, more = divmod(width, across)
    return [each + (index % across < more) for index in range(count)]


def _rows(panels: Sequence[Panel], across: int) -> Iterator[RenderableType]:
    for start in range(0, len(panels), across):
        row = panels[start : start + across]
        grid = Table.grid(padding=0)
        for panel in row:
            grid.add_column(width=panel.width, no_wrap=True)
        grid.add_row(*row)
        yield grid


def _decisions(progress: TurnProgress, most: int) -> Iterator[Text]:
    """A line a decision, of `most` cells."""
    for decided in progress.decisions:
        line = decision_line(progress.pattern, decided)
        line.no_wrap = True
        line.truncate(most, overflow="ellipsis")
        yield line


def decision_line(pattern: str, decided: Decided) -> Text:
    """A decision, with the sign and the name that it has in this pattern."""
    line = Text(f"{_DECISIONS[decided.kind]} ", style="bold")
    line.append(decision_label(pattern, decided.kind))
    return line.append(safe_line(decided.text), style="not bold")


def decision_label(pattern: str, kind: str) -> str:
    """What a decision is called in this pattern, with what separates it from its text."""
    if kind == "plan":
        return {"round_robin": "next: ", "coordinator": "plan: "}.get(pattern, "asked: ")
    return {"vote": "vote: ", "tally": "count: ", "tool": "tool: "}[kind]


def _status(progress: TurnProgress) -> Text:
    if progress.lost:
        return Text(connection_lost(progress.lost), style="red", no_wrap=True, overflow="ellipsis")
    running = sum(call.running for call in progress.calls.values())
    match progress.status:
        case "waiting" | "queued":
            what = "waiting for the turn before it"
        case _:
            what = f"{running} writing" if running else "routing"
            if progress.questions:
                what = f"waiting for you: control-room approvals ({len(progress.questions)})"
    return Text(f"{progress.pattern} · turn {progress.turn} · {what}", style="dim", no_wrap=True)


def connection_lost(why: str) -> str:
    """What is said while the room cannot be heard."""
    return f"connection lost, trying again; the turn goes on ({safe_line(why)})"


def outcome(progress: TurnProgress) -> Text:
    """How the turn ended, in a line."""
    about = "~" if any(call.estimated for call in progress.calls.values()) else ""
    price = "no price known" if progress.spent == UNKNOWN else progress.spent
    used = f"{about}{progress.tokens} tokens · {price}"
    match progress.status:
        case "completed":
            source = progress.calls.get(progress.answer_from or "")
            by = f" · the answer is {source.participant}'s" if source else ""
            return Text(f"turn {progress.turn} completed{by} · {used}", style="dim")
        case "failed":
            why = safe_line(progress.brief_problem)
            return Text(f"turn {progress.turn} failed: {why}", style="red")
        case "cancelled":
            why = f": {safe_line(progress.problem)}" if progress.problem else ""
            return Text(f"turn {progress.turn} cancelled{why} · {used}", style="yellow")
        case _:
            return Text(f"turn {progress.turn} is {progress.status}", style="dim")
