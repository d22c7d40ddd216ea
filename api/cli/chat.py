"""`control-room chat`."""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from api.cli import room
from api.cli.answers import Wait, code_of, print_answers, within
from api.cli.room import AsJson, Url

if TYPE_CHECKING:
    from api.cli.conversation import Conversation

T = TypeVar("T")

EPILOG = room.epilog(
    {
        "control-room chat": "a new session with five models",
        "control-room chat sess_abc123": "go on with a session",
        "control-room chat --pattern voting --models openai/gpt-4o,rehearsal/steady": "",
        "control-room chat --models pro=ollama/llama3,contra=ollama/qwen3": "with roles",
        'control-room chat --new -m "What is a saga?"': "one message; prints the answers",
        'control-room chat --new -m "What is this?" --attach photo.png': "with an image or a text",
    },
    "0 where the last message was answered, 1 where its turn failed or was cancelled, 2 for wrong"
    " use.",
)

Pattern = Literal["broadcast", "coordinator", "round_robin", "voting"]


def chat(
    session: Annotated[
        str | None,
        typer.Argument(metavar="SESSION", help="A session to go on with; default: a new one."),
    ] = None,
    *,
    new: Annotated[
        bool, typer.Option("--new", help="Begin a session, under the id SESSION where given.")
    ] = False,
    models: Annotated[
        str | None,
        typer.Option(
            metavar="[ROLE=]PROVIDER/MODEL,...",
            help="Who takes part in a new session; default: models found on this machine, or else"
            " five rehearsal models, which cost nothing.",
        ),
    ] = None,
    pattern: Annotated[
        Pattern | None,
        typer.Option(
            help="Who answers in a new session: all (broadcast), those whom the first"
            " model chooses, one after another, or all with a vote."
        ),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Title of a new session.")] = None,
    message: Annotated[
        str | None,
        typer.Option(
            "--message",
            "-m",
            metavar="TEXT",
            help="Post this, print the answers, and leave; '-' reads it from standard input.",
        ),
    ] = None,
    attach: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE", help="An image or a text that goes with the message of -m; repeatable."
        ),
    ] = None,
    wait: Wait = 600,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Talk to several models at once, side by side in columns.

    Ctrl-C calls off the turn that is under way, Ctrl-D leaves, /help lists commands. A new session
    is made with its first message. On a narrow terminal, or into a
    pipe, there are lines with names instead of columns. Standard input that is no terminal is read
    line by line, each a message.
    """

    def run() -> int:
        from events.errors import ConfigError

        begin = new or session is None
        chosen = {"--models": models, "--pattern": pattern, "--title": title}
        given = [name for name, value in chosen.items() if value is not None]
        if not begin and given:
            raise ConfigError(f"{', '.join(given)} are for a new session: add --new")
        if as_json and message is None:
            raise ConfigError("--json needs a message: add -m TEXT")
        if attach and message is None:
            raise ConfigError("--attach needs a message: add -m TEXT, or use /attach in the chat")
        with _Chat(url, as_json=as_json) as talk:
            if begin:
                talk.begin(session, models, pattern or "broadcast", title)
            else:
                talk.resume(session or "")
            if message is not None:
                text = sys.stdin.read() if message == "-" else message
                return talk.once(text, attach or [], wait)
            return talk.converse()

    raise typer.Exit(room.guarded(run))


class _Chat:
    """A conversation, run bit by bit on one event loop between the prompts."""

    def __init__(self, url: str | None, *, as_json: bool) -> None:
        self._runner = asyncio.Runner()
        self._url = url
        self._as_json = as_json
        self._console = room.console()
        self._talk: Conversation | None = None

    def __enter__(self) -> _Chat:
        self._client = room.room_client(self._url)
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._client.close())
        self._runner.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    # --- the session -----------------------------------------------------------------------------

    def begin(self, id: str | None, models: str | None, pattern: str, title: str | None) -> None:
        """Prepare a session, which is made when its first message is posted."""
        from api.new_session import choices, offered, rehearsing, session_config, usual

        chosen = choices(models) if models is not None else None
        providers = self._run(self._client.providers())["providers"]
        if chosen is None:
            listed = self._run(self._client.models())["models"]
            chosen = usual(listed, rehearsing(providers))
        else:
            offered(chosen, providers)
        config = session_config(chosen, pattern, title)
        self._open(id or f"sess_{secrets.token_hex(8)}", config)

    def resume(self, id: str) -> None:
        """Go on with a session."""
        self._run(self._client.session(id))
        self._open(id)

    def _open(self, id: str, config: dict[str, Any] | None = None) -> None:
        from api.cli.conversation import Conversation

        self._talk = Conversation(self._client, id, self._console, config)

    # --- messages --------------------------------------------------------------------------------

    def once(self, text: str, files: list[str], wait: float) -> int:
        """Post one message with these files; shows its answers on a terminal, else prints them."""
        from api.cli.conversation import check_message

        talk, text = self._conversation, _sendable(text)
        check_message(text)
        for file in files:
            self._run(talk.attach(file))
        if not talk.made:
            self._run(talk.make())
            print(f"session {talk.session}", file=sys.stderr)
        if self._as_json or not self._console.is_terminal:
            talk.show_nothing()
        progress = self._run(within(self._client, talk.say(text), wait, talk.session))
        if self._as_json:
            room.print_json(self._run(self._client.turn(talk.session, progress.turn)))
        elif not self._console.is_terminal:
            self._run(print_answers(self._client, progress))
        return code_of(progress)

    def converse(self) -> int:
        """Read messages and show their turns until the input ends."""
        interactive = sys.stdin.isatty()
        talk, code = self._conversation, room.OK
        self._run(talk.catch_up())
        if interactive:
            import readline  # noqa: F401  # gives the prompt a history and keys

            self._console.print("/help lists commands, Ctrl-C calls off a turn, Ctrl-D leaves.")
        while (text := _message(interactive)) is not None:
            if interactive and text == "/quit":
                break
            code = self._said(text) if interactive else self._post(text)
        if interactive and talk.made:
            self._console.print(f"Go on later with: control-room chat {talk.session}")
        return code

    def _said(self, text: str) -> int:
        """Do what a person typed; what is refused is said, and the conversation goes on."""
        from api.cli.conversation import check_message
        from api.cli.slash import is_command, obey
        from events.errors import ControlRoomError

        talk = self._conversation
        try:
            if is_command(text):
                progress = self._run(obey(text, self._client, talk, self._console))
                return room.OK if progress is None else code_of(progress)
            check_message(_sendable(text))
        except ControlRoomError as error:
            room.complain(error.message)
            return room.FAILED
        if not talk.made:
            self._run(talk.make())  # a session that is refused is so for every message
        try:
            return self._post(text)
        except ControlRoomError as error:
            room.complain(error.message)
            return room.FAILED

    def _post(self, text: str) -> int:
        return code_of(self._run(self._conversation.say(_sendable(text).strip())))

    @property
    def _conversation(self) -> Conversation:
        assert self._talk is not None
        return self._talk


def _message(interactive: bool) -> str | None:
    """The next message that is not empty, or None at the end of the input."""
    while True:
        try:
            text = input("\nyou> ") if interactive else sys.stdin.readline()
        except EOFError:
            print()
            return None
        except KeyboardInterrupt:
            print("\nCtrl-D leaves.")
            continue
        if text.strip():
            return text.rstrip()
        if not interactive and not text:
            return None


def _sendable(text: str) -> str:
    """`text` without what is no character: input may be of another encoding."""
    return text.encode("utf-8", "replace").decode()
