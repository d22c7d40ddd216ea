"""Sessions at the door."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from api.views import SESSION_EXAMPLE
from tests.rooms import LocalRoom, config


async def test_a_session_is_created_once(shared: LocalRoom) -> None:
    wanted = config("once", "a b", title="Twice asked", tags=["x"])
    first = await shared.http.post("/v1/sessions", json=wanted)
    assert first.status_code == 201
    assert first.headers["location"] == "/v1/sessions/once"
    body = first.json()
    assert body["session_id"] == "once"
    assert body["status"] == "active"
    assert body["position"] == 1
    assert body["config"]["title"] == "Twice asked"
    assert body["turns"] == {"total": 0, "open": None, "queued": [], "last": []}
    again = await shared.http.post("/v1/sessions", json=wanted)
    assert again.status_code == 200
    assert again.json() == body


async def test_another_config_under_the_same_id_is_refused(shared: LocalRoom) -> None:
    await shared.create("other", "a")
    answer = await shared.http.post("/v1/sessions", json=config("other", "a b"))
    assert answer.status_code == 409
    assert "PATCH" in answer.json()["detail"]


async def test_a_session_without_an_id_is_given_one(shared: LocalRoom) -> None:
    wanted = config("", "a")
    del wanted["session_id"]
    first, second = [(await shared.http.post("/v1/sessions", json=wanted)).json() for _ in range(2)]
    assert first["session_id"] != second["session_id"]
    found = await shared.http.get(f"/v1/sessions/{first['session_id']}")
    assert found.json() == first


async def test_creating_at_the_same_time_makes_one_session(shared: LocalRoom) -> None:
    wanted = config("race", "a b")
    answers = await asyncio.gather(
        *(shared.http.post("/v1/sessions", json=wanted) for _ in range(8))
    )
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert (await shared.http.get("/v1/sessions/race/events")).json()["next"] == 1


async def test_the_example_of_the_reference_works(shared: LocalRoom) -> None:
    answer = await shared.http.post("/v1/sessions", json=SESSION_EXAMPLE)
    assert answer.status_code == 201, answer.text
    config = answer.json()["config"]
    assert config["coordinator"] == "model_1"
    assert [seat["role"] for seat in config["models"]] == ["architect", "coder", "reviewer"]


async def test_every_known_key_is_taken_and_kept(shared: LocalRoom) -> None:
    wanted = config("keys", "a b", tags=["youtube", "ai"], is_youtube_run=True, history="isolated")
    wanted["models"][0] |= {
        "stop_sequences": ["END"],
        "chat_template": "{{ messages }}",
        "history": "shared",
        "fallbacks": [{"provider": "rehearsal", "model_name": "instant"}],
    }
    answer = await shared.http.post("/v1/sessions", json=wanted)
    assert answer.status_code == 201, answer.text
    kept = answer.json()["config"]
    assert {key: kept[key] for key in ("tags", "is_youtube_run", "history")} == {
        "tags": ["youtube", "ai"],
        "is_youtube_run": True,
        "history": "isolated",
    }
    assert kept["models"][0] == {**kept["models"][1], **wanted["models"][0]}


async def test_sessions_are_listed_newest_first_page_by_page(shared: LocalRoom) -> None:
    names = [f"listed-{number}" for number in range(5)]
    for name in names:
        await shared.create(name, "a", tags=["listed"])
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2, "tag": "listed"}
    while True:
        page = (await shared.http.get("/v1/sessions", params=query)).json()
        assert len(page["sessions"]) <= 2
        seen += [session["id"] for session in page["sessions"]]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert seen == names[::-1]


async def test_the_list_has_what_was_just_created(shared: LocalRoom) -> None:
    for number in range(10):
        name = await shared.create(f"just-{number}", "a")
        page = (await shared.http.get("/v1/sessions", params={"limit": 1})).json()
        assert page["sessions"][0]["id"] == name


async def test_a_new_configuration_counts_from_the_next_turn(shared: LocalRoom) -> None:
    session = await shared.create("changing", "a b", title="before")
    answer = await shared.http.patch(
        f"/v1/sessions/{session}",
        json={"models": config("", "c")["models"], "title": None},
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["config"]["title"] is None
    turn = await shared.post(session, wait=20)
    assert [one["participant"] for one in turn["answers"]] == ["c"]


async def test_nothing_to_change_changes_nothing(shared: LocalRoom) -> None:
    session = await shared.create("same", "a", title="x")
    answer = await shared.http.patch(f"/v1/sessions/{session}", json={"title": "x"})
    assert answer.json()["position"] == 1


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"session_id": "elsewhere"}, "session_id"),
        ({"unheard_of": 1}, "unheard_of"),
        ({"models": None}, "models"),
        ({"coordinator": "nobody"}, "nobody"),
        ({"rounds": 99}, "rounds"),
        ({"models": config("", "a b c d e f")["models"]}, "6 participants"),
    ],
)
async def test_a_change_that_cannot_be_names_the_key(
    shared: LocalRoom, changes: dict[str, Any], named: str
) -> None:
    session = await shared.create("unchanged", "a b")
    answer = await shared.http.patch(f"/v1/sessions/{session}", json=changes)
    assert answer.status_code == 422
    assert named in answer.json()["detail"]
    assert (await shared.http.get(f"/v1/sessions/{session}")).json()["position"] == 1


async def test_a_paused_session_queues_and_goes_on_when_resumed(shared: LocalRoom) -> None:
    session = await shared.create("pausing", "a")
    paused = await shared.http.post(f"/v1/sessions/{session}/pause")
    assert paused.json() == {
        "session_id": session,
        "position": 2,
        "turn": None,
        "status": "paused",
    }
    assert (await shared.post(session))["status"] == "queued"
    state = (await shared.http.get(f"/v1/sessions/{session}")).json()
    assert state["status"] == "paused"
    assert state["turns"]["queued"] == ["t1"]
    again = await shared.http.post(f"/v1/sessions/{session}/pause")
    assert again.status_code == 200
    waiting = asyncio.create_task(shared.post(session, "Then", wait=20))
    resumed = await shared.http.post(f"/v1/sessions/{session}/resume")
    assert resumed.json()["status"] == "active"
    assert (await waiting)["status"] == "completed"
    first = (await shared.http.get(f"/v1/sessions/{session}/turns/t1")).json()
    assert first["status"] == "completed"


async def test_a_closed_session_is_read_and_takes_no_message(shared: LocalRoom) -> None:
    session = await shared.create("closing", "a")
    await shared.post(session, wait=20)
    closed = await shared.http.post(f"/v1/sessions/{session}/close")
    assert closed.json()["status"] == "closed"
    assert (await shared.http.post(f"/v1/sessions/{session}/close")).status_code == 200
    for path, body in (("turns", {"content": "Hello?"}), ("resume", None), ("pause", None)):
        answer = await shared.http.post(f"/v1/sessions/{session}/{path}", json=body)
        assert answer.status_code == 409, path
        assert "closed: create another" in answer.json()["detail"]
    assert (await shared.http.get(f"/v1/sessions/{session}/transcript")).json()["entries"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("PATCH", "", {}),
        ("POST", "/pause", None),
        ("POST", "/resume", None),
        ("POST", "/close", None),
        ("POST", "/turns", {"content": "Hello"}),
        ("POST", "/turns?wait=1", {"content": "Hello"}),
        ("GET", "/turns/t1", None),
        ("POST", "/turns/t1/cancel", None),
        ("POST", "/turns/t1/retry", {"participant": "a"}),
        ("GET", "/events", None),
        ("GET", "/transcript", None),
        ("GET", "/costs", None),
        ("POST", "/replay", None),
    ],
)
async def test_an_unknown_session_is_a_404_everywhere(
    shared: LocalRoom, method: str, path: str, body: Any
) -> None:
    answer = await shared.http.request(method, f"/v1/sessions/nowhere{path}", json=body)
    assert answer.status_code == 404, answer.text
    problem = answer.json()
    assert problem["type"] == "/problems/not-found"
    assert "nowhere" in problem["detail"]
    assert problem["instance"].startswith("/v1/sessions/nowhere")
