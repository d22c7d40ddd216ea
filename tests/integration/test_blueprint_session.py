"""The session of the blueprint, as it is written, on a real model server under three names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from actors.providers.config import ProviderSpec
from tests.rooms import LocalRoom, local_room
from tests.servers.llama import LlamaServer

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


@pytest.fixture
async def room(tmp_path: Path, llama_server: LlamaServer) -> AsyncIterator[LocalRoom]:
    specs = [
        ProviderSpec(id=id, type="openai", config={"base_url": llama_server.base_url})
        for id in ("azure_openai", "ollama", "nvidia")
    ]
    async with local_room(tmp_path, *specs) as room:
        yield room


async def test_it_loads_and_is_answered(room: LocalRoom) -> None:
    created = await room.http.post("/v1/sessions", json=SESSION)
    assert created.status_code == 201, created.text
    assert created.json()["config"]["models"][1]["model_name"] == "codellama:34b"
    turn = await room.post("sess_abc123", "Design a queue.", wait=60)
    assert turn["status"] == "completed", turn
    assert [decision["type"] for decision in turn["decisions"]] == ["route.decided"]
    models = {answer["participant"]: answer["model"] for answer in turn["answers"]}
    assert models.items() <= {
        ("model_1", "gpt-4"),
        ("model_2", "codellama:34b"),
        ("model_3", "llama-3.1-70b-instruct"),
    }
    assert all(answer["usage"]["output"] > 0 for answer in turn["answers"])
    replay = (await room.http.post("/v1/sessions/sess_abc123/replay")).json()
    assert replay["identical"] is True
    assert replay["events"] == turn["position"]


async def test_keys_whose_effect_comes_later_are_kept(room: LocalRoom) -> None:
    later = {
        **SESSION,
        "session_id": "later",
        "tags": ["video", "first"],
        "is_youtube_run": True,
        "history": "isolated",
    }
    later["models"] = [
        {
            **SESSION["models"][0],
            "stop_sequences": ["###"],
            "chat_template": "chatml",
            "history": "shared",
            "fallbacks": [{"provider": "ollama", "model_name": "llama3"}],
        }
    ]
    created = await room.http.post("/v1/sessions", json=later)
    assert created.status_code == 201, created.text
    kept = (await room.http.get("/v1/sessions/later")).json()["config"]
    for key in ("tags", "is_youtube_run", "history"):
        assert kept[key] == later[key]
    for key in ("stop_sequences", "chat_template", "history", "fallbacks"):
        assert kept["models"][0][key] == later["models"][0][key]


async def test_an_unknown_key_is_named(room: LocalRoom) -> None:
    wrong = {**SESSION, "session_id": "wrong", "colour": "red"}
    wrong["models"] = [{**SESSION["models"][0], "temprature": 0.5}]
    answer = await room.http.post("/v1/sessions", json=wrong)
    assert answer.status_code == 422
    assert "colour" in answer.text
    assert "temprature" in answer.text


async def test_a_provider_that_is_not_configured_is_named(tmp_path: Path) -> None:
    async with local_room(tmp_path) as bare:
        answer = await bare.http.post("/v1/sessions", json=SESSION)
    assert answer.status_code == 422
    detail = answer.json()["detail"]
    assert "azure_openai" in detail
    assert "CONTROL_ROOM_PROVIDERS" in detail
