"""`control-room serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from api.cli import room

EPILOG = room.epilog(
    {
        "control-room serve": "a room on http://127.0.0.1:8000",
        "control-room serve --demo": "the same, with a demonstration first",
        "control-room serve --port 9000 --home ./room": "another port, another data directory",
    },
    "0 after Ctrl-C, 1 where the room cannot start, 2 where a setting is wrong.",
)


def serve(
    demo: Annotated[
        bool, typer.Option("--demo/--no-demo", help="Hold a demonstration session first.")
    ] = False,
    demo_once: Annotated[
        bool, typer.Option("--demo-once", help="The same, where there is no session yet.")
    ] = False,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help="Port of the API (0: any free); default: 8000."),
    ] = None,
    home: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Data directory of the room.")
    ] = None,
) -> None:
    """Start a room, and keep it running until Ctrl-C.

    It starts its own NATS server, Ray and API, and stops them at the end; what was said stays in
    the data directory. All settings are CONTROL_ROOM_ variables: see the README.
    """

    def run() -> int:
        from api.serve import serve as serve_room
        from api.settings import load_settings

        given = {"port": port, "home": home}
        settings = load_settings(
            **{key: value for key, value in given.items() if value is not None}
        )
        return serve_room(settings, demo="always" if demo else "once" if demo_once else "never")

    raise typer.Exit(room.guarded(run))
