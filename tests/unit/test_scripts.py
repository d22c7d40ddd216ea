"""Scripts run from the source that was recorded, and from nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from actors.routing.turn import Turn
from actors.scripts import LARGEST, UNREPEATABLE, collect, load
from events.errors import ConfigError, ReplayDiverged
from events.types import TurnCompleted, TurnFailed
from tests.sessions import Driven

EXAMPLES = Path(__file__).parents[2] / "examples" / "scripts"

Write = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes modules into the scripts directory."""

    def write(**modules: str) -> None:
        for name, source in modules.items():
            (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")

    return write


def scripted(directory: Path, entry: str, **changes: Any) -> Driven:
    """A session that is routed by a script, as the room would do it."""
    room = Driven(
        scripts=lambda blob, name: load(room.blobs.contents[blob.sha256], name),
        **{"routing_pattern": "script", "script": entry} | changes,
    )
    room.source = room.blobs.put(collect(directory, entry), "application/json")
    return room


# --- collecting ------------------------------------------------------------------------------


def test_a_script_comes_with_what_it_imports_of_its_directory(tmp_path: Path, write: Write) -> None:
    write(
        panel="import json, math as m\nfrom tone import polite\nasync def route(turn): ...\n",
        tone="def polite():\n    import words\n    return words.HELLO\n",
        words="import tone\nHELLO = 'Grüße'\n",
        unrelated="this is not even Python\n",
    )
    source = collect(tmp_path, "panel:route")
    tree = json.loads(source)
    assert tree["entry"] == "panel:route"
    assert sorted(tree["modules"]) == ["panel", "tone", "words"]
    assert tree["modules"]["words"] == "import tone\nHELLO = 'Grüße'\n"
    assert source == collect(tmp_path, "panel:route")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import numpy\nasync def route(turn): ...", "imports 'numpy', which is neither in"),
        ("from api import cli\nasync def route(turn): ...", "imports 'api', which is neither in"),
        ("import actors.model\nasync def route(turn): ...", "imports 'actors.model', which is nei"),
        ("from actors import bus\nasync def route(turn): ...", "imports 'actors', which is nei"),
        ("from . import x\nasync def route(turn): ...", "write 'import x'"),
        ("import time\nasync def route(turn): ...", "imports 'time', which gives something else"),
        ("from urllib import request\nasync def route(turn): ...", "gives something else"),
        ("async def route(turn)\n    pass", r"main.py, line 1: expected ':'"),
        ("async def other(turn): ...", "line 1: there is no function 'route' up to here"),
        ("X = 1\n\ndef route(turn): ...", "main.py, line 3: route is not async: write 'async def"),
        ("\nx = '\0'", "main.py, line 2: "),
        (f"x = '{'x' * LARGEST}'\nasync def route(turn): ...", f"at most {LARGEST} are allowed"),
    ],
)
def test_what_a_router_cannot_use_is_refused_with_what_to_do(
    tmp_path: Path, write: Write, source: str, message: str
) -> None:
    write(main=source)
    with pytest.raises(ConfigError, match=message):
        collect(tmp_path, "main:route")


def test_a_fault_in_an_imported_module_names_that_module(tmp_path: Path, write: Write) -> None:
    write(main="import part\nasync def route(turn): ...", part="import gone_missing\n")
    with pytest.raises(ConfigError, match=r"script part\.py, line 1: imports 'gone_missing'"):
        collect(tmp_path, "main:route")


@pytest.mark.parametrize(
    "entry", ["main", "main:", ":route", "../main:route", "a.b:route", "a b:c"]
)
def test_an_entry_names_a_module_and_a_function(tmp_path: Path, entry: str) -> None:
    with pytest.raises(ConfigError, match="write 'module:function'"):
        collect(tmp_path, entry)


def test_missing_scripts_and_directories_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no script main\.py in .*: put it there"):
        collect(tmp_path, "main:route")
    with pytest.raises(ConfigError, match=r"there is no scripts directory .*: create it"):
        collect(tmp_path / "nowhere", "main:route")


def test_links_out_of_the_directory_are_refused(tmp_path: Path, write: Write) -> None:
    inside = tmp_path / "scripts"
    inside.mkdir()
    write(main="async def route(turn): ...")
    (inside / "main.py").symlink_to(tmp_path / "main.py")
    with pytest.raises(ConfigError, match="a link to outside"):
        collect(inside, "main:route")


