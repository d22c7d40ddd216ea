"""What was spent, as the room tells it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.rooms import LocalRoom


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
