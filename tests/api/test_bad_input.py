"""What cannot be is answered with a 4xx problem that says what to do."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.guard import MAX_BODY
from api.problems import KINDS
from tests.rooms import LocalRoom, config

JSON = {"Content-Type": "application/json"}


def is_problem(answer: Any, status: int) -> dict[str, Any]:
    """The problem, checked against RFC 9457 and this room's kinds."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert set(problem) - {"errors"} == {"type", "title", "status", "detail", "instance"}
    kind = KINDS[problem["type"].removeprefix("/problems/")]
    assert (problem["status"], problem["title"]) == (status, kind.title)
    assert len(problem["detail"]) > 10
    return problem


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"content": "x"',
        b'{"content": NaN}',
        b'{"content": "\\ud800"}',
        b'{"content": "\xff"}',
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b"content=x",
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b'{"content": ' + b"9" * 10_000 + b"}",
    ],
)
async def test_what_is_not_json(shared: LocalRoom, body: bytes) -> None:
    for path in ("/v1/sessions", "/v1/sessions/any/turns"):
        answer = await shared.http.post(path, content=body, headers=JSON)
        assert is_problem(answer, 400)["type"] == "/problems/malformed"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
async def test_json_has_to_say_that_it_is(shared: LocalRoom, kind: str | None) -> None:
    headers = {"Content-Type": kind} if kind else {}
    content = json.dumps(config("typed")).encode()
    problem = is_problem(
        await shared.http.post("/v1/sessions", content=content, headers=headers), 415
    )
    assert "Content-Type: application/json" in problem["detail"]


@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        ({"models": []}, "models", "give at least one"),
        ({"models": "a"}, "models", "has to be a list, such as"),
        ({"unheard_of": 1}, "unheard_of", "unknown key"),
        ({"routing_pattern": "anarchy"}, "routing_pattern", "'broadcast'"),
        ({"routing_pattern": "coordinator"}, "body", "one of a, b, c"),
        ({"coordinator": "zoe"}, "body", "one of a, b, c"),
        ({"routing_pattern": "script"}, "body", "'script'"),
        ({"script": "not a path"}, "script", "pattern"),
        ({"session_id": "a.b"}, "session_id", "letters, digits"),
        ({"session_id": "x" * 65}, "session_id", "letters, digits"),
        ({"deadline": 0}, "deadline", "greater than 0"),
        ({"budget": "much"}, "budget.limit", "has to be a number of US dollars, such as"),
        ({"tags": ["x"] * 65}, "tags", "64"),
    ],
)
async def test_a_session_that_cannot_be(
    shared: LocalRoom, changes: dict[str, Any], field: str, says: str
) -> None:
    answer = await shared.http.post("/v1/sessions", json=config("wrong") | changes)
    problem = is_problem(answer, 422)
    assert [error["field"] for error in problem["errors"]] == [field]
    assert says in problem["errors"][0]["message"]
    assert says in problem["detail"]


async def test_a_wrong_fallback_is_one_fault_and_says_how_it_is_written(shared: LocalRoom) -> None:
    wrong = config("wrong", "a b")
    wrong["models"][0]["fallbacks"] = "openai/gpt-4o"
    problem = is_problem(await shared.http.post("/v1/sessions", json=wrong), 422)
    assert problem["detail"] == (
        "models.0.fallbacks: has to be a list, such as"
        ' [{"provider": "ollama", "model_name": "llama3"}]'
    )
    await shared.create("changed", "a b")
    changes = {"models": wrong["models"]}
    changed = await shared.http.patch("/v1/sessions/changed", json=changes)
    assert is_problem(changed, 422)["detail"] == problem["detail"]


async def test_a_day_that_is_none_says_how_it_is_written(shared: LocalRoom) -> None:
    answer = await shared.http.get("/v1/costs", params={"from": "1"})
    assert is_problem(answer, 422)["detail"] == "from: has to be a date, such as 2026-03-31"


async def test_several_faults_are_named_together_and_without_their_values(
    shared: LocalRoom,
) -> None:
    wrong = config("wrong", "a b", secret="sk-12345")
    wrong["models"][1] |= {"temperature": 77, "top_k": 1}
    problem = is_problem(await shared.http.post("/v1/sessions", json=wrong), 422)
    fields = {error["field"] for error in problem["errors"]}
    assert fields == {"secret", "models.1.temperature", "models.1.top_k"}
    assert "sk-12345" not in json.dumps(problem)
    assert "77" not in json.dumps(problem)


async def test_two_participants_of_one_id(shared: LocalRoom) -> None:
    answer = await shared.http.post("/v1/sessions", json=config("twins", "a a"))
    assert "give each its own id" in is_problem(answer, 422)["detail"]


