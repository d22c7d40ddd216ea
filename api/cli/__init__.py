"""The command line `control-room`: one module a subject, everything heavy imported when used."""

from __future__ import annotations

from typing import Annotated

import typer

from api import __version__
from api.cli import (
    approvals,
    audit,
    chat,
    choices,
    control,
    costs,
    events,
    frameworks,
    presets,
    replay,
    room,
    run,
    runs,
    serve,
    sessions,
    show,
    tools,
)

app = typer.Typer(
    name="control-room",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="A control room for several language models at once: start it, talk to the models in it,"
    " and look at, replay and audit what was said.",
    epilog=room.epilog(
        {
            "control-room serve --demo": "start a room, and see what it does",
            "control-room chat": "talk to five models at once",
            "control-room show SESSION": "read what was said",
            "control-room replay SESSION": "prove that a session is what follows from its log",
        },
        "0 where what was asked holds, 1 where it does not, 2 for wrong use.",
    ),
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"control-room {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Options of the program itself."""


app.command(epilog=serve.EPILOG)(serve.serve)
app.command(epilog=chat.EPILOG)(chat.chat)
app.command(epilog=sessions.SESSIONS_EPILOG)(sessions.sessions)
app.command(epilog=show.EPILOG)(show.show)
app.command(epilog=costs.EPILOG)(costs.costs)
app.command(epilog=choices.EPILOG)(choices.choices)
app.command(epilog=events.EPILOG)(events.events)
app.command(epilog=control.CANCEL_EPILOG)(control.cancel)
app.command(epilog=control.RETRY_EPILOG)(control.retry)
app.command(epilog=control.PAUSE_EPILOG)(control.pause)
app.command(epilog=control.RESUME_EPILOG)(control.resume)
app.command(epilog=control.CLOSE_EPILOG)(control.close)
app.command(epilog=approvals.APPROVALS_EPILOG)(approvals.approvals)
app.command(epilog=approvals.APPROVE_EPILOG)(approvals.approve)
app.command(epilog=approvals.DENY_EPILOG)(approvals.deny)
app.command(epilog=approvals.ANSWER_EPILOG)(approvals.answer)
app.command(epilog=replay.EPILOG)(replay.replay)
app.command(epilog=run.EPILOG)(run.run)
app.add_typer(runs.app, name="runs")
app.add_typer(audit.app, name="audit")
app.add_typer(frameworks.app, name="frameworks")
app.add_typer(presets.app, name="presets")
app.command(epilog=sessions.MODELS_EPILOG)(sessions.models)
app.command(epilog=sessions.PROVIDERS_EPILOG)(sessions.providers)
app.command(epilog=tools.EPILOG)(tools.tools)
