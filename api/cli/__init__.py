"""The command line `control-room`: one module a subject, everything heavy imported when used."""

from __future__ import annotations

import typer

from api.cli import audit, chat, events, replay, room, serve, sessions

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
            "control-room replay SESSION": "prove that a session is what follows from its log",
        },
        "0 where what was asked holds, 1 where it does not, 2 for wrong use.",
    ),
)
app.command(epilog=serve.EPILOG)(serve.serve)
app.command(epilog=chat.EPILOG)(chat.chat)
app.command(epilog=sessions.SESSIONS_EPILOG)(sessions.sessions)
app.command(epilog=events.EPILOG)(events.events)
app.command(epilog=replay.EPILOG)(replay.replay)
app.add_typer(audit.app, name="audit")
app.command(epilog=sessions.MODELS_EPILOG)(sessions.models)
app.command(epilog=sessions.PROVIDERS_EPILOG)(sessions.providers)
