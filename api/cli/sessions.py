"""`control-room sessions`, `models` and `providers`: what there is, as tables."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli import room
from api.cli.room import AsJson, Url

if TYPE_CHECKING:
    from rich.table import Table

    from api.client import RoomClient

SESSIONS_EPILOG = room.epilog(
    {
        "control-room sessions": "the latest sessions",
        "control-room sessions --limit 500 --json": "many, for programs",
    },
    "0, 1 where the room is not there, 2 for wrong use.",
)
MODELS_EPILOG = room.epilog(
    {"control-room models": "what 'chat --models' may name"},
    "0, 1 where the room is not there, 2 for wrong use.",
)
PROVIDERS_EPILOG = room.epilog(
    {"control-room providers": "what is configured or was found, and what it still needs"},
    "0, 1 where the room is not there, 2 for wrong use.",
)
NARROW = 120
"""Cells below which a table of sessions shows only what finds one."""


def sessions(
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Most sessions shown.")] = 50,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List the sessions of the room, the latest first."""

    async def work(client: RoomClient) -> int:
        found = await room.listed(client.sessions, "sessions", limit)
        if as_json:
            room.print_json({"sessions": found})
        elif found:
            console = room.console()
            narrow = console.width < NARROW
            console.print(_sessions_table(found, narrow=narrow))
        else:
            room.console().print("no session yet: begin one with 'control-room chat'")
        return room.OK

    room.with_room(url, work)


def _sessions_table(found: list[dict[str, Any]], *, narrow: bool) -> Table:
    from api.cli.tables import row, table
    from api.money import spent

    if narrow:
        shown = table("session", "title", "turns", "status")
    else:
        shown = table("session", "title", "pattern", "models", "turns", "status", "cost", "updated")
    for each in found:
        status = each["status"] + (" · busy" if each["open_turn"] else "")
        updated = each["updated_at"][:16].replace("T", " ")
        title = each["title"] or each["preview"] or ""
        if narrow:
            row(shown, each["id"], title, str(each["turns"]), status)
            continue
        row(
            shown,
            each["id"],
            title if len(title) <= 40 else f"{title[:39]}…",
            each["pattern"],
            str(len(each["participants"])),
            str(each["turns"]),
            status,
            spent(each["cost"], Decimal(each["cost"]) > 0, each["unpriced"]),
            updated,
        )
    return shown


def models(url: Url = None, as_json: AsJson = False) -> None:
    """List the models that a session can name."""

    async def work(client: RoomClient) -> int:
        found = await client.models()
        if as_json:
            room.print_json(found)
            return room.OK
        from api.cli.tables import row, table

        console = room.console()
        shown = table("provider", "model", "as in 'chat --models'")
        for each in found["models"]:
            provider, model = each["provider"], each["model_name"]
            row(shown, provider, model, f"{provider}/{model}")
        console.print(shown)
        for each in found.get("unavailable", ()):
            room.complain(f"{each['provider']} does not tell its models: {each['detail']}")
        return room.OK

    room.with_room(url, work)


def providers(url: Url = None, as_json: AsJson = False) -> None:
    """List the providers of models: configured, or found on this machine."""

    async def work(client: RoomClient) -> int:
        found = await client.providers()
        if as_json:
            room.print_json(found)
            return room.OK
        from api.cli.tables import row, table

        shown = table("provider", "type", "answers", "needs")
        for each in found["providers"]:
            needs = ", ".join(each["missing"])
            answers = "yes" if each["reachable"] else "no"
            no_answer = "nothing more" if each["reachable"] else "an answer: see below"
            needs = f"set {needs}" if needs else no_answer
            row(shown, each["id"], each["type"], answers, needs)
        room.console().print(shown)
        for each in found["providers"]:
            if not each["reachable"] and not each["missing"]:
                room.complain(f"{each['id']} does not answer: {each['detail']}")
        return room.OK

    room.with_room(url, work)
