"""`control-room presets` against a running room."""

from __future__ import annotations

import json
from pathlib import Path

from tests.commands import run
from tests.rooms import LocalRoom, config, local_room

CREW = """
mode: framework
framework:
  type: crewai
  config:
    agents: [{model_id: writer}]
    tasks: [{description: Write.}]
models: {writer: paced/instant}
inputs: {since: 2026-11-24}
"""


async def test_presets_are_saved_listed_and_deleted(tmp_path: Path) -> None:
    async with local_room(tmp_path / "room") as room:
        await _whole_life(room, tmp_path)


async def _whole_life(room: LocalRoom, folder: Path) -> None:
    done = await run(room, "presets", "list")
    assert (done.code, done.out.split(":")[0]) == (0, "nothing is saved yet")
    (folder / "room.json").write_text(json.dumps(config("s1", "a b")))
    done = await run(room, "presets", "save", "pair", str(folder / "room.json"))
    assert (done.code, done.out) == (0, "room pair is saved\n")
    (folder / "crew.yaml").write_text(CREW)
    done = await run(
        room, "presets", "save", "crew", str(folder / "crew.yaml"), "--toolchain", "--json"
    )
    assert done.code == 0
    assert json.loads(done.out)["config"]["inputs"] == {"since": "2026-11-24"}
    done = await run(room, "presets", "list")
    assert done.code == 0
    assert [line.split()[:2] for line in done.out.splitlines()[-2:]] == [
        ["crew", "toolchain"],
        ["pair", "room"],
    ]
    assert "crewai: writer" in done.out
    assert "broadcast: a, b" in done.out
    done = await run(room, "presets", "save", "bad", str(folder / "crew.yaml"))
    assert (done.code, "unknown key" in done.err) == (2, True)
    (folder / "list.json").write_text("[1]")
    done = await run(room, "presets", "save", "bad", str(folder / "list.json"))
    assert (done.code, "holds no object" in done.err) == (2, True)
    assert (await run(room, "presets", "delete", "crew")).code == 0
    assert (await run(room, "presets", "delete", "crew")).code == 1
    done = await run(room, "presets", "list", "--json")
    assert [each["name"] for each in json.loads(done.out)["presets"]] == ["pair"]