def test_a_script_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_bytes(b"# \xff\nasync def route(turn): ...")
    with pytest.raises(ConfigError, match=r"main\.py, line 1: it is not UTF-8: save it as UTF-8"):
        collect(tmp_path, "main:route")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("import random; x = random.choice([1])", r"random\.choice: draw with 'await turn\.draw"),
        ("from random import shuffle", r"random\.shuffle: draw with"),
        ("import random as r; x = r.Random()", "seeds by chance: draw with"),
        ("from uuid import uuid4 as fresh", r"uuid\.uuid4: draw with"),
        ("import os; x = os.environ['HOME']", r"os\.environ.*: .*turn\.message"),
        ("from os.path import exists", r"os\.path\.exists: "),
        ("import datetime as dt; x = dt.datetime.now()", r"datetime\.now: .*'turn\.timer"),
        (
            "from datetime import datetime; x = datetime.utcnow()",
            r"datetime\.utcnow: .*turn\.timer",
        ),
        ("from datetime import date; x = date.today", r"date\.today: .*turn\.timer"),
        ("x = open('/etc/hosts').read()", r"calls open\(\): a router reads no files"),
        (
            "from pathlib import Path; x = Path('x').read_text()",
            r"pathlib\.Path: a router reads no",
        ),
        ("import pathlib; pathlib.Path('x').write_text('')", r"pathlib\.Path: a router reads no"),
        ("x = hash('a') % 2", r"calls hash\(\): it is another number in every process"),
        ("x = sorted([object()], key=lambda o: id(o))", r"calls id\(\): it is another number"),
    ],
)
def test_what_no_replay_could_repeat_is_refused_with_its_line(
    tmp_path: Path, write: Write, line: str, message: str
) -> None:
    write(main="import part\nasync def route(turn): ...\n", part=f"X = 1\n\n{line}\n")
    with pytest.raises(ConfigError, match=rf"script part\.py, line 3: .*{message}"):
        collect(tmp_path, "main:route")


def test_what_only_looks_unrepeatable_is_not_refused(tmp_path: Path, write: Write) -> None:
    write(
        main=(
            "import random, uuid\n"
            "import tempfile\n"
            "from datetime import datetime, timedelta\n"
            "from pathlib import PurePath\n"
            "class Seat:\n"
            "    def __hash__(self):\n"
            "        return hash(('seat', 1))\n"
            "def open(now):\n"
            "    return now.today\n"
            "async def route(turn):\n"
            "    lots = random.Random(await turn.draw())\n"
            "    name = uuid.uuid5(uuid.NAMESPACE_DNS, turn.message)\n"
            "    return [open(turn) for id in turn.participants if id == tempfile.ours(id)]\n"
        ),
        tempfile="def ours(id):\n    return id\n",
    )
    assert collect(tmp_path, "main:route")


def test_what_was_recorded_runs_as_it_was(tmp_path: Path) -> None:
    source = "import random\ndef route(turn):\n    return random.Random(1).random()\n"
    bundle = json.dumps({"entry": "main:route", "modules": {"main": source}}).encode()
    assert 0 < float(str(load(bundle, "main:route")(None))) < 1  # type: ignore[arg-type]


# --- loading ---------------------------------------------------------------------------------


def test_what_was_collected_runs_whatever_lies_on_disk_now(tmp_path: Path, write: Write) -> None:
    write(
        main="import part\nasync def route(turn):\n    return part.VALUE\n", part="VALUE = 'then'\n"
    )
    room = scripted(tmp_path, "main:route")
    write(part="VALUE = 'now'\n")
    room.post()
    assert room.last(TurnCompleted).answer == "then"
    (tmp_path / "part.py").unlink()
    (tmp_path / "main.py").unlink()
    room.prove()


def test_two_versions_of_a_script_live_side_by_side(tmp_path: Path, write: Write) -> None:
    program = "import part\nasync def route(turn):\n    return part.VALUE\n"
    write(main=program, part="VALUE = 'one'\n")
    one = collect(tmp_path, "main:route")
    write(part="VALUE = 'two'\n")
    two = collect(tmp_path, "main:route")
    room = scripted(tmp_path, "main:route")
    for source, answer in ((one, "one"), (two, "two"), (one, "one")):
        room.source = room.blobs.put(source, "application/json")
        room.post()
        assert room.last(TurnCompleted).answer == answer
    room.prove()


def test_nothing_that_a_turn_leaves_in_a_module_is_found_by_the_next(
    tmp_path: Path, write: Write
) -> None:
    write(
        main="import part\nasync def route(turn):\n    return part.count()\n",
        part="seen = []\ndef count():\n    seen.append(1)\n    return str(len(seen))\n",
    )
    room = scripted(tmp_path, "main:route")
    for _ in range(3):
        room.post()
        assert room.last(TurnCompleted).answer == "1"
    room.prove()


def test_scripts_are_run_in_threads_at_once(tmp_path: Path, write: Write) -> None:
    write(
        main=(
            "from __future__ import annotations\n"
            "from dataclasses import dataclass\n"
            "from typing import ClassVar\n"
            "@dataclass\n"
            "class Point:\n"
            "    kind: ClassVar[str] = 'p'\n"
            "    x: int = 0\n"
            "async def route(turn):\n"
            "    return str(Point(3))\n"
        )
    )
    source = collect(tmp_path, "main:route")

    def run(_: int) -> str:
        try:
            load(source, "main:route")(None).send(None)  # type: ignore[arg-type]
        except StopIteration as stop:
            return str(stop.value)
        return "it waits"

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(run, range(200))) == {"Point(x=3)"}


