"""The door for clients of OpenAI, with the client that OpenAI itself publishes."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from actors.providers.config import ProviderSpec
from api.client import RoomClient
from api.openai_door import answering
from tests.rooms import LocalRoom, config, local_room
from tests.waiting import eventually

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(64))
HELLO: Any = [{"role": "user", "content": "What is a saga?"}]
ADD: Any = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Add two numbers.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
        },
    },
}


@pytest.fixture
async def client(shared: LocalRoom) -> AsyncIterator[AsyncOpenAI]:
    async with client_of(shared) as client:
        yield client


def client_of(room: LocalRoom) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{room.url}/openai/v1", api_key="none", max_retries=2)


async def saved(room: LocalRoom, name: str, seats: str = "a b c", **changes: Any) -> str:
    """A saved room; returns its name as a model."""
    preset = config(name, seats, **changes)
    async with RoomClient(room.url) as http:
        await http.save_preset(name, "room", preset)
    return f"room/{name}"


async def turn_of(room: LocalRoom, completion: Any) -> dict[str, Any]:
    place = completion.control_room
    path = f"/v1/sessions/{place['session']}/turns/{place['turn']}"
    return dict((await room.http.get(path)).json())


# --- models --------------------------------------------------------------------------------------


async def test_rooms_sessions_participants_and_models_are_listed(
    shared: LocalRoom, client: AsyncOpenAI
) -> None:
    await saved(shared, "listed")
    await shared.create("talk", "a b")
    names = {model.id async for model in client.models.list()}
    assert {"room/listed", "session/talk", "session/talk/a", "session/talk/b"} <= names
    assert {"paced/steady", "rehearsal/instant"} <= names
    assert (await client.models.retrieve("session/talk/b")).owned_by == "control-room"
    assert (await client.models.retrieve("paced/steady")).owned_by == "paced"
    with pytest.raises(openai.NotFoundError) as unknown:
        await client.models.retrieve("session/talk/c")
    assert unknown.value.code == "model_not_found"


# --- whole answers -------------------------------------------------------------------------------


async def test_a_model_answers_what_the_client_says_was_said(
    shared: LocalRoom, client: AsyncOpenAI
) -> None:
    messages: Any = [
        {"role": "system", "content": "Answer briefly."},
        {"role": "user", "content": "What is a saga?"},
        {"role": "assistant", "content": "A long story."},
        {"role": "user", "content": "And in a database?"},
    ]
    done = await client.chat.completions.create(
        model="paced/instant", messages=messages, temperature=0.5, max_completion_tokens=999, seed=7
    )
    choice = done.choices[0]
    turn = await turn_of(shared, done)
    assert choice.message.content == turn["answer"]
    assert "And in a database" in str(choice.message.content)
    assert choice.finish_reason == "stop"
    assert done.usage is not None
    assert done.usage.completion_tokens == turn["answers"][0]["usage"]["output"]
    assert done.usage.prompt_tokens > 8  # all that was given, not the last message alone
    session = done.control_room["session"]  # type: ignore[attr-defined]
    view = (await shared.http.get(f"/v1/sessions/{session}")).json()["config"]
    seat = view["models"][0]
    assert (seat["temperature"], seat["max_tokens"], seat["seed"]) == (0.5, 999, 7)
    assert view["tags"] == ["door"]
    asked = await events_of(shared, session, "model.asked")
    assert asked[0]["parameters"]["temperature"] == 0.5
    assert await replays(shared, session)


async def replays(room: LocalRoom, session: str) -> bool:
    return bool((await room.http.post(f"/v1/sessions/{session}/replay")).json()["identical"])


async def events_of(room: LocalRoom, session: str, kind: str) -> list[dict[str, Any]]:
    page = (await room.http.get(f"/v1/sessions/{session}/events?limit=1000")).json()
    return [e["data"]["payload"] for e in page["events"] if e["type"] == kind]


async def test_sessions_of_the_door_are_listed_by_their_tag_alone(
    shared: LocalRoom, client: AsyncOpenAI
) -> None:
    done = await client.chat.completions.create(model="paced/instant", messages=HELLO)
    session = done.control_room["session"]  # type: ignore[attr-defined]
    listed = (await shared.http.get("/v1/sessions?limit=1000")).json()["sessions"]
    assert session not in [each["id"] for each in listed]
    tagged = (await shared.http.get("/v1/sessions?limit=1000&tag=door")).json()["sessions"]
    assert session in [each["id"] for each in tagged]


async def test_everyone_in_a_saved_room_answers_under_a_name(
    shared: LocalRoom, client: AsyncOpenAI
) -> None:
    model = await saved(shared, "three")
    done = await client.chat.completions.create(
        model=model, messages=HELLO, extra_body={"include_answers": True}
    )
    turn = await turn_of(shared, done)
    texts = {one["participant"]: one["text"] for one in turn["answers"]}
    assert done.choices[0].message.content == "\n\n".join(
        f"**{id.upper()} ({id})**\n\n{texts[id]}" for id in "abc"
    )
    answers = done.choices[0].message.answers  # type: ignore[attr-defined]
    assert [one["label"] for one in answers] == ["A (a)", "B (b)", "C (c)"]
    assert [one["text"] for one in answers] == [texts[id] for id in "abc"]
    assert done.usage is not None
    assert done.usage.total_tokens == sum(
        sum(one["usage"][part] for part in ("input", "output", "reasoning"))
        for one in turn["answers"]
    )


async def test_a_room_with_one_answer_gives_that(shared: LocalRoom, client: AsyncOpenAI) -> None:
    model = await saved(shared, "led", "a b c", routing_pattern="coordinator", coordinator="a")
    done = await client.chat.completions.create(model=model, messages=HELLO)
    turn = await turn_of(shared, done)
    assert done.choices[0].message.content == turn["answer"]
    assert done.usage is not None
    answered = sum(one["usage"]["output"] for one in turn["answers"])
    assert done.usage.completion_tokens > answered  # the plan was paid too


async def test_a_session_is_posted_the_last_message(shared: LocalRoom, client: AsyncOpenAI) -> None:
    await shared.create("posted", "a b")
    for n in (1, 2):
        messages: Any = [{"role": "user", "content": "not this"}, *HELLO]
        done = await client.chat.completions.create(model="session/posted", messages=messages)
        assert done.control_room == {"session": "posted", "turn": f"t{n}"}  # type: ignore[attr-defined]
    transcript = (await shared.http.get("/v1/sessions/posted/transcript")).json()
    said = [entry["text"] for entry in transcript["entries"] if entry["kind"] == "message"]
    assert said == ["What is a saga?"] * 2


async def test_a_participant_answers_apart_from_its_session(
    shared: LocalRoom, client: AsyncOpenAI
) -> None:
    await shared.create("apart", "a b")
    done = await client.chat.completions.create(model="session/apart/b", messages=HELLO)
    view = (await shared.http.get("/v1/sessions/apart")).json()
    assert view["turns"]["total"] == 0
    other = done.control_room["session"]  # type: ignore[attr-defined]
    seat = (await shared.http.get(f"/v1/sessions/{other}")).json()["config"]["models"][0]
    assert (seat["id"], seat["role"]) == ("b", "B")


async def test_an_answer_takes_the_form_that_is_asked_for(client: AsyncOpenAI) -> None:
    form: Any = {
        "type": "json_schema",
        "json_schema": {
            "name": "verdict",
            "schema": {"type": "object", "properties": {"good": {"const": True}},
                       "required": ["good"]},
        },
    }  # fmt: skip
    done = await client.chat.completions.create(
        model="paced/instant", messages=HELLO, response_format=form
    )
    assert done.choices[0].message.content == '{"good":true}'


async def test_images_come_along_as_data(shared: LocalRoom, client: AsyncOpenAI) -> None:
    url = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    content = [{"type": "text", "text": "What is it?"}, image(url)]
    messages: Any = [{"role": "user", "content": content}]
    done = await client.chat.completions.create(model="paced/instant", messages=messages)
    session = done.control_room["session"]  # type: ignore[attr-defined]
    started = (await events_of(shared, session, "turn.started"))[0]
    assert [one["media_type"] for one in started["message"]["attachments"]] == ["image/png"]
    messages[0]["content"][1] = image("https://example.com/cat.png")
    with pytest.raises(openai.BadRequestError, match="fetches nothing"):
        await client.chat.completions.create(model="paced/instant", messages=messages)


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


# --- tools ---------------------------------------------------------------------------------------


async def test_the_clients_own_tools_are_its_own_to_call(
    shared: LocalRoom, client: AsyncOpenAI
) -> None:
    messages: Any = [{"role": "user", "content": "Please call add."}]
    done = await client.chat.completions.create(
        model="paced/instant", messages=messages, tools=[ADD]
    )
    choice = done.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls
    call = choice.message.tool_calls[0]
    assert call.type == "function"
    assert call.function.name == "add"
    messages += [
        choice.message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "forty-two"},
    ]
    after = await client.chat.completions.create(
        model="paced/instant", messages=messages, tools=[ADD]
    )
    assert after.choices[0].finish_reason == "stop"
    assert after.choices[0].message.tool_calls is None
    assert after.choices[0].message.content
    for completion in (done, after):
        assert await replays(shared, completion.control_room["session"])  # type: ignore[attr-defined]


async def test_tools_are_offered_to_one_and_refused_to_several(
    shared: LocalRoom, client: AsyncOpenAI
) -> None:
    model = await saved(shared, "several")
    await shared.create("toolless", "a b")
    for name in (model, "session/toolless"):
        with pytest.raises(openai.BadRequestError, match="session/ID/PARTICIPANT") as refused:
            await client.chat.completions.create(model=name, messages=HELLO, tools=[ADD])
        assert refused.value.param == "tools"


# --- errors --------------------------------------------------------------------------------------


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


async def test_what_fails_is_not_asked_for_again(shared: LocalRoom, client: AsyncOpenAI) -> None:
    before = await door_sessions(shared)
    with pytest.raises(openai.InternalServerError):
        await client.chat.completions.create(model="paced/failing", messages=HELLO)
    assert len(await door_sessions(shared)) == len(before) + 1


async def door_sessions(room: LocalRoom) -> list[dict[str, Any]]:
    listed = await room.http.get("/v1/sessions?limit=1000&tag=door")
    return list(listed.json()["sessions"])


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


# --- streams -------------------------------------------------------------------------------------


async def streamed(client: AsyncOpenAI, model: str, **more: Any) -> tuple[str, str, list[Any]]:
    """What comes as text, what as reasoning, and all chunks."""
    text, reasoning, chunks = "", "", []
    async for chunk in await client.chat.completions.create(
        model=model, messages=HELLO, stream=True, **more
    ):
        chunks.append(chunk)
        if chunk.choices:
            delta = chunk.choices[0].delta
            text += delta.content or ""
            reasoning += getattr(delta, "reasoning_content", None) or ""
    return text, reasoning, chunks


async def test_a_model_is_heard_as_it_speaks(shared: LocalRoom, client: AsyncOpenAI) -> None:
    text, reasoning, chunks = await streamed(
        client, "paced/steady", stream_options={"include_usage": True}
    )
    assert len([c for c in chunks if c.choices and c.choices[0].delta.content]) > 5
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens > 5
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert text == (await turn_of(shared, chunks[-2]))["answer"]
    assert reasoning == ""


async def test_all_in_a_room_are_heard_one_after_the_other(
    shared: LocalRoom, client: AsyncOpenAI
) -> None:
    model = await saved(shared, "heard", "a:steady b:slow c:steady")
    text, reasoning, chunks = await streamed(client, model, extra_body={"include_answers": True})
    turn = await turn_of(shared, chunks[-1])
    for one in turn["answers"]:
        id = one["participant"]
        assert f"**{id.upper()} ({id})**\n\n{one['text']}" in text
    assert len(text) == sum(len(one["text"]) + len("**A (a)**\n\n") for one in turn["answers"]) + 4
    assert len(chunks[-1].choices[0].delta.answers) == 3
    assert reasoning == ""


async def test_where_the_answer_is_known_late_what_led_to_it_is_reasoning(
    shared: LocalRoom, client: AsyncOpenAI
) -> None:
    model = await saved(shared, "voted", "a b c", routing_pattern="voting")
    text, reasoning, chunks = await streamed(client, model)
    turn = await turn_of(shared, chunks[-1])
    assert text == turn["answer"]
    for one in turn["answers"]:
        assert one["text"] in reasoning


async def test_a_synthesis_is_heard_as_it_is_spoken(shared: LocalRoom, client: AsyncOpenAI) -> None:
    model = await saved(
        shared, "synthesis", "a:steady b c", routing_pattern="coordinator", coordinator="a"
    )
    text, _, chunks = await streamed(client, model)
    turn = await turn_of(shared, chunks[-1])
    assert text == turn["answer"]
    parts = len([c for c in chunks if c.choices[0].delta.content])
    spoken = [one for one in turn["answers"] if one["purpose"] == "synthesis"]
    assert parts > 5 if spoken else parts >= 1


async def test_calls_of_tools_come_in_a_stream(client: AsyncOpenAI) -> None:
    messages: Any = [{"role": "user", "content": "Please call add."}]
    calls: list[Any] = []
    finish = None
    async for chunk in await client.chat.completions.create(
        model="paced/steady", messages=messages, tools=[ADD], stream=True
    ):
        calls += chunk.choices[0].delta.tool_calls or ()
        finish = chunk.choices[0].finish_reason or finish
    assert finish == "tool_calls"
    assert [call.function.name for call in calls] == ["add"]
    assert [call.index for call in calls] == [0]


async def test_a_stream_says_that_it_is_alive_while_nothing_comes(
    shared: LocalRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "HOLD", 0.05)
    monkeypatch.setattr(answering, "BEAT", 0.05)
    body = {"model": "paced/late", "messages": HELLO, "stream": True}
    answer = await shared.http.post("/openai/v1/chat/completions", json=body)
    events = answer.text.split("\n\n")
    said = [n for n, event in enumerate(events) if event.startswith("data:")]
    assert ": alive" in events[: said[1]]
    assert events[-2:] == ["data: [DONE]", ""]


# --- who goes away, and who comes again ----------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_goes_away_calls_the_turn_off(
    shared: LocalRoom, client: AsyncOpenAI, stream: bool
) -> None:
    """Down to the provider: the model has no call any more."""
    session = f"left-{stream}".lower()
    await shared.create(session, "a:late")
    asked = client.with_options(timeout=0.6, max_retries=0)
    with pytest.raises(openai.APITimeoutError):
        await asked.chat.completions.create(
            model=f"session/{session}", messages=HELLO, stream=stream
        )

    async def cancelled() -> bool:
        turn = (await shared.http.get(f"/v1/sessions/{session}/turns/t1")).json()
        return bool(turn["status"] == "cancelled" and turn["discarded"])

    await eventually(cancelled, within=10, what="the turn is called off, and its call is too")
    ended = await events_of(shared, session, "turn.cancelled")
    assert ended == [{"reason": "the client at the door went away"}]
    running = (await shared.http.get("/v1/models")).json()["running"]
    late = [one for one in running if one["model_name"] == "late"]
    assert [one["running"] for one in late] == [0]


async def test_who_stops_listening_calls_the_turn_off(
    shared: LocalRoom, client: AsyncOpenAI
) -> None:
    await shared.create("stopped", "a:slow")
    chunks = await client.chat.completions.create(
        model="session/stopped", messages=HELLO, stream=True
    )
    async for chunk in chunks:
        if chunk.choices[0].delta.content:
            break
    await chunks.close()

    async def cancelled() -> bool:
        turn = (await shared.http.get("/v1/sessions/stopped/turns/t1")).json()
        return bool(turn["status"] == "cancelled" and turn["discarded"])

    await eventually(cancelled, within=10, what="the turn is called off, and its call is too")


async def test_a_session_of_the_door_is_not_followed_any_longer(
    shared: LocalRoom, client: AsyncOpenAI
) -> None:
    await shared.create("followed", "a")
    app: Any = shared.served.server.config.app
    for model in ("paced/instant", "session/followed"):
        for stream in (False, True):
            done: Any = await client.chat.completions.create(
                model=model, messages=HELLO, stream=stream
            )
            if stream:
                assert [chunk async for chunk in done]
    followed = app.state.doors.feeds._uses

    def left() -> bool:
        return not [id for id in followed if id.startswith("door_")]

    await eventually(left, within=5, what="feeds of the door's own sessions end with their call")
    assert "followed" in followed


async def test_a_key_makes_a_repetition_the_same_call(
    shared: LocalRoom, client: AsyncOpenAI
) -> None:
    keyed = {"Idempotency-Key": "the-same"}
    first, second = [
        await client.chat.completions.create(
            model="paced/steady", messages=HELLO, extra_headers=keyed
        )
        for _ in range(2)
    ]
    assert first.id == second.id
    assert first.choices == second.choices
    text, _, chunks = await streamed(client, "paced/steady", extra_headers=keyed)
    assert (chunks[-1].id, text) == (first.id, first.choices[0].message.content)
    with pytest.raises(openai.BadRequestError, match="Idempotency-Key"):
        await client.chat.completions.create(
            model="paced/steady", messages=[{"role": "user", "content": "Else"}],
            extra_headers=keyed,
        )  # fmt: skip


async def test_what_was_called_off_is_begun_anew_under_its_key(client: AsyncOpenAI) -> None:
    keyed = {"Idempotency-Key": "broken-off"}
    with pytest.raises(openai.APITimeoutError):
        await client.with_options(timeout=0.4, max_retries=0).chat.completions.create(
            model="paced/late", messages=HELLO, extra_headers=keyed
        )
    done = await client.chat.completions.create(
        model="paced/late", messages=HELLO, extra_headers=keyed
    )
    assert done.choices[0].message.content
