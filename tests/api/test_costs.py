"""What was spent, as the room tells it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from actors.providers.config import ProviderSpec
from tests.rooms import LocalRoom, local_room

PRICED = ProviderSpec(
    id="priced", type="rehearsal", config={"prices": {"*": {"input": 3, "output": 15}}}
)


async def test_costs_are_told_by_tag_and_bounded_by_days(shared: LocalRoom) -> None:
    await shared.create("tagged", "a b", tags=["first", "second"])
    await shared.create("plain", "a")
    for session in ("tagged", "plain"):
        await shared.post(session, wait=20)
    whole = (await shared.http.get("/v1/costs")).json()
    assert whole["total"]["calls"] == 3
    assert [(line["name"], line["calls"]) for line in whole["by_tag"]] == [
        ("first", 2),
        ("second", 2),
    ]
    tagged = (await shared.http.get("/v1/costs", params={"tag": "first"})).json()
    assert [line["name"] for line in tagged["by_session"]] == ["tagged"]

    now = datetime.now(UTC)
    yesterday, tomorrow = ((now + timedelta(days=n)).date().isoformat() for n in (-1, 1))
    for query, calls in (
        ({"from": yesterday, "to": tomorrow}, 3),
        ({"from": tomorrow}, 0),
        ({"to": yesterday}, 0),
    ):
        bounded = (await shared.http.get("/v1/costs", params=query)).json()
        assert bounded["total"]["calls"] == calls, query


async def test_days_that_are_none_are_refused(shared: LocalRoom) -> None:
    swapped = {"from": "2026-03-02", "to": "2026-03-01"}
    for query in (swapped, {"from": "yesterday"}, {"to": "2026-02-30"}):
        answer = await shared.http.get("/v1/costs", params=query)
        assert answer.status_code == 422
        assert answer.json()["detail"]


async def test_history_is_priced_again_beside_what_was_recorded(tmp_path: Path) -> None:
    def seat(id: str, provider: str) -> dict[str, Any]:
        return {"id": id, "provider": provider, "model_name": "instant"}

    async with local_room(tmp_path, PRICED) as room:
        await room.create("s1", models=[seat("a", "priced"), seat("b", "rehearsal")], tags=["x"])
        await room.post("s1", wait=20)
        plain = (await room.http.get("/v1/costs")).json()
        assert plain["prices"] is None
        assert plain["total"]["repriced"] is None

        # What the providers charge today is what they charged a moment ago.
        today = (await room.http.get("/v1/costs", params={"prices": "current"})).json()
        for name in ("by_session", "by_provider", "by_model", "by_day", "by_tag"):
            for line in today[name]:
                assert line["repriced"]["cost"] == line["cost"], line
                assert line["repriced"]["priced"] == line["calls"], line
        assert today["total"]["repriced"] == {
            "cost": plain["total"]["cost"],
            "priced": 2,
            "unpriced": 0,
            "untimed": 0,
        }

        # A table of the file, which has one of the two providers.
        tables = {"twice": {"pri*": {"inst*": {"input": "6", "output": 30}}}}
        (room.settings.home / "prices.json").write_text(json.dumps(tables))
        twice = (await room.http.get("/v1/costs", params={"prices": "twice"})).json()
        assert twice["prices"] == "twice"
        assert twice["total"]["cost"] == plain["total"]["cost"]
        again = twice["total"]["repriced"]
        assert Decimal(again["cost"]) == 2 * Decimal(plain["total"]["cost"]) > 0
        assert (again["priced"], again["unpriced"]) == (1, 1)
        lines = {line["name"]: line["repriced"] for line in twice["by_provider"]}
        assert lines["rehearsal"] == {"cost": "0", "priced": 0, "unpriced": 1, "untimed": 0}

        # A table of the request's own.
        body = {"prices": {"*": {"*": {"request": "0.25"}}}}
        sent = (await room.http.post("/v1/costs", json=body, params={"tag": "x"})).json()
        assert Decimal(sent["total"]["repriced"]["cost"]) == Decimal("0.5")
        assert (await room.http.get("/v1/costs")).json() == plain


async def test_price_tables_that_are_none_are_refused(shared: LocalRoom) -> None:
    unknown = await shared.http.get("/v1/costs", params={"prices": "nowhere"})
    assert unknown.status_code == 422
    assert "prices.json" in unknown.json()["detail"]
    for price in ("-1", "1e999", "NaN", "1e-99"):
        body = {"prices": {"openai": {"gpt": {"input": price}}}}
        assert (await shared.http.post("/v1/costs", json=body)).status_code == 422, price
    (shared.settings.home / "prices.json").write_text('{"bad": {"openai": {"gpt": {"inptu": 1}}}}')
    wrong = await shared.http.get("/v1/costs", params={"prices": "bad"})
    assert wrong.status_code == 422
    assert "inptu" in wrong.json()["detail"]


async def test_models_are_compared_by_what_they_did(shared: LocalRoom) -> None:
    await shared.create("compared", "a:instant b:steady c:failing", tags=["comparison"])
    for _ in range(5):
        await shared.post("compared", wait=20)
    answer = await shared.http.get("/v1/choices", params={"tag": "comparison"})
    assert answer.status_code == 200
    (found,) = answer.json()["comparisons"]
    assert (found["pattern"], found["purpose"]) == ("broadcast", "answer")
    assert [(one["model"], one["answered"], one["failed"]) for one in found["models"]] == [
        ("failing", 0, 5),
        ("instant", 5, 0),
        ("steady", 5, 0),
    ]
    assert found["fastest"] == [{"provider": "paced", "model": "instant"}]
    assert [one["model"] for one in found["cheapest"]] == ["instant", "steady"]
    nothing = await shared.http.get("/v1/choices", params={"tag": "none has it"})
    assert nothing.json()["comparisons"] == []


async def test_a_budget_is_raised_and_taken_away(shared: LocalRoom) -> None:
    await shared.create("careful", "a", budget=1)
    for given, kept in (
        ({"limit": "2.50", "warn_at": ["0.5"]}, {"limit": "2.50", "warn_at": ["0.5"]}),
        ("3", {"limit": "3", "warn_at": ["0.8"]}),
        (None, None),
    ):
        answer = await shared.http.patch("/v1/sessions/careful", json={"budget": given})
        assert answer.status_code == 200, answer.text
        assert answer.json()["config"]["budget"] == kept
    wrong = await shared.http.patch("/v1/sessions/careful", json={"budget": -1})
    assert wrong.status_code == 422
