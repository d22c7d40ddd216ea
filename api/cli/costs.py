"""`control-room costs`: tokens and money."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

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
        "control-room costs --json": "by model, provider and day too, for programs",
    },
    "0, 1 where the session or the room is not there, 2 for wrong use.",
)


def costs(
    session: Annotated[
        str | None, typer.Argument(metavar="SESSION", help="One session; default: all.")
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show what was spent: calls, tokens and US dollars.

    $0.00 means that nobody charges, as for rehearsals; where no price is known, '-' or the number
    of unpriced calls stands instead. What failed or was discarded counts too.
    """

    async def work(client: RoomClient) -> int:
        report = await client.costs(session)
        if as_json:
            room.print_json(report)
            return room.OK
        console = room.console()
        for part in costs_shown(report):
            console.print(part)
        return room.OK

    room.with_room(url, work)


def costs_shown(report: Mapping[str, Any]) -> Iterator[RenderableType]:
    """A cost report as a table, and what its signs mean."""
    from rich.text import Text

    from api.cli.tables import row, table
    from api.money import NO_PRICE

    one = report["session"] is not None
    lines: Sequence[Mapping[str, Any]] = report["by_participant" if one else "by_session"]
    names = ("participant" if one else "session", "calls", "tokens in", "tokens out", "cost")
    shown = table(*names, right=names[1:])
    for line in lines:
        row(shown, line["name"], *_figures(line))
    shown.add_section()
    row(shown, "together", *_figures(report["total"]))
    yield shown
    if report["total"]["unpriced"]:
        yield Text(NO_PRICE, style="dim")


def _figures(line: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Calls, tokens read, tokens written, money."""
    from api.money import spent

    usage = line["usage"]
    about = "~" if usage["estimated"] else ""
    return (
        str(line["calls"]),
        f"{about}{usage['input'] + usage['cache_read'] + usage['cache_write']}",
        f"{about}{usage['output'] + usage['reasoning']}",
        spent(line["cost"], line["priced"], line["unpriced"]),
    )
