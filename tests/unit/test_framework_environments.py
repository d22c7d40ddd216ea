"""Environments of frameworks: made from a lock, told from what is not one, and lent our code."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from typer.testing import CliRunner, Result

from actors.frameworks import environments
from actors.frameworks.remote import placement
from api.cli import app
from api.run_views import frameworks_of
from events.errors import ConfigError

pytestmark = pytest.mark.unit


@pytest.fixture
def no_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lock with nothing in it, which installs without the network."""
    lock = tmp_path / "crewai.txt"
    lock.write_text("# nothing\n")
    monkeypatch.setattr(environments, "lock_of", lambda name: lock)
    return lock


def command(home: Path, *arguments: str) -> Result:
    wide = {"CONTROL_ROOM_HOME": str(home), "COLUMNS": "200"}
    return CliRunner().invoke(app, arguments, env=wide)


def test_what_is_not_installed_is_said_with_the_command_that_installs_it(tmp_path: Path) -> None:
    assert environments.state_of("crewai", tmp_path) == "not installed"
    with pytest.raises(ConfigError, match=r"run `control-room frameworks install crewai`"):
        placement("crewai", tmp_path)
    assert placement(None, tmp_path) == {}


def test_an_environment_is_made_once_and_anew_when_its_lock_changes(
    tmp_path: Path, no_libraries: Path
) -> None:
    assert environments.install("crewai", tmp_path) is True
    assert environments.state_of("crewai", tmp_path) == "installed"
    assert environments.install("crewai", tmp_path) is False

    no_libraries.write_text("# another release\n")
    assert environments.state_of("crewai", tmp_path) == "outdated"
    with pytest.raises(ConfigError, match="is outdated: run"):
        environments.interpreter_of("crewai", tmp_path)
    assert environments.install("crewai", tmp_path) is True
    assert environments.state_of("crewai", tmp_path) == "installed"

    python = environments.interpreter_of("crewai", tmp_path)
    python.unlink()  # as an upgrade of the system does to what the link leads to
    assert environments.state_of("crewai", tmp_path) == "outdated"


@pytest.mark.usefixtures("no_libraries")
def test_of_the_room_an_environment_has_only_the_actors(tmp_path: Path) -> None:
    environments.install("crewai", tmp_path)
    site = next((tmp_path / "frameworks/crewai/lib").glob("python*/site-packages"))
    (site / "actors").symlink_to(tmp_path)  # where the room was before it moved
    python = placement("crewai", tmp_path)["py_executable"]

    def imports(module: str) -> int:
        return subprocess.run([python, "-P", "-c", f"import {module}"], check=False).returncode

    assert imports("actors.frameworks.port") == 0
    assert imports("actors.frameworks.registry") == 0
    assert imports("events") == 1


def test_without_the_network_nothing_is_installed_and_the_reason_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    said = command(tmp_path, "frameworks", "install", "crewai")
    assert said.exit_code == 1
    assert "libraries of crewai could not be installed (this takes the network" in said.stderr
    assert "No matching distribution" in said.stderr
    assert environments.state_of("crewai", tmp_path) == "not installed"


@pytest.mark.usefixtures("no_libraries")
def test_the_command_lists_and_installs(tmp_path: Path) -> None:
    before = json.loads(command(tmp_path, "frameworks", "--json").stdout)["frameworks"]
    states = {each["name"]: (each["environment"], each["state"]) for each in before}
    assert states["crewai"] == ("crewai", "not installed")
    assert states["langchain"] == (None, "installed")
    assert "frameworks install crewai" in command(tmp_path, "frameworks").stdout

    assert command(tmp_path, "frameworks", "install", "crewai").exit_code == 0
    assert "crewai is installed in" in command(tmp_path, "frameworks", "install", "crewai").stdout
    assert "frameworks install" not in command(tmp_path, "frameworks").stdout


def test_a_broken_framework_of_another_distribution_is_listed_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "broken-1.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (told / "entry_points.txt").write_text("[control_room.frameworks]\nbroken = nowhere:Mine\n")
    monkeypatch.syspath_prepend(tmp_path)
    listed = command(tmp_path, "frameworks")
    assert listed.exit_code == 0
    assert "framework 'broken' (nowhere:Mine) cannot be imported" in listed.stdout
    assert "langchain" in listed.stdout


def test_a_framework_that_raises_when_it_is_imported_is_listed_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "raising_module.py").write_text("raise ValueError('no such colour')\n")
    told = tmp_path / "raising-1.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: raising\nVersion: 1.0\n")
    (told / "entry_points.txt").write_text(
        "[control_room.frameworks]\nraising = raising_module:Mine\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = {each.name: each for each in frameworks_of(tmp_path).frameworks}
    assert "langchain" in found
    assert "ValueError: no such colour" in str(found["raising"])
    assert command(tmp_path, "frameworks").exit_code == 0


@pytest.mark.usefixtures("no_libraries")
def test_runs_that_begin_at_once_lend_the_code_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environments.install("crewai", tmp_path)
    together = Barrier(4)
    place = Path.symlink_to

    def at_once(link: Path, target: Path) -> None:
        together.wait(30)
        place(link, target)
        together.wait(30)

    monkeypatch.setattr(Path, "symlink_to", at_once)
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(environments.interpreter_of, "crewai", tmp_path) for _ in range(4)]
        assert len({each.result(60) for each in asked}) == 1


def test_only_what_needs_an_environment_is_installed(tmp_path: Path) -> None:
    said = command(tmp_path, "frameworks", "install", "langchain")
    assert said.exit_code == 2
    assert "only crewai has to be installed" in said.stderr