def test_modules_may_import_each_other_and_define_dataclasses(tmp_path: Path, write: Write) -> None:
    write(
        main=(
            "from __future__ import annotations\n"
            "from dataclasses import dataclass\n"
            "from typing import ClassVar\n"
            "import part\n"
            "from part import *\n"
            "@dataclass\n"
            "class Point:\n"
            "    kind: ClassVar[str] = 'p'\n"
            "    x: int = 0\n"
            "async def route(turn):\n"
            "    return f'{Point(3)} {part.back()} {NAME}'\n"
        ),
        part="import main\nNAME = 'part'\ndef back():\n    return main.Point.kind\n",
    )
    room = scripted(tmp_path, "main:route")
    room.post()
    assert room.last(TurnCompleted).answer == "Point(x=3) p part"


def test_a_module_of_the_directory_hides_one_of_python(tmp_path: Path, write: Write) -> None:
    write(main="import json\nasync def route(turn):\n    return json.OWN\n", json="OWN = 'own'\n")
    room = scripted(tmp_path, "main:route")
    room.post()
    assert room.last(TurnCompleted).answer == "own"
    assert sys.modules["json"] is json


@pytest.mark.parametrize("entry", ["main:route", "other:route"])
def test_what_cannot_be_run_is_a_config_error(entry: str) -> None:
    def bundle(source: str) -> bytes:
        return json.dumps({"entry": "main:route", "modules": {"main": source}}).encode()

    before = set(sys.modules)
    for source in ("def (", "raise SystemExit(1)", "1 / 0", "import numpy", "from . import x"):
        for _ in range(2):  # a fault is not remembered as a success
            with pytest.raises(ConfigError):
                load(bundle(source), entry)
    assert not [name for name in set(sys.modules) - before if name.startswith("_script_")]
    with pytest.raises(ConfigError, match=r"no function 'route'|no module 'other'"):
        load(bundle(""), entry)
    for junk in (b"", b"[]", b"{}", b'{"modules": 5}'):
        with pytest.raises(ConfigError, match="not what was stored"):
            load(junk, entry)


def test_imports_are_held_to_the_same_rules_when_they_are_hidden(
    tmp_path: Path, write: Write
) -> None:
    write(main="async def route(turn):\n    return __import__('time').ctime()\n")
    room = scripted(tmp_path, "main:route")
    room.post()
    assert "imports 'time', which gives something else each time" in room.last(TurnFailed).message
    room.prove()


def test_a_broken_script_fails_its_turn_and_says_why(tmp_path: Path, write: Write) -> None:
    write(main="x = 1 / 0\nasync def route(turn): ...\n")
    room = scripted(tmp_path, "main:route")
    assert room.post() == "turn.started turn.failed"
    message = room.last(TurnFailed).message
    assert message == "script main:route cannot be run: ZeroDivisionError: division by zero"
    room.prove()


def test_what_is_refused_is_part_of_python() -> None:
    assert sys.stdlib_module_names >= UNREPEATABLE


def test_a_script_that_was_changed_diverges(tmp_path: Path, write: Write) -> None:
    write(main="async def route(turn):\n    return await turn.ask('a')\n")
    room = scripted(tmp_path, "main:route")
    room.post()
    room.answer("ask:a:1")
    assert room.source
    room.blobs.contents[room.source.sha256] = room.blobs.contents[room.source.sha256].replace(
        b"'a'", b"'b'"
    )
    with pytest.raises(ReplayDiverged) as diverged:
        room.replay()
    assert diverged.value.position == 3


def test_a_bundle_replays_in_another_process(tmp_path: Path, write: Write) -> None:
    write(
        main="import part\nasync def route(turn):\n    return part.VALUE\n",
        part="VALUE = 'there'\n",
    )
    source = collect(tmp_path, "main:route")
    code = (
        "import sys; from actors.scripts import load\n"
        "route = load(sys.stdin.buffer.read(), 'main:route')\n"
        "try:\n    route(None).send(None)\n"
        "except StopIteration as stop:\n    print(stop.value)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], input=source, capture_output=True, check=True, timeout=60
    )
    assert run.stdout.decode().strip() == "there"


# --- the example -----------------------------------------------------------------------------


def test_a_script_takes_the_turn(tmp_path: Path, write: Write) -> None:
    write(main="async def route(turn):\n    return type(turn).__module__\n")
    room = scripted(tmp_path, "main:route")
    room.post()
    assert room.last(TurnCompleted).answer == Turn.__module__
