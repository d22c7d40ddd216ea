"""The door for clients of OpenAI, with the client that OpenAI itself publishes."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from actors.providers.config import ProviderSpec
from tests.api.openai_door import (
    ADD,
    HELLO,
    client_of,
    events_of,
    replays,
    saved,
    turn_of,
)
from tests.rooms import LocalRoom, local_room
from tests.servers.chat import ChatServer, chat_server, whole
from tests.servers.scripted import listening

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(64))


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


async def test_providers_are_asked_for_their_models_once_in_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with chat_server() as server:
        config = {"base_url": server.base_url}
        spec = ProviderSpec(id="listing", type="openai", config=config)
        monkeypatch.setattr("api.model_names.KEPT", float("inf"))
        async with local_room(tmp_path, spec) as room, client_of(room) as client:
            for _ in range(3):
                names = {model.id async for model in client.models.list()}
                assert "listing/a-model" in names
            assert server.asked_for == ["/v1/models"]
            server.list("another")
            monkeypatch.setattr("api.model_names.KEPT", 0)
            names = {model.id async for model in client.models.list()}
            assert names & {"listing/a-model", "listing/another"} == {"listing/another"}


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


async def test_what_openai_takes_is_taken(shared: LocalRoom, client: AsyncOpenAI) -> None:
    more = {"top_p": 0, "include_answers": None, "stream": None, "stop": ["END", "STOP"]}
    body = {"model": "paced/instant", "messages": HELLO} | more
    done = (await shared.http.post("/openai/v1/chat/completions", json=body)).json()
    asked = await events_of(shared, done["control_room"]["session"], "model.asked")
    assert asked[0]["parameters"]["top_p"] == 0
    for stop in (["x"] * 17, "x" * 1001):
        with pytest.raises(openai.BadRequestError, match="stop"):
            await client.chat.completions.create(model="paced/instant", messages=HELLO, stop=stop)


@pytest.mark.parametrize(
    ("api", "path", "said"),
    [
        ("openai", "/v1", {"role": "user", "content": "No.", "name": "critic"}),
        ("lmstudio", "", {"role": "user", "content": "critic: No."}),
    ],
)
async def test_who_speaks_reaches_the_model(
    tmp_path: Path, api: str, path: str, said: dict[str, Any]
) -> None:
    server = ChatServer()
    async with listening(server):
        spec = ProviderSpec(id="served", type=api, config={"base_url": server.url + path})
        async with local_room(tmp_path, spec) as room:
            server.reply(*whole("Yes."))
            hat: Any = {"role": "assistant", "name": "planner", "content": "A red hat."}
            no: Any = {"role": "user", "name": "critic", "content": "No."}
            done = await client_of(room).chat.completions.create(
                model="served/m", messages=[*HELLO, hat, no]
            )
            assert done.choices[0].message.content == "Yes."
            session = done.control_room["session"]  # type: ignore[attr-defined]
            assert await replays(room, session)
    assert server.requests[-1].body["messages"][-1] == said


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
