"""The locks install anywhere, the same everywhere, and the wheel holds the whole project."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]

# --- requirements/ -----------------------------------------------------------------------------


def pins(lock: str) -> dict[str, str]:
    """Every pinned requirement of a lock by `name==version`, with its marker."""
    text = (ROOT / "requirements" / lock).read_text(encoding="utf-8")
    found: dict[str, str] = {}
    for entry in re.split(r"\n(?=\S)", text.replace("\\\n", " ")):
        requirement, *hashes = re.sub(r"#.*", "", entry).split("--hash=sha256:")
        assert hashes, f"{lock}: {requirement} has no hash"
        assert all(re.fullmatch(r"[0-9a-f]{64}\s*", digest) for digest in hashes)
        pinned, _, marker = requirement.partition(";")
        assert re.fullmatch(r"[a-z0-9-]+==\S+", pinned.strip()), pinned
        found[pinned.strip()] = marker.strip()
    return found


@pytest.mark.parametrize("lock", ["run.txt", "test.txt", "crewai.txt"])
def test_lock_pins_and_hashes_everything_and_names_no_registry(lock: str) -> None:
    assert len(pins(lock)) > 50
    text = (ROOT / "requirements" / lock).read_text(encoding="utf-8")
    assert not re.search(r"://|file:|--(?!hash=sha256:)|\s@\s", text)


def test_tests_run_on_the_versions_that_the_room_runs_on() -> None:
    tests = pins("test.txt")
    for pinned, marker in pins("run.txt").items():
        assert tests.get(pinned) in (marker, ""), pinned  # perhaps on more platforms


def test_ray_can_run_an_actor_in_the_environment_of_crewai() -> None:
    (room,) = (pin for pin in pins("run.txt") if pin.startswith("ray=="))
    assert room in pins("crewai.txt")


def test_locks_hold_what_the_project_asks_for() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)
    groups = project["dependency-groups"]
    wanted = {
        "run.txt": project["project"]["dependencies"] + groups["build"],
        "test.txt": groups["test"] + groups["lint"],
    }
    for lock, requirements in wanted.items():
        versions: dict[str, list[str]] = {}
        for pin in pins(lock):
            name, _, version = pin.partition("==")
            versions.setdefault(name, []).append(version)
        for requirement in map(Requirement, requirements):
            locked = versions[requirement.name]
            assert all(requirement.specifier.contains(version) for version in locked), requirement


# --- the wheel ---------------------------------------------------------------------------------


def test_wheel_holds_every_module_and_the_command(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=ROOT,
        env=os.environ | {"SOURCE_DATE_EPOCH": "315532800"},
        check=True,
        capture_output=True,
        timeout=60,
    )
    (path,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
        (entry_points,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
        assert "control-room = api.cli:" in wheel.read(entry_points).decode()
    packages = ("events", "actors", "projections", "api")
    modules = {
        str(file.relative_to(ROOT))
        for package in packages
        for file in (ROOT / package).rglob("*.py")
    }
    assert modules
    assert {name for name in held if name.endswith(".py")} == modules
    assert all(name.split("/")[0] in packages for name in held)
    assert "actors/frameworks/requirements/crewai.txt" in held
