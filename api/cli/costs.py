"""`control-room costs`: tokens and money."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from api.cli import room
from api.cli.room import AsJson, Url

if TYPE_CHECKING:
    from rich.console import RenderableType

    from api.client import RoomClient

EPILOG = room.epilog(
    {
        "control-room costs": "the whole room, a line a session",
        "control-room costs sess_abc123": "one session, a line a participant",
        "control-room costs --by model --from 2026-03-01": "since that day, a line a model",
        "control-room costs --by tag --prices current": "by tag, and by today's prices",
        "control-room costs --json": "by everything, for programs",
    },
    "0, 1 where the session or the room is not there, 2 for wrong use.",
)
By = Literal["session", "model", "provider", "day", "tag", "participant"]

Tag = Annotated[
    str | None, typer.Option(metavar="TAG", help="Only sessions that have this tag now.")
]
Since = Annotated[
    str | None, typer.Option("--from", metavar="DAY", help="From this day on (2026-03-01, UTC).")
]
Until = Annotated[str | None, typer.Option("--to", metavar="DAY", help="Up to this day.")]


def costs(
    session: Annotated[
        str | None, typer.Argument(metavar="SESSION", help="One session; default: all.")
    ] = None,
    *,
    by: Annotated[
        By | None,
        typer.Option(help="What a line is; default: a session, and of one session a participant."),
    ] = None,
    tag: Tag = None,
    since: Since = None,
    until: Until = None,
    prices: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Show beside it what the same calls would cost by 'current' prices, or by this"
            " table of prices.json in the room's data directory.",
        ),
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show what was spent: calls, tokens and US dollars.

    $0.00 means that nobody charges, as for rehearsals; where no price is known, '-' or the number
    of unpriced calls stands instead. What failed or was discarded counts too. A session with
    several tags counts in each of them.
    """
    from events.errors import ConfigError

    bounds = {"tag": tag, "since": since, "until": until, "prices": prices}

    async def work(client: RoomClient) -> int:
        if session is not None and any(bounds.values()):
            raise ConfigError("--tag, --from, --to and --prices are for the whole room")
        if by == "participant" and session is None:
            raise ConfigError("--by participant needs a session")
        if by == "session" and session is not None:
            raise ConfigError("--by session is for the whole room")
        report = await client.costs(session, **bounds)
        if as_json:
            room.print_json(report)
            return room.OK
        console = room.console()
        for part in costs_shown(report, by):
            console.print(part)
        if session is not None:
            from api.cli.budgets import budget_lines

            for line in budget_lines((await client.session(session))["config"], report):
                console.print(line)
        return room.OK

    room.with_room(url, work)


def costs_shown(report: Mapping[str, Any], by: By | None = None) -> Iterator[RenderableType]:
    """A cost report as a table, and what its signs mean."""
    from rich.text import Text

    from api.cli.tables import row, table
    from api.money import NO_PRICE

    by = by or ("session" if report["session"] is None else "participant")
    lines: Sequence[Mapping[str, Any]] = report[f"by_{by}"]
    names = [by, "calls", "tokens in", "tokens out", "cost"]
    if report["prices"] is not None:
        names.append(f"by {report['prices']}")
    shown = table(*names, right=names[1:])
    for line in lines:
        provider = f"{line['provider']}/" if line["provider"] else ""
        row(shown, provider + line["name"], *_figures(line))
    shown.add_section()
    row(shown, "together", *_figures(report["total"]))
    yield shown
    again = report["total"]["repriced"]
    if report["total"]["unpriced"] or (again and again["unpriced"] + again["untimed"]):
        yield Text(NO_PRICE, style="dim")


def _figures(line: Mapping[str, Any]) -> tuple[str, ...]:
    """Calls, tokens read, tokens written, money, and money by other prices where it is told."""
    from api.money import spent

    usage, again = line["usage"], line["repriced"]
    about = "~" if usage["estimated"] else ""
    figures = (
        str(line["calls"]),
        f"{about}{usage['input'] + usage['cache_read'] + usage['cache_write']}",
        f"{about}{usage['output'] + usage['reasoning']}",
        spent(line["cost"], line["priced"], line["unpriced"]),
    )
    if again is None:
        return figures
    return (*figures, spent(again["cost"], again["priced"], again["unpriced"] + again["untimed"]))
