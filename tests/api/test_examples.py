"""The examples that the README shows do what it says."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import textwrap
from decimal import Decimal
from pathlib import Path

from pydantic import SecretStr

from actors.grounds import Grounds
from actors.providers.config import Providers, parse
from actors.tools.config import ToolServers
from actors.tools.config import parse as parse_tools
from api.run_envelope import NewRun, checked
from events.blobs import MemoryBlobs
from events.config import SessionConfig
from tests.rooms import LocalRoom, local_room

ROOT = Path(__file__).resolve().parents[2]


async def output(*command: str, token: str = "") -> str:
    """What a command prints; it has to succeed."""
    given = {"CONTROL_ROOM_TOKEN": token} if token else {}
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), **given},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()
    return out.decode()


async def test_the_python_example(shared: LocalRoom) -> None:
    said = await output(sys.executable, "examples/first_session.py", shared.url)
    assert "ada (architect): " in said
    assert "ben (reviewer): " in said
    assert "replayed 7 events, identical: True" in said


async def test_the_curl_example(shared: LocalRoom) -> None:
    turn, replay = [
        json.loads(line)
        for line in (await output("sh", "examples/first_session.sh", shared.url)).splitlines()
    ]
    assert turn["status"] == "completed"
    assert turn["answer"] in [answer["text"] for answer in turn["answers"]]
    assert {answer["participant"] for answer in turn["answers"]} == {"ada", "ben", "cyd"}
    assert replay["identical"] is True


async def test_they_work_with_a_room_that_wants_a_token(tmp_path: Path) -> None:
    token = "only-those-who-know"
    async with local_room(tmp_path, token=SecretStr(token)) as room:
        said = await output(sys.executable, "examples/first_session.py", room.url, token=token)
        assert "identical: True" in said
        shown = await output("sh", "examples/first_session.sh", room.url, token=token)
        assert '"identical":true' in shown.replace(" ", "")


def test_the_readme_s_session_and_providers_load(tmp_path: Path) -> None:
    blocks = re.findall(r"```json\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    providers, session = (json.loads(block) for block in blocks)
    config = SessionConfig.model_validate(session)
    assert config.budget
    assert config.budget.limit == Decimal("2.50")
    ada = config.models[0]
    assert ada.budget
    assert [one.model_name for one in ada.fallbacks] == ["llama3"]
    specs = Providers(*parse(json.dumps(providers)))
    environment = {"AZURE_OPENAI_KEY": "key"}
    Grounds(specs, environment, MemoryBlobs(), script_folder=tmp_path).check(config, "local")


def test_the_readme_shows_what_the_examples_do() -> None:
    readme = (ROOT / "README.md").read_text()
    for language, example in (("python", "first_session.py"), ("sh", "first_session.sh")):
        source = (ROOT / "examples" / example).read_text()
        section = readme.split(f"(examples/{example})", 1)[1]
        shown = re.search(rf"```{language}\n(.*?)```", section, re.DOTALL)
        assert shown, f"no {language} block after {example}"
        block = shown[1].strip()
        assert block in source or textwrap.indent(block, "    ") in source


async def test_the_example_of_tools(tmp_path: Path) -> None:
    folder = ROOT / "examples" / "tools"
    (spec,) = parse_tools((folder / "tools.json").read_text()).values()
    spec = spec.model_copy(update={"command": sys.executable, "cwd": str(ROOT)})
    crew = NewRun.model_validate_json((folder / "crew.json").read_bytes())
    config = await checked(crew, "crew")
    assert config.workflow
    assert [grant.server for grant in config.workflow.tools] == [spec.name]
    async with local_room(tmp_path, tool_servers=ToolServers(spec)) as room:
        session = json.loads((folder / "session.json").read_text())
        answer = await room.http.post("/v1/sessions", json=session)
        assert answer.status_code == 201, answer.text
        turn = await room.post("notes", 'use notes__add {"text": "owls"}', wait=30)
        assert "note 1: owls" in turn["answer"], turn