async def test_six_participants_where_five_are_allowed(shared: LocalRoom) -> None:
    answer = await shared.http.post("/v1/sessions", json=config("six", "a b c d e f"))
    detail = is_problem(answer, 422)["detail"]
    assert "6 participants are more than the 5 allowed here" in detail
    assert "CONTROL_ROOM_MAX_PARTICIPANTS" in detail


async def test_a_provider_that_is_not_configured(shared: LocalRoom) -> None:
    wrong = config("no-provider", "a b")
    wrong["models"][0]["provider"] = "azure_openai"
    detail = is_problem(await shared.http.post("/v1/sessions", json=wrong), 422)["detail"]
    assert "'azure_openai' is not configured" in detail
    assert "CONTROL_ROOM_PROVIDERS" in detail


async def test_a_model_that_the_provider_does_not_have(shared: LocalRoom) -> None:
    answer = await shared.http.post("/v1/sessions", json=config("no-model", "a:gpt-9"))
    detail = is_problem(answer, 422)["detail"]
    assert "'gpt-9'" in detail
    assert "use one of steady" in detail


async def test_a_script_that_is_not_there(shared: LocalRoom) -> None:
    wrong = config("no-script", routing_pattern="script", script="missing:route")
    assert (
        "missing" in is_problem(await shared.http.post("/v1/sessions", json=wrong), 422)["detail"]
    )


@pytest.mark.parametrize("content", ["", " ", "\n\t \u2003"])
async def test_an_empty_message(shared: LocalRoom, content: str) -> None:
    await shared.create("empty", "a")
    answer = await shared.http.post("/v1/sessions/empty/turns", json={"content": content})
    assert "is empty" in is_problem(answer, 422)["detail"]


@pytest.mark.parametrize(
    "body",
    [{}, {"content": None}, {"content": 1}, {"content": ["x"]}, {"text": "x"}, [], "x", None],
)
async def test_a_message_that_is_none(shared: LocalRoom, body: Any) -> None:
    await shared.create("none", "a")
    answer = await shared.http.post("/v1/sessions/none/turns", json=body)
    is_problem(answer, 422)
    assert (await shared.http.get("/v1/sessions/none")).json()["position"] == 1


async def test_ten_megabytes(shared: LocalRoom) -> None:
    await shared.create("ten", "a")
    path = "/v1/sessions/ten/turns"
    body = json.dumps({"content": "x" * 10_000_000}).encode()
    problem = is_problem(await shared.http.post(path, content=body, headers=JSON), 413)
    assert "1 MB" in problem["detail"]

    async def unsized() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    is_problem(await shared.http.post(path, content=unsized(), headers=JSON), 413)
    assert len(body) > MAX_BODY
    assert (await shared.http.get("/v1/sessions/ten")).json()["position"] == 1


@pytest.mark.parametrize("key", ["", "k" * 257])
async def test_a_key_that_is_none(shared: LocalRoom, key: str) -> None:
    answer = await shared.http.post(
        "/v1/sessions/any/turns", json={"content": "x"}, headers={"Idempotency-Key": key}
    )
    assert is_problem(answer, 422)["errors"][0]["field"] == "Idempotency-Key"


async def test_a_page_that_is_not_there(shared: LocalRoom) -> None:
    assert "/docs" in is_problem(await shared.http.get("/v2/sessions"), 404)["detail"]
    answer = await shared.http.delete("/v1/sessions/any")
    is_problem(answer, 405)
    assert answer.headers["allow"]


async def test_a_list_that_cannot_be(shared: LocalRoom) -> None:
    for query in ({"limit": 0}, {"limit": 1001}, {"cursor": "zzz"}, {"status": "asleep"}):
        is_problem(await shared.http.get("/v1/sessions", params=query), 422)


async def test_a_blob_that_is_not_there(shared: LocalRoom) -> None:
    is_problem(await shared.http.get(f"/v1/blobs/{'0' * 64}", params={"size": 1}), 404)
    is_problem(await shared.http.get("/v1/blobs/zzz", params={"size": 1}), 422)
    blob = shared.blobs.put(b"content")
    found = await shared.http.get(f"/v1/blobs/{blob.sha256}", params={"size": blob.size})
    assert found.content == b"content"
    other = await shared.http.get(f"/v1/blobs/{blob.sha256}", params={"size": blob.size + 1})
    is_problem(other, 404)


async def test_every_kind_of_problem_is_described(shared: LocalRoom) -> None:
    for name, kind in KINDS.items():
        answer = await shared.http.get(f"/problems/{name}")
        assert answer.json()["status"] == kind.status
    is_problem(await shared.http.get("/problems/nothing"), 404)
