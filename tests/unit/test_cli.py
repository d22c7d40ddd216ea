"""The command line without a room: help, wrong use, what it imports, the form of its lines."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from typer.testing import CliRunner, Result

import api.cli as app_module
from api import client
from api.cli import app
from api.cli.event_lines import event_line
from api.cli.replay import replay_lines
from api.client_messages import Event
from api.terminal_text import safe_line
from events.cloudevents import to_cloudevent
from events.envelope import Event as StoredEvent
from tests.event_samples import events

COMMANDS = (
    ("serve",), ("chat",), ("sessions",), ("show",), ("costs",), ("events",), ("cancel",),
    ("retry",), ("pause",), ("resume",), ("close",), ("replay",), ("models",), ("providers",),
    ("audit", "verify"), ("choices",), ("presets", "list"), ("presets", "save"),
    ("presets", "delete"), ("frameworks",), ("frameworks", "install"),
)  # fmt: skip


def run(*arguments: str, **environment: str) -> Result:
    """A command in this process."""
    return CliRunner().invoke(app, arguments, env=environment, prog_name="control-room")


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own."""
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def nobody() -> Iterator[str]:
    """The URL of a port that nobody listens on."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


# --- help ----------------------------------------------------------------------------------------


def test_help_names_every_command() -> None:
    done = run("--help")
    assert done.exit_code == 0
    listed = done.stdout.partition("Commands:")[2]
    for command in COMMANDS:
        assert f"\n  {command[0]} " in listed
    assert "Examples:" in done.stdout
    assert "Exit codes: 0 where what was asked holds" in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_has_examples_and_exit_codes(command: tuple[str, ...]) -> None:
    done = run(*command, "--help")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith(f"Usage: control-room {' '.join(command)} [OPTIONS]")
    assert "Examples:\n" in done.stdout
    assert f"control-room {' '.join(command)}" in done.stdout.partition("Examples:")[2]
    assert "Exit codes: 0" in done.stdout


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, api.cli\n"
        "heavy = {'pydantic', 'httpx2', 'websockets', 'fastapi', 'ray', 'nats', 'openai',\n"
        "         'eventsourcing', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert python("-c", code).stdout.strip() == "[]"


def test_the_version_is_that_of_the_package() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    done = run("--version")
    assert (done.exit_code, done.stdout) == (0, f"control-room {project['version']}\n")


def test_the_command_is_this_one() -> None:
    declared = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"][
        "scripts"
    ]
    assert declared["control-room"] == f"{app_module.__name__}:app"
    done = python("-m", "api.cli", "events")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: control-room events ")


# --- wrong use -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("events",),
        ("events", "s1", "--after", "-1"),
        ("replay",),
        ("show",),
        ("cancel",),
        ("retry", "s1", "t1"),
        ("close", "s1", "t1"),
        ("sessions", "--limit", "0"),
        ("sessions", "--url", "127.0.0.1"),
        ("chat", "--pattern", "chaos"),
        ("chat", "--models", "steady"),
        ("chat", "s1", "--title", "for a new one only"),
        ("chat", "--json"),
        ("serve", "--port", "99999"),
        ("audit", "verify", "--store", "mysql://localhost/x"),
    ],
)
def test_wrong_use_is_2(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert isinstance(done.exception, SystemExit)
    assert done.stderr.strip()


def test_a_wrong_setting_is_named_without_its_value() -> None:
    done = run("sessions", CONTROL_ROOM_PORT="secret")
    assert done.exit_code == 2
    assert "CONTROL_ROOM_PORT" in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("sessions",), ("models",), ("providers",), ("events", "s1"), ("events", "s1", "--follow"),
        ("replay", "s1"), ("show", "s1"), ("costs",), ("choices",), ("cancel", "s1"),
        ("retry", "s1", "t1", "a"), ("pause", "s1"), ("resume", "s1"), ("close", "s1"),
        ("chat",), ("chat", "s1"), ("chat", "--new", "-m", "Hello"),
    ],
)  # fmt: skip
def test_without_a_room_one_line_says_how_to_start_it(
    command: tuple[str, ...], nobody: str
) -> None:
    done = run(*command, "--url", nobody)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert f"no room answers at {nobody}" in done.stderr
    assert "control-room serve" in done.stderr


def test_an_address_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(0)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        done = run("sessions", "--url", url)
        asked = 0
        with contextlib.suppress(BlockingIOError):
            while silent.accept():
                asked += 1
    assert (done.exit_code, done.stdout) == (1, "")
    assert f"no room answers at {url} (the connection is taken, but nothing is" in done.stderr
    assert asked == 1  # and not again and again


def test_the_address_is_taken_from_the_settings(nobody: str) -> None:
    port = nobody.rpartition(":")[2]
    assert f"no room answers at {nobody} " in run("models", CONTROL_ROOM_PORT=port).stderr


def test_audit_says_where_there_is_no_store(tmp_path: Path) -> None:
    done = run("audit", "verify", CONTROL_ROOM_HOME=str(tmp_path))
    assert done.exit_code == 2
    assert str(tmp_path) in done.stderr
    assert len(done.stderr.splitlines()) == 1


# --- lines ---------------------------------------------------------------------------------------


@given(events())
def test_every_event_has_a_line(stored: StoredEvent) -> None:
    event = Event.of(to_cloudevent(stored))
    line = event_line(event).plain
    assert safe_line(line) == " ".join(line.split())
    assert line.startswith(f"{event.position:>6}  ")
    assert event.type in line


def test_lines_hold_nothing_that_a_terminal_obeys() -> None:
    payload = {"message": {"content": "one\x1b[31m\ntwo\x07"}}
    event = Event(2, "turn.started", "2026-03-01T12:00:00Z", "local", "t1", None, payload)
    assert event_line(event).plain == "     2  12:00:00  t1    turn.started         one two"


def test_events_of_a_later_release_are_shown_too() -> None:
    event = Event(3, "dream.dreamt", "2026-03-01T12:00:00Z", "local", "t1", "call:x:1", {"a": 1})
    assert event_line(event).plain.endswith("dream.dreamt         a=1")


DIVERGED: Mapping[str, Any] = {
    "identical": False,
    "events": 9,
    "head": "ab" * 32,
    "divergence": {
        "position": 4,
        "message": "replay made another route.decided",
        "expected": {"type": "route.decided", "data": {"participants": ["a"]}},
        "actual": None,
    },
}


def test_a_divergence_says_where_and_what() -> None:
    text = "\n".join(replay_lines("s1", DIVERGED))
    assert "diverged at position 4" in text
    assert "replay made another route.decided" in text
    assert '"participants": [' in text.partition("expected:")[2].partition("actual:")[0]
    assert text.endswith("actual:\n  null")
