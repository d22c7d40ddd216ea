"""Names of every kind reach no other session's subjects and break nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import pytest

from actors.bus import Bus, Msg
from actors.providers.config import ProviderSpec
from tests.api.test_bad_input import is_problem
from tests.rooms import LocalRoom, config, local_room

ODD = [
    ">",
    "*",
    "room.>",
    "a.b",
    "a b",
    "a\nb",
    "\x00",
    "\u2028",
    "../../etc/passwd",
    "😀",
    "ÅÄÖ",
    "$JS.API.>",
    "%2E",
    "'; DROP TABLE events; --",
    "{{ 7 * 7 }}",
    "${OPENAI_API_KEY}",
    "x" * 10_000,
]
LONGEST = 512
IDS = [f"odd-{number}" for number in range(len(ODD))]


@pytest.fixture(scope="module")
async def odd(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalRoom]:
    """A room with a provider whose id is odd as well."""
    provider = ProviderSpec(id="> * . 😀\n", type="rehearsal", config={"pace": 100})
    async with local_room(tmp_path_factory.mktemp("odd"), provider) as room:
        yield room


@asynccontextmanager
async def wiretap(room: LocalRoom) -> AsyncIterator[list[str]]:
    """Every subject that is used meanwhile."""
    bus = await Bus.connect(room.nats.url, name="wiretap")
    subjects: list[str] = []

    def note(msg: Msg) -> None:
        subjects.append(msg.subject)

    await bus.subscribe("room.>", note)
    try:
        yield subjects
    finally:
        await bus.close()


@pytest.mark.parametrize("name", ODD, ids=IDS)
async def test_no_session_has_such_an_id(odd: LocalRoom, name: str) -> None:
    is_problem(await odd.http.post("/v1/sessions", json=config(name)), 422)
    if "\x00" in name or len(name) > 5000:
        return  # no client can put these into an address
    path = f"/v1/sessions/{quote(name, safe='')}"
    for method, more, body in (
        ("GET", "", None),
        ("GET", "/events", None),
        ("GET", "/transcript", None),
        ("POST", "/turns", {"content": "Hello"}),
        ("POST", "/turns?wait=1", {"content": "Hello"}),
        ("POST", "/close", None),
        ("PATCH", "", {"title": "x"}),
    ):
        answer = await odd.http.request(method, path + more, json=body)
        is_problem(answer, 404 if "/" in name else 422)
    async with wiretap(odd) as subjects:
        answer = await odd.http.post(f"/v1/sessions/quiet/turns/{quote(name, safe='')}/cancel")
        is_problem(answer, 404 if "/" in name else 422)
    assert not [subject for subject in subjects if ".command" in subject]


@pytest.mark.parametrize("name", ODD, ids=IDS)
async def test_participants_are_not_called_so(odd: LocalRoom, name: str) -> None:
    wrong = config("participants", "a b")
    wrong["models"][0]["id"] = name
    assert (
        "models.0.id" in is_problem(await odd.http.post("/v1/sessions", json=wrong), 422)["detail"]
    )
    await odd.create("retried", "a")
    answer = await odd.http.post("/v1/sessions/retried/turns/t1/retry", json={"participant": name})
    is_problem(answer, 422)


@pytest.mark.parametrize("name", ODD, ids=IDS)
async def test_roles_titles_tags_and_prompts_may_be_odd(odd: LocalRoom, name: str) -> None:
    short = name[:LONGEST]
    session = f"roles-{ODD.index(name)}"
    wanted = config(session, "a b", title=short, tags=[short[:128]])
    wanted["models"][0] |= {
        "provider": "> * . 😀\n",
        "role": short,
        "system_prompt": name,
        "stop_sequences": [name],
        "extra": {name: name},
    }
    answer = await odd.http.post("/v1/sessions", json=wanted)
    assert answer.status_code == 201, answer.text
    neighbour = await odd.create(f"{session}-neighbour", "a")
    async with odd.following(neighbour) as other, odd.following(session) as watcher:
        await other.until("session.created")
        turn = await odd.post(session, name + ".", wait=20)
        await watcher.until("turn.completed")
        await odd.post(neighbour)
        await other.until("turn.completed")
    assert turn["status"] == "completed"
    assert turn["answers"][0]["role"] == short
    assert other.positions == list(range(1, 6))
    assert {event["event"]["data"]["stream"] for event in other.events} == {neighbour}
    listed = (await odd.http.get("/v1/sessions", params={"tag": short[:128]})).json()["sessions"]
    assert session in {each["id"] for each in listed}
    for view in ("transcript", "costs", "events"):
        assert (await odd.http.get(f"/v1/sessions/{session}/{view}")).status_code == 200
    assert (await odd.http.post(f"/v1/sessions/{session}/replay")).json()["identical"]


@pytest.mark.parametrize("name", ODD, ids=IDS)
async def test_model_names_are_one_token_of_a_subject(tmp_path: Any, name: str) -> None:
    """A provider that takes any name is asked under it; its subject holds none of it."""
    provider = ProviderSpec(
        id="anything", type="openai", config={"base_url": "http://127.0.0.1:9/v1", "tries": 1}
    )
    async with local_room(tmp_path, provider) as room, wiretap(room) as subjects:
        wanted = config("models", "a b")
        wanted["models"][0] |= {"provider": "anything", "model_name": name}
        answer = await room.http.post("/v1/sessions", json=wanted)
        if len(name) > LONGEST:
            is_problem(answer, 422)
            return
        assert answer.status_code == 201, answer.text
        turn = await room.post("models", wait=20)
        assert [each["participant"] for each in turn["answers"]] == ["b"]
        assert [each["participant"] for each in turn["failures"]] == ["a"]
        asked = {subject for subject in subjects if subject.startswith("room.model.")}
    assert len(asked) == 2
    assert all(subject.count(".") == 3 and subject.isascii() for subject in asked)


@pytest.mark.parametrize("key", ["> *.", "a.b", "k" * 256, "\xe5\xe4\xf6", "'\"\\"])
async def test_keys_may_be_odd(odd: LocalRoom, key: str) -> None:
    session = await odd.create("keys", "a")
    headers = {b"Idempotency-Key": key.encode("latin-1")}
    answers = await asyncio.gather(
        *(
            odd.http.post(
                f"/v1/sessions/{session}/turns", json={"content": "Hello"}, headers=headers
            )
            for _ in range(2)
        )
    )
    assert len({answer.json()["turn"] for answer in answers}) == 1
