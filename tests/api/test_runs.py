"""Runs of workflows over HTTP: what is refused, started once, listed, and called off."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

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


async def start(room: LocalRoom, **changes: Any) -> dict[str, Any]:
    """A run that is committed."""
    answer = await room.http.post("/v1/runs", json=envelope(**changes))
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/v1/runs/{answer.json()['run_id']}"
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
    await cancel(shared, "same")


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
