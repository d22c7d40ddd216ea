"""Providers and their models, as the room tells them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actors.providers.config import ProviderSpec
from tests.rooms import LocalRoom, local_room
from tests.servers.chat import chat_server, error

KEY = "sk-never-to-be-shown"
# The session of the project's first description, over three providers of one type.
SESSION: dict[str, Any] = {
    "session_id": "sess_abc123",
    "routing_pattern": "coordinator",
    "models": [
        {
            "id": "model_1",
            "provider": "azure_openai",
            "model_name": "gpt-4",
            "role": "architect",
            "system_prompt": "You are a solutions architect. Focus on high-level design.",
            "temperature": 0.7,
            "max_tokens": 2000,
        },
        {
            "id": "model_2",
            "provider": "ollama",
            "model_name": "codellama:34b",
            "role": "coder",
            "system_prompt": "You write production-ready code. Be concise.",
            "temperature": 0.2,
            "max_tokens": 4000,
        },
        {
            "id": "model_3",
            "provider": "nvidia",
            "model_name": "llama-3.1-70b-instruct",
            "role": "reviewer",
            "system_prompt": "Review code for bugs, security, performance.",
            "temperature": 0.3,
        },
    ],
    "coordinator": "model_1",
}


def away(id: str, **config: Any) -> ProviderSpec:
    """A provider at an address where nobody answers."""
    return ProviderSpec(id=id, type="openai", config={"base_url": "http://127.0.0.1:9/v1"} | config)


async def test_models_are_told_by_their_providers(tmp_path: Path) -> None:
    keyless = away("keyless", api_key="${SOME_KEY}")
    async with local_room(tmp_path, away("nobody", api_key=KEY), keyless) as room:
        models = (await room.http.get("/v1/models")).json()
        rehearsed = {
            each["model_name"] for each in models["models"] if each["provider"] == "rehearsal"
        }
        assert {"steady", "instant", "failing"} <= rehearsed
        unavailable = {each["provider"]: each["detail"] for each in models["unavailable"]}
        assert set(unavailable) == {"nobody", "keyless"}
        assert "SOME_KEY" in unavailable["keyless"]
        answer = await room.http.get("/v1/providers")
        providers = {each["id"]: each for each in answer.json()["providers"]}
        assert {**providers["nobody"], "detail": ""} == {
            "id": "nobody",
            "type": "openai",
            "missing": [],
            "reachable": False,
            "detail": "",
            "breakers": {},
        }
        assert "127.0.0.1:9" in providers["nobody"]["detail"]
        assert providers["keyless"]["missing"] == ["SOME_KEY"]
        assert "SOME_KEY" in providers["keyless"]["detail"]
        assert providers["rehearsal"]["reachable"]
        assert KEY not in answer.text + str(models)


async def test_what_runs_is_told_with_what_holds_it_back(tmp_path: Path) -> None:
    async with chat_server() as server:
        server.reply(error("oops"), status=500)
        spec = ProviderSpec(
            id="weak",
            type="openai",
            config={"base_url": server.base_url, "tries": 1, "breaker_failures": 1},
        )
        async with local_room(tmp_path, spec) as room:
            assert (await room.http.get("/v1/models")).json()["running"] == []
            seat = {"id": "w", "provider": "weak", "model_name": "a-model", "role": "W"}
            strong = {"id": "s", "provider": "paced", "model_name": "instant", "role": "S"}
            await room.create("s1", models=[seat, strong])
            assert (await room.post("s1", wait=20))["status"] == "completed"

            running = (await room.http.get("/v1/models")).json()["running"]
            assert running == [
                {
                    "provider": provider,
                    "model_name": model,
                    "running": 0,
                    "waiting": 0,
                    "answered": int(state == "closed"),
                    "failed": int(state == "open"),
                    "held_for": 0,
                    "breaker": state,
                }
                for provider, model, state in (
                    ("paced", "instant", "closed"),
                    ("weak", "a-model", "open"),
                )
            ]
            found = (await room.http.get("/v1/providers")).json()["providers"]
            providers = {each["id"]: each for each in found}
            assert providers["weak"]["breakers"] == {"a-model": "open"}
            assert providers["weak"]["reachable"], "it tells its models"
            assert providers["paced"]["breakers"] == {"instant": "closed"}
            assert providers["rehearsal"]["breakers"] == {}


@pytest.mark.parametrize("there", [True, False])
async def test_a_provider_that_knows_its_models_itself_is_looked_for(
    tmp_path: Path, there: bool
) -> None:
    async with chat_server() as server:
        spec = ProviderSpec(
            id="azure",
            type="azure_openai",
            config={
                "endpoint": server.url if there else "http://127.0.0.1:9",
                "api_key": KEY,
                "deployments": {"gpt-4": {"name": "d"}},
            },
        )
        async with local_room(tmp_path, spec) as room:
            found = (await room.http.get("/v1/providers")).json()["providers"]
            [azure] = [each for each in found if each["id"] == "azure"]
            assert azure["reachable"] is there
            assert (azure["detail"] is None) is there
            assert bool(server.asked_for) is there


async def test_the_session_of_the_blueprint_loads_as_it_is(tmp_path: Path) -> None:
    specs = [away(seat["provider"]) for seat in SESSION["models"]]
    async with local_room(tmp_path, *specs) as room:
        answer = await room.http.post("/v1/sessions", json=SESSION)
        assert answer.status_code == 201, answer.text
        kept = answer.json()["config"]
        assert {key: kept[key] for key in SESSION if key != "models"} == {
            key: value for key, value in SESSION.items() if key != "models"
        }
        for seat, given in zip(kept["models"], SESSION["models"], strict=True):
            assert {key: seat[key] for key in given} == given


async def test_without_its_providers_it_says_what_to_set(shared: LocalRoom) -> None:
    answer = await shared.http.post("/v1/sessions", json=SESSION)
    assert answer.status_code == 422
    assert "provider 'azure_openai' is not configured" in answer.json()["detail"]
    assert "CONTROL_ROOM_PROVIDERS" in answer.json()["detail"]
