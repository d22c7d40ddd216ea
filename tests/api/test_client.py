"""The client of the API, against a room of real parts and over connections that break."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from api.client import Delta, Event, RoomClient, RoomError, RoomUnreachable
from api.progress import TurnProgress
from events.errors import ConfigError
from tests.relay import relay
from tests.rooms import LocalRoom, config, local_room


@pytest.fixture
async def client(shared: LocalRoom) -> AsyncIterator[RoomClient]:
    async with RoomClient(shared.url) as client:
        yield client


# --- sessions and turns --------------------------------------------------------------------------


async def test_a_session_from_its_beginning_to_its_end(client: RoomClient) -> None:
    created = await client.create_session(config("life", "a b", title="A life"))
    assert created["session_id"] == "life"
    assert (await client.create_session(config("life", "a b", title="A life"))) == created
    changed = await client.reconfigure("life", {"routing_pattern": "round_robin"})
    assert changed["config"]["routing_pattern"] == "round_robin"
    assert (await client.pause("life"))["status"] == "paused"
    assert (await client.session("life"))["status"] == "paused"
    assert (await client.resume("life"))["status"] == "active"
    listed = await client.sessions(limit=1)
    assert [each["id"] for each in listed["sessions"]] == ["life"]
    assert (await client.close_session("life"))["status"] == "closed"
    with pytest.raises(RoomError) as refused:
        await client.post_turn("life", "Still there?")
    assert refused.value.status == 409


async def test_pages_of_sessions_follow_each_other(client: RoomClient) -> None:
    for n in range(3):
        await client.create_session(config(f"page-{n}", "a"))
    found: list[str] = []
    cursor = None
    while len(found) < 3:
        page = await client.sessions(2, cursor)
        found += [each["id"] for each in page["sessions"]]
        cursor = page["next"]
    assert found[:3] == ["page-2", "page-1", "page-0"]


async def test_a_turn_is_waited_for(client: RoomClient) -> None:
    session = (await client.create_session({"models": config("", "a b")["models"]}))["session_id"]
    turn = await client.post_turn(session, "What is a saga?", wait=20)
    assert turn["status"] == "completed"
    assert [answer["participant"] for answer in turn["answers"]] == ["a", "b"]
    assert await client.turn(session, turn["turn"]) == turn
    again = await client.retry(session, turn["turn"], "a")
    assert again["turn"] == "t2"


async def test_a_turn_is_cancelled(client: RoomClient) -> None:
    await client.create_session(config("cancelled", "a:late"))
    turn = await client.post_turn("cancelled", "Hello")
    assert turn["status"] == "open"
    assert (await client.cancel_turn("cancelled", turn["turn"]))["status"] == "cancelled"
    assert (await client.turn("cancelled", turn["turn"]))["status"] == "cancelled"


async def test_a_key_makes_a_repetition_the_same_turn(client: RoomClient) -> None:
    await client.create_session(config("keyed", "a"))
    first = await client.post_turn("keyed", "Hello", key="one")
    assert (await client.post_turn("keyed", "Hello", key="one"))["turn"] == first["turn"]
    assert (await client.post_turn("keyed", "Hello"))["turn"] != first["turn"]


# --- what was said -------------------------------------------------------------------------------


async def test_views_of_a_session(client: RoomClient) -> None:
    await client.create_session(config("viewed", "a b"))
    await client.post_turn("viewed", "Hello", wait=20)
    assert [event.type async for event in client.all_events("viewed")] == [
        "session.created", "turn.started", "model.asked", "model.asked",
        "model.answered", "model.answered", "turn.completed",
    ]  # fmt: skip
    assert [event.position for event in await client.events("viewed", after=2, limit=3)] == [
        3,
        4,
        5,
    ]
    entries = (await client.transcript("viewed"))["entries"]
    assert [each["kind"] for each in entries] == ["message", "answer", "answer"]
    assert (await client.costs("viewed"))["total"]["calls"] == 2
    replayed = await client.replay("viewed")
    assert replayed["identical"]
    assert replayed["events"] == 7


async def test_long_texts_are_read_by_their_reference(client: RoomClient) -> None:
    await client.create_session(config("long", "a"))
    message = "Wörter " * 20_000
    await client.post_turn("long", message, wait=20)
    events = await client.events("long")
    content = events[1].payload["message"]["content"]
    assert isinstance(content, dict)
    assert await client.text(content) == message
    assert await client.text("itself") == "itself"


async def test_models_and_providers(client: RoomClient) -> None:
    models = (await client.models())["models"]
    assert {"provider": "rehearsal", "model_name": "steady"} in models
    providers = (await client.providers())["providers"]
    [paced] = [one for one in providers if one["id"] == "paced"]
    assert (paced["type"], paced["missing"], paced["reachable"]) == ("rehearsal", [], True)


# --- the stream ----------------------------------------------------------------------------------


async def followed(
    client: RoomClient, session: str, turn: str, after: int = 0
) -> tuple[list[Event], TurnProgress]:
    """The events of a turn as they come, and its progress."""
    view = await client.session(session)
    progress, events = TurnProgress(view["config"], turn), []
    async with asyncio.timeout(30), aclosing(client.stream(session, after)) as stream:
        async for message in stream:
            if isinstance(message, Event):
                events.append(message)
                progress.apply(message, 0.0)
            else:
                progress.add(message)
            if progress.ended:
                break
    return events, progress


async def test_the_stream_has_events_and_pieces(client: RoomClient) -> None:
    await client.create_session(config("streamed", "a:steady b:steady"))
    posted = await client.post_turn("streamed", "Tell me")
    deltas: list[Delta] = []
    answers: dict[str, str] = {}
    async with asyncio.timeout(20), aclosing(client.stream("streamed")) as stream:
        async for message in stream:
            if isinstance(message, Delta):
                deltas.append(message)
            elif message.type == "model.answered":
                answers[message.step or ""] = message.payload["text"]
            elif message.type == "turn.completed":
                break
    assert posted["turn"] == "t1"
    for step, answer in answers.items():
        text = "".join(delta.text for delta in deltas if delta.step == step)
        assert text
        assert answer.startswith(text)


async def test_a_cut_stream_goes_on_where_it_was(shared: LocalRoom) -> None:
    chance = random.Random(7)
    await shared.create("cut", "a:steady b:steady c:steady d:failing e:instant")
    async with relay(shared.port) as line, RoomClient(line.url) as client:
        posted = await client.post_turn("cut", "Tell me")
        view = await client.session("cut")
        progress, positions = TurnProgress(view["config"], posted["turn"]), []
        until_cut = 1
        async with asyncio.timeout(30), aclosing(client.stream("cut")) as stream:
            async for message in stream:
                if isinstance(message, Event):
                    positions.append(message.position)
                    progress.apply(message, 0.0)
                else:
                    progress.add(message)
                if progress.ended:
                    break
                until_cut -= 1
                if until_cut == 0:
                    line.cut()
                    until_cut = chance.randint(1, 8)
        assert line.accepted >= 3  # one for requests, and the stream anew at least once
    assert positions == list(range(1, positions[-1] + 1))
    assert progress.status == "completed"
    done = await client_turn(shared, "cut", posted["turn"])
    assert {call.participant: call.text for call in progress.said()} == done


async def client_turn(room: LocalRoom, session: str, turn: str) -> dict[str, str]:
    async with RoomClient(room.url) as client:
        answers = (await client.turn(session, turn))["answers"]
    return {answer["participant"]: answer["text"] for answer in answers}


async def test_the_stream_begins_behind_its_cursor(client: RoomClient) -> None:
    await client.create_session(config("behind", "a"))
    first = await client.post_turn("behind", "One", wait=20)
    second = await client.post_turn("behind", "Two", wait=20)
    events, _ = await followed(client, "behind", second["turn"], after=first["position"])
    assert events[0].position == first["position"] + 1
    assert {event.turn for event in events} == {"t2"}


async def test_a_message_whose_answer_is_lost_is_posted_once(shared: LocalRoom) -> None:
    await shared.create("lost", "a")
    async with relay(shared.port) as line, RoomClient(line.url) as client:
        line.lost_answers = 2
        posted = await client.post_turn("lost", "Hello", wait=20)
        assert line.lost_answers == 0
        assert posted["status"] == "completed"
        assert (await client.session("lost"))["turns"]["total"] == 1


# --- refusals ------------------------------------------------------------------------------------


async def test_an_unknown_session_is_said_to_be_unknown(client: RoomClient) -> None:
    with pytest.raises(RoomError, match="there is no session 'nowhere'") as refused:
        await client.session("nowhere")
    assert refused.value.status == refused.value.problem.status == 404
    with pytest.raises(RoomError, match="there is no session") as refused:
        await followed_nothing(client, "nowhere")
    assert refused.value.status == 404


async def followed_nothing(client: RoomClient, session: str, after: int = 0) -> None:
    async with asyncio.timeout(20), aclosing(client.stream(session, after)) as stream:
        async for message in stream:
            raise AssertionError(message)


async def test_a_cursor_beyond_the_end_is_refused(client: RoomClient) -> None:
    await client.create_session(config("short", "a"))
    for after in (2, 10**9):
        with pytest.raises(RoomError, match="cursor") as refused:
            await followed_nothing(client, "short", after)
        assert refused.value.status == 422


async def test_names_cannot_leave_their_place_in_the_path(client: RoomClient) -> None:
    for name in ("../v1/models", "a/b", "?limit=1", "#", "%2e%2e", "ä b"):
        with pytest.raises(RoomError) as refused:
            await client.session(name)
        assert refused.value.status in (404, 422)


async def test_a_wrong_configuration_is_explained(client: RoomClient) -> None:
    wrong = config("wrong", "a") | {"temperature": 1}
    with pytest.raises(RoomError, match="temperature") as refused:
        await client.create_session(wrong)
    assert refused.value.status == 422
    assert not refused.value.retryable


async def test_nobody_there() -> None:
    with socket.socket() as bound:  # and not listening, so nobody else can
        bound.bind(("127.0.0.1", 0))
        client = RoomClient(f"http://127.0.0.1:{bound.getsockname()[1]}")
        with pytest.raises(RoomUnreachable, match="control-room serve") as gone:
            await client.models()
    await client.close()
    assert gone.value.status == 0
    assert gone.value.retryable


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "ftp://127.0.0.1", "http://"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="write it like http://"):
        RoomClient(url)


async def test_what_is_no_room_is_refused() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHello")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with RoomClient(f"http://127.0.0.1:{port}") as client:
            with pytest.raises(RoomError, match="check the URL"):
                await client.models()


async def test_the_token_is_sent_everywhere(tmp_path: Path) -> None:
    async with local_room(tmp_path, token="a-secret") as room:
        await room.create("guarded", "a")
        for token in (None, "another"):
            async with RoomClient(room.url, token) as client:
                with pytest.raises(RoomError) as refused:
                    await client.sessions()
                assert refused.value.status == 401
                with pytest.raises(RoomError) as refused:
                    await followed_nothing(client, "guarded")
                assert refused.value.status == 401
        async with RoomClient(room.url, "a-secret") as client:
            posted = await client.post_turn("guarded", "Hello")
            _, progress = await followed(client, "guarded", posted["turn"])
            assert progress.status == "completed"
