"""Presets over HTTP: saved, listed, deleted, and there again after a new start."""

from __future__ import annotations

from typing import Any

import pytest

from api.client import RoomClient, RoomError
from tests.rooms import LocalRoom, config

CHAIN: dict[str, Any] = {
    "mode": "framework",
    "framework": {
        "type": "langchain",
        "config": {"steps": [{"model_id": "a", "prompt_template": "Write about {topic}."}]},
    },
    "models": {"a": "paced/instant"},
}


def room_config(seats: str = "a b", **changes: Any) -> dict[str, Any]:
    made = config("ignored", seats, **changes)
    del made["session_id"]
    return made


async def test_a_room_is_saved_listed_and_deleted(shared: LocalRoom) -> None:
    async with RoomClient(shared.url) as client:
        saved = await client.save_preset("pair", "room", room_config(title="A pair"))
        assert (saved["kind"], saved["config"]["title"]) == ("room", "A pair")
        await client.save_preset("chain", "toolchain", CHAIN)
        listed = (await client.presets())["presets"]
        assert [(each["name"], each["kind"]) for each in listed] == [
            ("chain", "toolchain"),
            ("pair", "room"),
        ]
        assert listed[1] == saved
        rooms = (await shared.http.get("/v1/presets?kind=room")).json()["presets"]
        assert [each["name"] for each in rooms] == ["pair"]
        deleted = await client.delete_preset("chain")
        assert deleted == {"name": "chain", "position": 2}
        assert [each["name"] for each in (await client.presets())["presets"]] == ["pair"]
        with pytest.raises(RoomError) as gone:
            await client.delete_preset("chain")
        assert gone.value.status == 404
        assert (await shared.http.get("/v1/presets/chain")).status_code == 404


async def test_what_can_be_no_room_is_refused(shared: LocalRoom) -> None:
    answer = await shared.http.put(
        "/v1/presets/bad", json={"kind": "room", "config": {"models": "none"}}
    )
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("config: models: ")
    assert (await shared.http.get("/v1/presets/bad")).status_code == 404


async def test_a_repeated_request_is_carried_out_once(shared: LocalRoom) -> None:
    body = {"kind": "room", "config": room_config()}
    headers = {"Idempotency-Key": "once"}
    first = await shared.http.put("/v1/presets/keyed", json=body, headers=headers)
    other = {"kind": "room", "config": room_config(title="Other")}
    await shared.http.put("/v1/presets/keyed", json=other)
    again = await shared.http.put("/v1/presets/keyed", json=body, headers=headers)
    assert (first.json()["position"], again.json()["position"]) == (1, 2)
    assert again.json()["config"]["title"] == "Other"


async def test_presets_are_there_after_a_new_start(room: LocalRoom) -> None:
    async with RoomClient(room.url) as client:
        await client.save_preset("kept", "room", room_config())
        await room.stop_router()
        assert (await room.http.get("/v1/presets/kept")).status_code == 200
        refused = await room.http.delete("/v1/presets/kept")
        assert refused.status_code == 503
        await room.start_router()
        await client.delete_preset("kept")
        assert (await client.presets())["presets"] == []
    listed = await room.http.get("/v1/sessions")
    assert listed.json()["sessions"] == []
