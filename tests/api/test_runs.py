"""Runs of workflows over HTTP: refused, started once, followed, listed, called off, replayed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import httpx2
import pytest

from actors.run_tokens import RunToken
from api.run_key import run_key
from tests.rooms import LocalRoom

CONFIG: dict[str, Any] = {
    "chain_type": "sequential",
    "steps": [
        {"model_id": "a", "prompt_template": "Outline {topic}.", "output_key": "outline"},
        {"model_id": "b", "prompt_template": "Write it: {outline}"},
    ],
}
LATE = {"a": "rehearsal/late", "b": "rehearsal/late"}
"""Models that think for eight seconds."""


def envelope(**changes: Any) -> dict[str, Any]:
    """A chain of two models."""
    return {
        "mode": "framework",
        "framework": {"type": "langchain", "config": CONFIG},
        "models": {"a": "paced/instant", "b": "paced/instant"},
        "inputs": {"topic": "owls"},
    } | changes


@pytest.fixture(scope="module", autouse=True)
def imported() -> None:
    """The framework is there before the room, whose only loop its import would hold up."""
    import_module("actors.frameworks.langchain_steps")


async def start(room: LocalRoom, **changes: Any) -> dict[str, Any]:
    """A run that is committed."""
    answer = await room.http.post("/v1/runs", json=envelope(**changes))
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/v1/runs/{answer.json()['run_id']}"
    return dict(answer.json())


async def done(room: LocalRoom, **changes: Any) -> dict[str, Any]:
    """A run that has ended."""
    answer = await room.http.post("/v1/runs?wait=60", json=envelope(**changes), timeout=70)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def cancel(room: LocalRoom, run: str) -> httpx2.Response:
    return await room.http.post(f"/v1/runs/{run}/cancel")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"framework": {"type": "langchian"}}, "framework.type: there is no framework 'langchian'"),
        ({"models": {"a": "paced/instant"}}, "framework.config: steps.1.model_id: the run has no"),
        ({"models": {}}, "models: is missing"),
        ({"framework": None}, "framework: is missing"),
        ({"models": {"a": "instant"}}, "a model in one text is written PROVIDER/MODEL"),
        ({"models": [{"id": "a", "provider": "paced"}]}, "models.0.model_name: is missing"),
        ({"mode": "script"}, "mode: has to be 'framework'"),
        ({"inputs": "  "}, "the message is empty"),
        ({"tools": ["a b"]}, "tools.0.server"),
        ({"toolchain": "nowhere"}, "toolchain: there is none named 'nowhere'"),
        ({"max_steps": 1001}, "max_steps: has to be at most 1000"),
    ],
)
async def test_what_cannot_run_is_refused_in_words(
    shared: LocalRoom, changes: dict[str, Any], said: str
) -> None:
    answer = await shared.http.post("/v1/runs", json=envelope(**changes))
    assert answer.status_code == 422, answer.text
    assert said in answer.json()["detail"]


async def test_an_input_that_nothing_takes_is_refused_where_inputs_are_named(
    shared: LocalRoom,
) -> None:
    named: dict[str, Any]
    named = {"framework": {"type": "langchain", "config": CONFIG | {"input_variables": ["topic"]}}}
    wrong = {"topic": "bees", "tpoic": "owls"}
    answer = await shared.http.post("/v1/runs", json=envelope(**named, inputs=wrong))
    assert answer.status_code == 422, answer.text
    said = answer.json()["detail"]
    assert said == "inputs: the workflow takes no 'tpoic'; its inputs are topic"
    steps = [CONFIG["steps"][0], {"model_id": "b", "prompt_template": "In {tone}: {outline}"}]
    named["framework"]["config"] |= {"steps": steps}  # a place for it will do
    used = {"topic": "bees", "tone": "verse"}
    assert (await done(shared, **named, inputs=used))["status"] == "completed"


async def test_a_run_is_a_session_with_the_defaults_of_a_run(shared: LocalRoom) -> None:
    started = await start(
        shared,
        run_id="defaults",
        framework={"type": "LangChain", "config": CONFIG},
        models=[
            {"id": "a", "provider": "rehearsal", "model": "late", "temperature": 0.5},
            {"id": "b", "provider": "rehearsal", "model_name": "late"},
            "rehearsal/steady",
        ],
        title="Owls",
        tags=["birds"],
    )
    assert started["run_id"] == started["session_id"] == "defaults"
    assert started["status"] in ("running", "queued")
    config = (await shared.http.get("/v1/sessions/defaults")).json()["config"]
    assert config["routing_pattern"] == "workflow"
    assert config["workflow"] == {"framework": "langchain", "config": CONFIG, "tools": []}
    assert [one["id"] for one in config["models"]] == ["a", "b", "model_3"]
    assert config["models"][0]["temperature"] == 0.5
    assert (config["deadline"], config["max_steps"]) == (3600, 500)
    assert (config["title"], config["tags"]) == ("Owls", ["birds"])
    events = (await shared.http.get("/v1/sessions/defaults/events")).json()["events"]
    posted = next(one for one in events if one["type"] == "turn.started")
    assert posted["data"]["payload"]["message"]["content"] == '{"topic":"owls"}'
    await cancel(shared, "defaults")


async def test_the_same_run_id_is_the_same_run(shared: LocalRoom) -> None:
    first = await start(shared, run_id="same", models=LATE)
    again = await start(shared, run_id="same", models=LATE)
    assert again["turn"] == first["turn"]
    other = await shared.http.post(
        "/v1/runs", json=envelope(run_id="same", models=LATE, inputs={"topic": "cats"})
    )
    assert other.status_code == 409
    assert "with other inputs: choose another run_id" in other.json()["detail"]
    other = await shared.http.post("/v1/runs", json=envelope(run_id="same", title="Another"))
    assert other.status_code == 409
    assert "choose another run_id, or leave it out" in other.json()["detail"]
    await cancel(shared, "same")


async def test_a_run_id_counts_whatever_the_keys_are(shared: LocalRoom) -> None:
    async def posted(key: str, **changes: Any) -> httpx2.Response:
        body, headers = envelope(run_id="keyed", models=LATE, **changes), {"Idempotency-Key": key}
        return await shared.http.post("/v1/runs", json=body, headers=headers)

    first, again = await posted("one"), await posted("two")
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json()["turn"] == first.json()["turn"]
    for key in ("one", "three"):
        other = await posted(key, inputs={"topic": "cats"})
        assert other.status_code == 409
        assert "with other inputs: choose another run_id" in other.json()["detail"]
    view = (await shared.http.get("/v1/runs/keyed")).json()
    assert view["turns"] == [first.json()["turn"]]
    await cancel(shared, "keyed")


async def test_the_same_key_is_the_same_run(shared: LocalRoom) -> None:
    headers = {"Idempotency-Key": "once more"}
    answers = [
        (await shared.http.post("/v1/runs", json=envelope(models=LATE), headers=headers)).json()
        for _ in range(2)
    ]
    assert answers[0]["run_id"] == answers[1]["run_id"]
    assert answers[0]["turn"] == answers[1]["turn"]
    await cancel(shared, answers[0]["run_id"])


async def test_runs_are_listed_and_called_off(shared: LocalRoom) -> None:
    await shared.create("no_run", "a b")
    for n in range(3):
        await start(shared, run_id=f"listed_{n}", models=LATE, tags=["listed"])
    page = (await shared.http.get("/v1/runs?tag=listed&limit=2")).json()
    assert [one["run_id"] for one in page["runs"]] == ["listed_2", "listed_1"]
    rest = await shared.http.get(f"/v1/runs?tag=listed&limit=2&cursor={page['next']}")
    assert [one["run_id"] for one in rest.json()["runs"]] == ["listed_0"]
    assert rest.json()["next"] is None
    all_runs = (await shared.http.get("/v1/runs")).json()["runs"]
    assert "no_run" not in [one["run_id"] for one in all_runs]
    assert {one["status"] for one in page["runs"]} == {"running"}
    assert page["runs"][0]["framework"] == "langchain"
    assert page["runs"][0]["inputs"] == '{"topic":"owls"}'
    for n in range(3):
        cancelled = await cancel(shared, f"listed_{n}")
        assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    page = (await shared.http.get("/v1/runs?tag=listed")).json()
    assert {one["status"] for one in page["runs"]} == {"cancelled"}
    assert (await cancel(shared, "listed_0")).status_code == 200  # it is called off already
    view = (await shared.http.get("/v1/runs/listed_0")).json()
    assert (view["status"], view["problem"]["reason"]) == ("cancelled", "cancelled")
    assert (view["inputs"], view["output"]) == ('{"topic":"owls"}', None)


async def test_what_is_no_run_is_not_found(shared: LocalRoom) -> None:
    await shared.create("talk", "a b")
    for path in ("nobody", "talk"):
        assert (await shared.http.get(f"/v1/runs/{path}")).status_code == 404
        assert (await cancel(shared, path)).status_code == 404
    await start(shared, run_id="some", models=LATE)
    assert (await shared.http.get("/v1/runs/some?turn=t9")).status_code == 404
    await cancel(shared, "some")


async def test_a_toolchain_is_checked_as_a_run_is_and_run_by_its_name(shared: LocalRoom) -> None:
    saved = envelope(run_id="left_out", title="Saved", models=LATE)
    answer = await shared.http.put("/v1/presets/chain", json={"kind": "toolchain", "config": saved})
    assert answer.status_code == 200, answer.text
    run = {"toolchain": "chain", "run_id": "chained", "inputs": {"style": "dry"}, "tags": ["x"]}
    answer = await shared.http.post("/v1/runs", json=run)
    assert answer.status_code == 202, answer.text
    config = (await shared.http.get("/v1/sessions/chained")).json()["config"]
    assert (config["title"], config["tags"]) == ("Saved", ["x"])
    assert [one["id"] for one in config["models"]] == ["a", "b"]
    view = (await shared.http.get("/v1/runs/chained")).json()
    assert view["inputs"] == '{"style":"dry","topic":"owls"}'
    await cancel(shared, "chained")
    for config, said in (
        (envelope(models={"a": "paced/instant"}), "framework.config: steps.1.model_id"),
        ({"mode": "framework"}, "framework: is missing"),
        ({"toolchain": "chain"}, "a toolchain cannot be made of another"),
        (envelope(colour="green"), "config: colour: unknown key"),
    ):
        answer = await shared.http.put(
            "/v1/presets/bad", json={"kind": "toolchain", "config": config}
        )
        assert answer.status_code == 422
        assert said in answer.json()["detail"]
    await shared.http.put(
        "/v1/presets/room", json={"kind": "room", "config": {"models": [saved_model()]}}
    )
    answer = await shared.http.post("/v1/runs", json={"toolchain": "room"})
    assert answer.status_code == 422


def saved_model() -> dict[str, Any]:
    return {"id": "a", "provider": "paced", "model_name": "instant"}


async def test_frameworks_say_what_they_take_and_whether_they_are_there(
    shared: LocalRoom,
) -> None:
    found = (await shared.http.get("/v1/frameworks")).json()["frameworks"]
    by_name = {one["name"]: one for one in found}
    assert {"agent_framework", "autogen", "crewai", "langchain"} <= by_name.keys()
    assert by_name["langchain"]["state"] == "installed"
    assert "chain_type" in by_name["langchain"]["config_schema"]["properties"]
    crewai = by_name["crewai"]
    assert (crewai["environment"], crewai["state"]) == ("crewai", "not installed")
    assert crewai["detail"] == "run `control-room frameworks install crewai`"


# --- what a run does -----------------------------------------------------------------------------


async def test_a_run_tells_every_call_that_it_made(shared: LocalRoom) -> None:
    run = await done(shared, run_id="whole", title="Owls")
    assert (run["status"], run["framework"], run["title"]) == ("completed", "langchain", "Owls")
    first, second = run["steps"]
    assert (first["step"], first["participant"], first["kind"]) == ("ask:a:1", "a", "model")
    assert (first["provider"], first["model"], first["attempts"]) == ("paced", "instant", [1])
    assert (first["status"], second["status"]) == ("answered", "answered")
    assert second["text"] == run["output"]
    assert run["result"]["outputs"]["outline"] == first["text"]
    assert [one["attempt"] for one in run["attempts"]] == [1]
    assert run["totals"]["calls"] == 2
    used = [one["usage"]["output"] for one in run["steps"]]
    assert run["totals"]["usage"]["output"] == sum(used) > 0
    assert (run["totals"]["cost"], run["totals"]["unpriced"]) == ("0", 0)
    assert run["problem"] is None
    assert run["started_at"] < run["ended_at"]
    assert (await shared.http.get("/v1/runs/whole")).json() == run
    refused = await cancel(shared, "whole")
    assert (refused.status_code, "completed" in refused.json()["detail"]) == (409, True)
    listed = (await shared.http.get("/v1/runs?limit=1")).json()["runs"][0]
    assert (listed["run_id"], listed["status"], listed["runs"]) == ("whole", "completed", 1)


async def test_a_further_message_runs_the_workflow_again(shared: LocalRoom) -> None:
    first = await done(shared, run_id="again", inputs={"topic": "owls"})
    posted = await shared.post("again", '{"topic": "cats"}', wait=60)
    assert posted["status"] == "completed"
    second = (await shared.http.get("/v1/runs/again")).json()
    assert (first["turn"], second["turn"]) == ("t1", "t2")
    assert second["output"] == posted["answer"] != first["output"]
    assert (await shared.http.get("/v1/runs/again?turn=t1")).json()["output"] == first["output"]


async def test_a_run_that_fails_says_why_and_where(shared: LocalRoom) -> None:
    run = await done(shared, models={"a": "paced/instant", "b": "paced/failing"})
    assert (run["status"], run["problem"]["reason"]) == ("failed", "run_failed")
    assert run["output"] is None
    assert [one["status"] for one in run["steps"]] == ["answered", "failed"]
    assert run["steps"][1]["message"] in run["problem"]["message"]


async def test_a_run_replays_from_its_log_and_only_when_it_has_ended(shared: LocalRoom) -> None:
    run = await done(shared, inputs="owls", framework={"type": "langchain", "config": TALK})
    report = await shared.http.post(f"/v1/runs/{run['run_id']}/replay", timeout=60)
    assert report.json() == {"identical": True, "calls": 1, "divergence": None}
    await start(shared, run_id="open", models=LATE)
    assert (await shared.http.post("/v1/runs/open/replay")).status_code == 409
    assert (await shared.http.post("/v1/runs/nobody/replay")).status_code == 404
    await cancel(shared, "open")


TALK = {"steps": [{"model_id": "a", "prompt_template": "Talk about {input}."}]}


async def test_webhooks_of_a_run_ask_its_models(shared: LocalRoom) -> None:
    models = LATE | {"c": "paced/instant", "d": "paced/failing"}
    turn = (await start(shared, run_id="hooked", models=models))["turn"]
    token = RunToken("hooked", turn, 1).signed(run_key(shared.settings.home))
    headers = {"Authorization": f"Bearer {token}"}

    async def ask(model: str, **body: Any) -> httpx2.Response:
        return await shared.http.post(f"/models/{model}/invoke", json=body, headers=headers)

    said = (await ask("c", message="Name an owl.", temperature=0.1, max_tokens=50)).json()
    assert (said["model"], said["finish_reason"]) == ("c", "length")
    assert said["usage"]["output"] > 0
    told = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    assert (await ask("c", messages=told)).json()["text"] != said["text"]
    view = (await shared.http.get("/v1/runs/hooked")).json()
    step = next(one for one in view["steps"] if one["step"] == "ask:c:1")
    assert (step["text"], step["status"]) == (said["text"], "answered")
    unknown = await ask("nobody", prompt="Hello?")
    assert (unknown.status_code, "there are a, b, c, d" in unknown.text) == (404, True)
    failed = await ask("d", prompt="Hello?")
    assert (failed.status_code, failed.json()["type"]) == (502, "/problems/not-answered")
    assert (await ask("c", prompt="Hello?", message="Hello?")).status_code == 422
    nobody = await shared.http.post("/models/c/invoke", json={"message": "Hello?"})
    assert nobody.status_code == 401
    await cancel(shared, "hooked")
    late = await ask("c", message="Name an owl.")
    assert (late.status_code, "the run has ended" in late.text) == (409, True)
