"""Estimates at the door."""

from __future__ import annotations

from base64 import b64encode
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any

from actors.providers.config import ProviderSpec
from events.values import Blob
from tests.rooms import LocalRoom, config, local_room

NOTES = b"# Notes\n" * 50

PRICED = ProviderSpec(
    id="priced",
    type="rehearsal",
    config={"prices": {"*": {"input": 1, "output": 10, "request": "0.5", "table": "ours"}}},
)


async def test_a_message_is_estimated_and_not_sent(tmp_path: Path) -> None:
    seats = [
        {"id": id, "provider": "priced", "model_name": "instant", "max_tokens": 200} for id in "ab"
    ]
    wanted = {"session_id": "s1", "models": seats, "history": "isolated", "budget": 10}
    async with local_room(tmp_path, PRICED) as room:
        draft = {"session": wanted, "content": "What is a saga?"}
        first = (await room.http.post("/v1/estimate", json=draft)).json()
        assert (await room.http.get("/v1/sessions/s1")).status_code == 404
        assert [one["observations"] for one in first["participants"]] == [0, 0]
        assert first["participants"][0]["prices"] == "ours"

        await room.http.post("/v1/sessions", json=wanted)
        path = "/v1/sessions/s1/estimate"
        message = {"content": "What is a saga?"}
        begun = (await room.http.post(path, json=message)).json()
        assert begun == first | {"position": 1}
        turn = await room.post("s1", "What is a saga?", wait=20)
        spent = sum(Decimal(answer["cost"]["amount"]) for answer in turn["answers"])
        assert spent <= Decimal(begun["cost"]["most"])

        again = (await room.http.post(path, json=message)).json()
        assert again["position"] == turn["position"]
        # Both sit on the same model, so both answers count for each.
        assert [one["observations"] for one in again["participants"]] == [2, 2]
        middle = round(median(one["usage"]["output"] for one in turn["answers"]))
        for one in again["participants"]:
            assert one["output_tokens"] == {"likely": middle, "most": 200}
        assert again["budget"]["limit"] == "10"
        assert Decimal(again["budget"]["spent"]) == spent
        assert Decimal(again["budget"]["left"]) == 10 - spent
        events = (await room.http.get("/v1/sessions/s1/events")).json()
        assert events["next"] == turn["position"]


async def test_what_cannot_be_estimated_is_refused(shared: LocalRoom) -> None:
    async def refused(path: str, body: dict[str, Any]) -> int:
        answer = await shared.http.post(path, json=body)
        assert answer.json()["detail"]
        return answer.status_code

    message = {"content": "Hello"}
    assert await refused("/v1/sessions/nowhere/estimate", message) == 404
    await shared.create("closed", "a")
    await shared.http.post("/v1/sessions/closed/close")
    assert await refused("/v1/sessions/closed/estimate", message) == 409
    assert await refused("/v1/sessions/closed/estimate", {"content": ""}) == 422
    unknown = config("unknown", "a")
    unknown["models"][0]["provider"] = "nobody"
    assert await refused("/v1/estimate", {"session": unknown, **message}) == 422
    wrong = config("wrong", "a:no-such-temper")
    assert await refused("/v1/estimate", {"session": wrong, **message}) == 422
    crowd = config("crowd", "a b c d e f")
    assert await refused("/v1/estimate", {"session": crowd, **message}) == 422


async def test_the_most_is_what_a_budget_holds(tmp_path: Path) -> None:
    notes = {
        "name": "notes.md",
        "media_type": "text/markdown",
        "data": b64encode(NOTES).decode(),
    }
    seats = [
        {"id": id, "provider": "priced", "model_name": "instant", "max_tokens": most, "extra": more}
        for id, most, more in (("a", 100, {}), ("b", 300, {"metadata": {"team": "research"}}))
    ]
    async with local_room(tmp_path, PRICED, daily_budget="20") as room:
        await room.create("s1", models=seats)
        message = {"content": "What is this?", "attachments": [notes]}
        report = (await room.http.post("/v1/sessions/s1/estimate", json=message)).json()
        assert room.blobs.size(Blob.of(NOTES).sha256) is None, "the file is not kept"
        answer = await room.http.post("/v1/sessions/s1/turns?wait=20", json=message)
        assert answer.json()["status"] == "completed", answer.text
        events = (await room.http.get("/v1/sessions/s1/events")).json()["events"]
        held = {
            event["data"]["payload"]["participant"]: Decimal(event["data"]["payload"]["reserved"])
            for event in events
            if event["type"] == "model.asked"
        }
        most = {one["participant"]: one["cost"]["most"] for one in report["participants"]}
        assert {id: Decimal(cost) for id, cost in most.items()} == held
        assert report["account"] == {"limit": "20", "spent": "0", "held": "0", "left": "20"}
        again = (await room.http.post("/v1/sessions/s1/estimate", json=message)).json()
        spent = sum(Decimal(one["cost"]["amount"]) for one in answer.json()["answers"])
        assert Decimal(again["account"]["spent"]) + Decimal(again["account"]["held"]) >= spent > 0


async def test_without_a_router_there_is_no_estimate(tmp_path: Path) -> None:
    async with local_room(tmp_path, PRICED) as room:
        await room.create("s1", "a")
        await room.stop_router()
        answer = await room.http.post("/v1/sessions/s1/estimate", json={"content": "Hello"})
        assert answer.status_code == 503
        assert answer.json()["detail"]
