"""What the door says to a client of OpenAI when it cannot answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from actors.providers.config import ProviderSpec
from tests.api.openai_door import (
    HELLO,
    client_of,
    door_sessions,
)
from tests.rooms import LocalRoom, local_room


@pytest.mark.parametrize(
    ("model", "more", "status", "why"),
    [
        ("gpt-4", {}, 404, "there is no model 'gpt-4'"),
        ("room/none", {}, 404, "room/NAME"),
        ("session/none", {}, 404, "there is no model"),
        ("paced/unheard-of", {}, 400, "rehearses no model"),
        ("paced/instant", {"temperature": 3}, 400, "temperature"),
        ("paced/instant", {"n": 2}, 400, "n: "),
        ("paced/instant", {"messages": []}, 400, "messages"),
        ("paced/instant", {"functions": [{}]}, 400, "use 'tools'"),
        ("paced/failing", {}, 502, "rehearse"),
    ],
)
async def test_errors_have_the_form_that_clients_know(
    client: AsyncOpenAI, model: str, more: dict[str, Any], status: int, why: str
) -> None:
    body = {"model": model, "messages": HELLO} | more
    for stream in (False, True):
        with pytest.raises(openai.APIStatusError, match=why) as refused:
            await client.post("/chat/completions", body=body | {"stream": stream}, cast_to=object)
        assert refused.value.status_code == status
        assert refused.value.type == ("server_error" if status == 502 else "invalid_request_error")


async def test_what_there_is_not_is_said_in_the_same_form(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="there is no '/openai/v1/embeddings' here"):
        await client.embeddings.create(model="paced/instant", input="Hello")


async def test_a_token_is_needed_where_the_room_has_one(tmp_path: Path) -> None:
    async with local_room(tmp_path, token="secret", tokens="ada=hers") as room:
        stranger = client_of(room)
        with pytest.raises(openai.AuthenticationError) as refused:
            await stranger.models.list()
        assert refused.value.code == "invalid_api_key"
        ada = stranger.with_options(api_key="hers")
        done = await ada.chat.completions.create(model="paced/instant", messages=HELLO)
        session = done.control_room["session"]  # type: ignore[attr-defined]
        events = (await room.http.get(f"/v1/sessions/{session}/events")).json()["events"]
        assert {e["data"]["by"] for e in events[:2]} == {"token:ada"}
        with pytest.raises(openai.BadRequestError, match="Idempotency-Key"):
            await twice(ada, stranger.with_options(api_key="secret"))


async def twice(first: AsyncOpenAI, second: AsyncOpenAI) -> None:
    """Two principals may use the same key; one may not use it for two questions."""
    keyed = {"Idempotency-Key": "mine"}
    for client, words in ((first, "One"), (second, "Two"), (first, "Three")):
        await client.chat.completions.create(
            model="paced/instant", messages=[{"role": "user", "content": words}],
            extra_headers=keyed,
        )  # fmt: skip


async def test_what_a_budget_forbids_is_no_quota(tmp_path: Path) -> None:
    prices = {"*": {"input": 1, "output": 1000}}
    dear = ProviderSpec(id="dear", type="rehearsal", config={"pace": 100, "prices": prices})
    async with local_room(tmp_path, dear) as room:
        seat = {"id": "a", "provider": "dear", "model_name": "instant", "max_tokens": 1000}
        await room.http.post(
            "/v1/sessions", json={"session_id": "poor", "models": [seat], "budget": "0.000001"}
        )
        for stream in (False, True):
            with pytest.raises(openai.RateLimitError) as refused:
                await client_of(room).chat.completions.create(
                    model="session/poor", messages=HELLO, stream=stream
                )
            assert refused.value.code == "insufficient_quota"
        turns = (await room.http.get("/v1/sessions/poor")).json()["turns"]
        assert turns["total"] == 2  # the client did not try again


@pytest.mark.parametrize(
    ("whole", "own", "asked"), [("1", None, False), (None, "1", False), (None, None, True)]
)
async def test_a_budget_is_not_left_by_asking_a_participant_apart(
    shared: LocalRoom, client: AsyncOpenAI, whole: str | None, own: str | None, asked: bool
) -> None:
    session = f"budget-{whole}-{own}"
    seat = {"id": "a", "provider": "paced", "model_name": "instant", "budget": own}
    made = await shared.http.post(
        "/v1/sessions", json={"session_id": session, "models": [seat], "budget": whole}
    )
    assert made.status_code == 201, made.text
    before = len(await door_sessions(shared))
    if asked:
        await client.chat.completions.create(model=f"session/{session}/a", messages=HELLO)
    else:
        with pytest.raises(openai.BadRequestError, match=f"ask session/{session}") as refused:
            await client.chat.completions.create(model=f"session/{session}/a", messages=HELLO)
        assert refused.value.code == "budgeted_session"
        await client.chat.completions.create(model=f"session/{session}", messages=HELLO)
    assert len(await door_sessions(shared)) == before + asked


async def test_what_fails_is_not_asked_for_again(shared: LocalRoom, client: AsyncOpenAI) -> None:
    before = await door_sessions(shared)
    with pytest.raises(openai.InternalServerError):
        await client.chat.completions.create(model="paced/failing", messages=HELLO)
    assert len(await door_sessions(shared)) == len(before) + 1


async def test_what_a_stream_has_begun_with_ends_in_an_error(client: AsyncOpenAI) -> None:
    chunks = await client.chat.completions.create(
        model="paced/cutting", messages=HELLO, stream=True
    )
    heard = ""

    async def hear() -> None:
        nonlocal heard
        async for chunk in chunks:
            heard += chunk.choices[0].delta.content or ""

    with pytest.raises(openai.APIError) as broken:
        await hear()
    assert heard
    assert broken.value.code == "provider_failed"


async def test_unknown_parameters_have_no_effect(client: AsyncOpenAI) -> None:
    done = await client.chat.completions.create(
        model="paced/instant", messages=HELLO, frequency_penalty=1, user="ada", store=True,
        extra_body={"anything": {"else": 1}},
    )  # fmt: skip
    assert done.choices[0].message.content
