"""`control-room run` and `runs` against a running room."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.commands import Done, run, start
from tests.rooms import LocalRoom, local_room
from tests.waiting import eventually

CHAIN = """
mode: framework
framework:
  type: langchain
  config:
    steps:
      - {model_id: a, prompt_template: "Outline {topic} in {tone} words.", output_key: outline}
      - {model_id: b, prompt_template: "Write it: {outline}"}
models: {a: paced/instant, b: paced/instant}
inputs: {tone: few, topic: cats}
title: Owls
"""


@pytest.fixture(scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalRoom]:
    import_module("actors.frameworks.langchain_steps")  # or it holds up the room's only loop
    async with local_room(tmp_path_factory.mktemp("room")) as room:
        yield room


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    path = tmp_path / "chain.yaml"
    path.write_text(CHAIN)
    return path


async def ran(room: LocalRoom, *arguments: str) -> Any:
    """The JSON that a command printed."""
    done: Done = await run(room, *arguments, "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


async def test_a_run_is_followed_and_its_output_printed(shared: LocalRoom, chain: Path) -> None:
    done = await run(shared, "run", str(chain), "--input", "topic=owls")
    assert done.code == 0, done.err
    id = done.err.splitlines()[0].removeprefix("run ")
    view = (await shared.http.get(f"/v1/runs/{id}")).json()
    assert json.loads(view["inputs"]) == {"tone": "few", "topic": "owls"}
    assert done.out == view["output"] + "\n"
    lines = done.err.splitlines()[1:]
    assert lines[:2] == ["the workflow runs (langchain)", "a is asked (paced/instant)"]
    assert lines[2].startswith("a: ")
    assert lines[3] == "b is asked (paced/instant)"
    assert lines[4].startswith("b: ")

    done = await run(shared, "runs")
    assert done.code == 0
    assert next(line for line in done.out.splitlines() if id in line).split()[1:4] == [
        "langchain",
        "Owls",
        "completed",
    ]
    done = await run(shared, "runs", "show", id)
    assert f"{id} langchain Owls" in done.out
    assert "ask:b:1 b (paced/instant): answered" in done.out
    assert "2 calls, " in done.out
    assert done.out.endswith(view["output"] + "\n")
    assert await ran(shared, "runs", "show", id) == view

    done = await run(shared, "runs", "replay", id)
    assert (done.code, "replay identical" in done.out) == (0, True)
    assert (await ran(shared, "runs", "replay", id))["identical"] is True
    done = await run(shared, "runs", "cancel", id)
    assert (done.code, "completed" in done.err) == (1, True)
    done = await run(shared, "events", id)
    assert "run.completed" in done.out
    done = await run(shared, "show", id)
    assert "b (paced/instant) answers the workflow:\n" in done.out
    assert f"the workflow's output:\n  {view['output'].splitlines()[0]}" in done.out


async def test_the_example_runs(shared: LocalRoom) -> None:
    example = Path(__file__).parents[2] / "examples" / "chain.yaml"
    run_of_it = await ran(shared, "run", str(example), "--input", "topic=owls")
    assert (run_of_it["status"], run_of_it["inputs"]) == ("completed", '{"topic":"owls"}')
    assert run_of_it["result"]["outputs"].keys() == {"outline", "output_2"}


async def test_a_run_that_fails_says_so_and_one_for_programs_is_json(
    shared: LocalRoom, chain: Path
) -> None:
    chain.write_text(CHAIN.replace("b: paced/instant", "b: paced/failing"))
    done = await run(shared, "run", str(chain))
    assert (done.code, done.out) == (1, "")
    assert "b failed: " in done.err
    assert done.err.splitlines()[-1].startswith("control-room: run run_")
    done = await run(shared, "run", str(chain), "--json")
    assert done.code == 1
    assert json.loads(done.out)["status"] == "failed"


async def test_a_run_with_an_id_is_run_once(shared: LocalRoom, chain: Path) -> None:
    chain.write_text(CHAIN + "run_id: once\n")
    first = await ran(shared, "run", str(chain), "--input", "topic=bees")
    again = await ran(shared, "run", str(chain), "--input", "topic=bees")
    assert again == first
    done = await run(shared, "run", str(chain), "--input", "topic=wasps")
    assert (done.code, done.out) == (1, "")
    assert "with other inputs: choose another run_id, or leave it out" in done.err
    assert "POST" not in done.err
    chain.write_text(CHAIN.replace("Owls", "Bees") + "run_id: once\n")
    done = await run(shared, "run", str(chain))
    assert "with another configuration: choose another run_id, or leave it out" in done.err
    assert "--new" not in done.err
    assert "turns t1" not in (await run(shared, "runs", "show", "once")).out
    await shared.post("once", '{"topic": "wasps", "tone": "few"}', wait=30)
    shown = (await run(shared, "runs", "show", "once")).out
    assert "turns t1, t2; this is t2, --turn shows another" in shown


async def test_a_saved_one_is_started_and_called_off(shared: LocalRoom, chain: Path) -> None:
    chain.write_text(CHAIN.replace("paced/instant", "rehearsal/late"))
    saved = await run(shared, "presets", "save", "nightly", str(chain), "--toolchain")
    assert saved.code == 0, saved.err
    done = await run(shared, "run", "--toolchain", "nightly", "--detach")
    assert done.code == 0, done.err
    id = done.out.strip()
    done = await run(shared, "runs", "cancel", id)
    assert (done.code, done.out) == (0, f"run {id} is called off\n")
    assert (await ran(shared, "runs", "show", id))["status"] == "cancelled"
    done = await run(shared, "run", "--toolchain", "nightly", "--wait", "0.1")
    assert (done.code, "goes on" in done.err) == (1, True)


async def test_a_divergence_is_exit_code_1_and_says_where(shared: LocalRoom, chain: Path) -> None:
    view = await ran(shared, "run", str(chain))
    run_id = view["run_id"]
    turn = (await shared.served.doors.states.get(run_id)).turns["t1"]
    assert turn.config
    assert turn.config.workflow
    step = {"model_id": "b", "prompt_template": "Shout it: {outline}"}
    steps = [turn.config.workflow.config["steps"][0], step]
    workflow = turn.config.workflow.model_copy(update={"config": {"steps": steps}})
    turn.config = turn.config.model_copy(update={"workflow": workflow})
    done = await run(shared, "runs", "replay", run_id)
    assert done.code == 1
    assert "replay diverged: b is asked, with a request that the log does not have" in done.out
    assert "calls that were not made: b is asked" in done.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name a FILE, or a saved workflow with --toolchain NAME"),
        (("FILE", "--input", "owls"), "write NAME=TEXT"),
        (("FILE", "--input", "a=b", "--inputs", "{}"), "give either --input or --inputs"),
        (("--toolchain", "nowhere"), "there is none named 'nowhere'"),
    ],
)
async def test_wrong_use_is_exit_code_2(
    shared: LocalRoom, chain: Path, arguments: tuple[str, ...], said: str
) -> None:
    given = [str(chain) if one == "FILE" else one for one in arguments]
    done = await run(shared, "run", *given)
    assert (done.code, said in done.err) == (2, True), done.err


async def test_leaving_lets_the_run_go_on(shared: LocalRoom, chain: Path) -> None:
    chain.write_text(CHAIN.replace("paced/instant", "rehearsal/late"))
    process = await start(shared, "run", str(chain))
    assert process.stderr
    async with asyncio.timeout(30):
        id = (await process.stderr.readline()).decode().split()[1]
        while b"is asked" not in await process.stderr.readline():
            pass
    process.send_signal(signal.SIGINT)
    _, rest = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 130
    assert f"control-room runs cancel {id}" in rest.decode()
    answer = await shared.http.get(f"/v1/runs/{id}")
    assert answer.json()["status"] == "running"
    await run(shared, "runs", "cancel", id)
    await eventually(lambda: _cancelled(shared, id), within=20, what="the run is called off")


async def _cancelled(room: LocalRoom, id: str) -> bool:
    return bool((await room.http.get(f"/v1/runs/{id}")).json()["status"] == "cancelled")
