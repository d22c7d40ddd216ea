"""`control-room presets`: rooms and toolchains that are saved under a name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from api.cli import room
from api.cli.room import AsJson, Url

if TYPE_CHECKING:
    from api.client import RoomClient

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Rooms and toolchains that are saved under a name: list, save, delete them.",
)
CODES = "0, 1 where the room is not there or has no such preset, 2 for wrong use."
LIST_EPILOG = room.epilog({"control-room presets list": "what is saved"}, CODES)
SAVE_EPILOG = room.epilog(
    {
        "control-room presets save reviewers room.json": "an OpenAI client then asks it as"
        " room/reviewers",
        "control-room presets save nightly crew.json --toolchain": "a workflow with its tools",
    },
    CODES,
)
DELETE_EPILOG = room.epilog(
    {"control-room presets delete reviewers": "what was made of it goes on"}, CODES
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Letters, digits, '_' and '-'.")]


@app.command("list", epilog=LIST_EPILOG)
def list_(url: Url = None, as_json: AsJson = False) -> None:
    """List what is saved, by name."""

    async def work(client: RoomClient) -> int:
        found = (await client.presets())["presets"]
        if as_json:
            room.print_json({"presets": found})
        elif found:
            from api.cli.tables import row, table

            shown = table("name", "kind", "what", "saved")
            for each in found:
                saved = each["saved_at"][:16].replace("T", " ")
                row(shown, each["name"], each["kind"], _what(each), saved)
            room.console().print(shown)
        else:
            room.console().print("nothing is saved yet: see 'control-room presets save --help'")
        return room.OK

    room.with_room(url, work)


@app.command(epilog=SAVE_EPILOG)
def save(
    name: Name,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="JSON or YAML of a session, or of a workflow.")
    ],
    toolchain: Annotated[
        bool, typer.Option("--toolchain", help="The file is a workflow's, not a session's.")
    ] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Save the configuration in a file under a name; what the name stood for is replaced."""

    async def work(client: RoomClient) -> int:
        kind = "toolchain" if toolchain else "room"
        saved = await client.save_preset(name, kind, read_object(file))
        return room.say(saved, f"{saved['kind']} {saved['name']} is saved", as_json=as_json)

    room.with_room(url, work)


@app.command(epilog=DELETE_EPILOG)
def delete(name: Name, url: Url = None, as_json: AsJson = False) -> None:
    """Let a name stand for nothing any more; sessions that were made of it go on."""

    async def work(client: RoomClient) -> int:
        deleted = await client.delete_preset(name)
        return room.say(deleted, f"{name} is deleted", as_json=as_json)

    room.with_room(url, work)


def read_object(file: Path) -> dict[str, Any]:
    """The object in a file; raises `ConfigError` where there is none."""
    import json

    import yaml

    from events.errors import ConfigError

    try:
        read = yaml.safe_load(file.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from None
    except yaml.YAMLError:
        raise ConfigError(f"{file} is neither JSON nor YAML") from None
    if not isinstance(read, dict):
        raise ConfigError(f"{file} holds no object: write the JSON of a session or a run in it")
    return cast("dict[str, Any]", json.loads(json.dumps(read, default=str)))  # YAML has dates


def _what(preset: dict[str, Any]) -> str:
    """A preset in a few words."""
    config = preset["config"]
    if preset["kind"] == "room":
        seats = ", ".join(model["id"] for model in config["models"])
        return f"{config.get('routing_pattern', 'broadcast')}: {seats}"
    models = config["models"]
    names = models if isinstance(models, dict) else (_id(one, n) for n, one in enumerate(models, 1))
    return f"{config['framework']['type']}: {', '.join(names)}"


def _id(model: Any, number: int) -> str:
    """What a model of a toolchain is called."""
    return str((isinstance(model, dict) and model.get("id")) or f"model_{number}")
