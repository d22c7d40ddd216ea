"""`control-room frameworks` and `frameworks install`."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli import room
from api.cli.room import AsJson

app = typer.Typer(
    invoke_without_command=True,
    rich_markup_mode=None,
    help="List the frameworks whose workflows the room runs; install what some need.",
    epilog=room.epilog(
        {
            "control-room frameworks": "which there are, and whether they can run",
            "control-room frameworks install crewai": "install what CrewAI needs, once",
        },
        "0, 1 where it could not be installed, 2 for wrong use.",
    ),
)
INSTALL_EPILOG = room.epilog(
    {"control-room frameworks install crewai": "about a minute, and a gigabyte"},
    "0, 1 where it could not be installed, 2 for wrong use.",
)


@app.callback()
def frameworks(context: typer.Context, as_json: AsJson = False) -> None:
    """List the frameworks whose workflows the room runs; install what some need."""
    if context.invoked_subcommand is not None:
        return

    def run() -> int:
        found = _frameworks()
        if as_json:
            room.print_json({"frameworks": found})
            return room.OK
        from api.cli.tables import row, table

        listed = table("framework", "runs in", "state")
        for name, environment, state in ((f["name"], f["environment"], f["state"]) for f in found):
            where = "an environment of its own" if environment else "the room's environment"
            missing = environment and state != "installed"
            hint = f": 'frameworks install {environment}'" if missing else ""
            row(listed, str(name), where, f"{state}{hint}")
        room.console().print(listed)
        return room.OK

    raise typer.Exit(room.guarded(run))


@app.command(epilog=INSTALL_EPILOG)
def install(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The framework: crewai.")],
) -> None:
    """Install the libraries of a framework that cannot live beside the room's, from their lock.

    They go into the data directory, `frameworks/NAME`.
    """

    def run() -> int:
        from actors.frameworks import environments
        from api.settings import load_settings

        home = load_settings().home
        folder = environments.folder_of(name, home)
        if environments.state_of(name, home) == "installed":
            print(f"{name} is installed in {folder}")
            return room.OK
        print(f"Installing {name} in {folder} (a minute or two)", flush=True)
        environments.install(name, home)
        print(f"{name} is installed")
        return room.OK

    raise typer.Exit(room.guarded(run))


def _frameworks() -> list[dict[str, str | None]]:
    from actors.frameworks.environments import state_of
    from actors.frameworks.port import BadWorkflow
    from actors.frameworks.registry import framework, known_frameworks
    from api.settings import load_settings

    home = load_settings().home
    found = []
    for name in known_frameworks():
        environment: str | None = None
        state: str = "installed"
        try:
            environment = framework(name).environment
        except BadWorkflow as error:  # one from another distribution that is broken
            state = error.message
        else:
            state = state_of(environment, home) if environment else state
        found.append({"name": name, "environment": environment, "state": state})
    return found
