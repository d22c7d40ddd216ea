"""`control-room audit verify`."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli import room
from api.cli.room import AsJson

if TYPE_CHECKING:
    from projections.audit import AuditReport

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Check the log itself; needs no running room.",
)
EPILOG = room.epilog(
    {
        "control-room audit verify": "check every session of the store",
        "control-room audit verify sess_abc123": "check one",
        "control-room audit verify --store sqlite:///copy/room.db": "check a copy",
    },
    "0 where nothing was changed, 1 where something was or the store cannot be read, 2 for wrong"
    " use.",
)


@app.command(epilog=EPILOG)
def verify(
    session: Annotated[
        str | None, typer.Argument(metavar="SESSION", help="One session; default: all.")
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Event store; default: the one that CONTROL_ROOM_STORE names."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Follow every hash chain, compare every blob with its hash, and name the first bad place.

    Reads what is stored, beside a running room or without one, and changes nothing.
    """

    def run() -> int:
        report = asyncio.run(_audit(store, session))
        if as_json:
            room.print_json(report.model_dump(mode="json"))
        else:
            _print(report)
        return room.OK if report.intact else room.FAILED

    raise typer.Exit(room.guarded(run))


async def _audit(url: str | None, session: str | None) -> AuditReport:
    from api.settings import load_settings
    from events.errors import ControlRoomError
    from events.open import open_blobs, open_store
    from projections.audit import audit

    url = url or load_settings().store_url
    store = open_store(url, read_only=True)
    try:
        with closing(open_blobs(url)) as blobs:
            report = await audit(store, blobs, session)
    finally:
        await store.close()
    if session is not None and not report.streams:
        raise ControlRoomError(f"the store has no session {session!r}")
    return report


def _print(report: AuditReport) -> None:
    from api.terminal_text import safe_line

    console = room.console()
    for fault in report.faults:
        line = f"{safe_line(fault.stream)}  position {fault.position}: {safe_line(fault.what)}"
        console.print(line, style="red", soft_wrap=True)
    counted = f"{report.events} events of {report.streams} sessions, {report.blobs} blobs"
    if report.intact:
        console.print(f"{counted}: intact", style="green", soft_wrap=True)
    else:
        count = len({fault.stream for fault in report.faults})
        console.print(f"{counted}: {count} changed", style="red bold", soft_wrap=True)
