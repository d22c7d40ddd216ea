"""What docs/doors.md says can be done as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import httpx2

from tests.rooms import config, room_in_a_thread

DOCUMENT = Path(__file__).parents[2] / "docs" / "doors.md"


def test_the_example_runs(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.+?)```", DOCUMENT.read_text(), re.DOTALL)
    with room_in_a_thread(tmp_path) as room:
        preset = {"kind": "room", "config": config("x", "a b")}
        saved = httpx2.put(f"{room.url}/v1/presets/reviewers", json=preset, trust_env=False)
        assert saved.status_code == 200
        done = subprocess.run(
            [sys.executable, "-c", code.replace("http://127.0.0.1:8000", room.url)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.stderr == ""
    assert "'room/reviewers'" in done.stdout
    assert "**A (a)**" in done.stdout


def test_every_code_of_a_failed_turn_is_described() -> None:
    source = (DOCUMENT.parents[1] / "api" / "openai_door" / "completion.py").read_text()
    told = set(re.findall(r'\(\d{3}, "(\w+)"\)', source))
    assert len(told) >= 5
    assert told <= set(re.findall(r"`(\w+)`", DOCUMENT.read_text()))
