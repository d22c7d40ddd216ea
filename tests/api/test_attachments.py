"""Files that go with a message: from the door to what the models are sent."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from actors.providers.config import ProviderSpec
from api.attachments import MOST
from api.file_types import LONGEST_FILE, LONGEST_IMAGE
from tests.api.test_bad_input import is_problem
from tests.contract.every_provider import answer
from tests.rooms import LocalRoom, local_room
from tests.servers.dialects import DIALECTS
from tests.servers.dialects.dialect import KEY, MODEL, PICTURE, Dialect, has
from tests.servers.scripted import ScriptedServer, listening

NOTES = "# Grüße\nprint('hello')\n"
IMAGE = {"name": "a cat.png", "media_type": "image/png", "data": PICTURE.base64}
FILE = {
    "name": "notes.md",
    "media_type": "text/markdown; charset=utf-8",
    "data": base64.b64encode(NOTES.encode()).decode(),
}
SHOWN = (
    "What is this?\n\n[Attached image: a cat.png]\n\n"
    f"[Attached file: notes.md]\n{NOTES}\n[End of file: notes.md]"
)


@dataclass
class Served:
    """A room with a server for every dialect; each is the provider `p0`, `p1`, ..."""

    room: LocalRoom
    servers: list[tuple[Dialect, ScriptedServer]]

    async def create(self, session: str, chosen: list[int], **changes: Any) -> None:
        models = [
            {"id": f"m{n}", "provider": f"p{n}", "model_name": MODEL, "history": "isolated"}
            for n in chosen
        ]
        await self.room.create(session, models=models, **changes)

    async def post(
        self, session: str, *attachments: dict[str, Any], content: str = "What is this?"
    ) -> dict[str, Any]:
        body = {"content": content, "attachments": attachments}
        path = f"/v1/sessions/{session}/turns"
        posted = await self.room.http.post(path, json=body, params={"wait": 30}, timeout=60)
        assert posted.status_code == 200, posted.text
        return dict(posted.json())


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    async with AsyncExitStack() as stack:
        servers, specs = [], []
        for number, dialect in enumerate(DIALECTS):
            server = ScriptedServer(dialect.pages())
            server.reply(*answer(dialect, "Seen."), content_type=dialect.content_type)
            await stack.enter_async_context(listening(server))
            config = dialect.config(server.url)
            specs.append(ProviderSpec(id=f"p{number}", type=dialect.type, config=config))
            servers.append((dialect, server))
        folder = tmp_path_factory.mktemp("room")
        room = await stack.enter_async_context(
            local_room(folder, *specs, environment={"KEY": KEY}, max_participants=len(DIALECTS))
        )
        yield Served(room, servers)


async def test_every_provider_gets_the_text_and_those_that_see_the_picture(served: Served) -> None:
    await served.create("everyone", list(range(len(DIALECTS))))
    turn = await served.post("everyone", IMAGE, FILE)
    answered = {one["participant"]: one["text"] for one in turn["answers"]}
    failed = {one["participant"]: one["message"] for one in turn["failures"]}
    assert all("takes no pictures" in message for message in failed.values())
    for number, (dialect, server) in enumerate(served.servers):
        if f"m{number}" in failed:  # its server was still to say so: see the next turn
            assert not has(dialect, "images")
            assert server.requests == []
            continue
        assert answered[f"m{number}"] == "Seen.", dialect
        request = server.requests[-1]
        if has(dialect, "images"):
            sent = dialect.sent(request.path, request.body)
            assert sent.images == 1
            assert sent.texts[-1] == ("user", SHOWN)
            assert PICTURE.base64 in json.dumps(request.body)
        else:
            assert "this model takes no images" in json.dumps(request.body)
            assert PICTURE.base64 not in json.dumps(request.body)
    again = await served.post("everyone", content="And in words?")
    assert [one["text"] for one in again["answers"]] == ["Seen."] * len(served.servers)
    for name in failed:
        said = json.dumps(served.servers[int(name[1:])][1].requests[-1].body)
        assert "this model takes no images" in said
    replayed = await served.room.http.post("/v1/sessions/everyone/replay")
    assert replayed.json()["identical"] is True


async def test_texts_are_for_every_provider(served: Served) -> None:
    blind = [n for n, (dialect, _) in enumerate(served.servers) if not has(dialect, "images")]
    await served.create("texts", blind)
    turn = await served.post("texts", FILE)
    assert [one["text"] for one in turn["answers"]] == ["Seen."] * len(blind)
    for number in blind:
        assert "notes.md" in json.dumps(served.servers[number][1].requests[-1].body)


async def test_a_fallback_that_sees_answers_instead(served: Served) -> None:
    blind = next(n for n, (dialect, _) in enumerate(served.servers) if not has(dialect, "images"))
    sees = next(n for n, (dialect, _) in enumerate(served.servers) if has(dialect, "images"))
    fallback = {"provider": f"p{sees}", "model_name": MODEL}
    one = {"id": "a", "provider": f"p{blind}", "model_name": MODEL, "fallbacks": [fallback]}
    await served.room.create("instead", models=[one])
    turn = await served.post("instead", IMAGE)
    assert [(each["participant"], each["text"]) for each in turn["answers"]] == [("a", "Seen.")]


async def test_later_turns_queued_turns_and_retries_have_them(served: Served) -> None:
    sees = next(n for n, (dialect, _) in enumerate(served.servers) if has(dialect, "images"))
    dialect, server = served.servers[sees]

    def images() -> int:
        return dialect.sent(server.requests[-1].path, server.requests[-1].body).images

    await served.create("kept", [sees])
    http, path = served.room.http, "/v1/sessions/kept"
    await http.post(f"{path}/pause")
    body = {"content": "What is this?", "attachments": [IMAGE]}
    queued = await http.post(f"{path}/turns", json=body)
    assert queued.json()["status"] == "queued"
    await http.post(f"{path}/resume")
    await served.post("kept", content="And now?")
    assert images() == 1
    retried = await http.post(
        f"{path}/turns/t1/retry", json={"participant": f"m{sees}"}, params={"wait": 30}, timeout=60
    )
    assert retried.json()["status"] == "completed"
    assert images() == 1
    await served.post("kept", IMAGE)
    assert images() == 2
    page = (await http.get(f"{path}/transcript")).json()
    said = [entry for entry in page["entries"] if entry["kind"] == "message"]
    named = [[one["name"] for one in entry["attachments"]] for entry in said]
    assert named == [["a cat.png"], [], ["a cat.png"]]
    events = (await http.get(f"{path}/events")).json()["events"]
    messages = [event["data"]["payload"].get("message") for event in events]
    attached = [message["attachments"] for message in messages if message]
    assert attached[0] == [
        {
            "sha256": attached[0][0]["sha256"],
            "size": len(PICTURE.data),
            "media_type": "image/png",
            "name": "a cat.png",
        }
    ]
    assert (await http.post(f"{path}/replay")).json()["identical"] is True


async def test_as_much_as_may_be_attached_reaches_the_model(served: Served) -> None:
    sees = next(n for n, (dialect, _) in enumerate(served.servers) if has(dialect, "images"))
    dialect, server = served.servers[sees]
    long = await store(served.room, b"x" * LONGEST_FILE, "text/plain", name="x" * 255)
    picture = PICTURE.data + bytes(LONGEST_IMAGE - len(PICTURE.data))
    large = await store(served.room, picture, "image/png", name="東" * 255)
    await served.create("much", [sees])
    turn = await served.post("much", *[large.json()] * (MOST - 2), *[long.json()] * 2)
    assert turn["status"] == "completed"
    sent = dialect.sent(server.requests[-1].path, server.requests[-1].body)
    assert sent.images == MOST - 2
    assert sent.texts[-1][1].count("x" * LONGEST_FILE) == 2


# --- the door ------------------------------------------------------------------------------------


async def store(room: LocalRoom, content: bytes, media_type: str, **query: Any) -> Any:
    headers = {"Content-Type": media_type}
    return await room.http.post("/v1/blobs", content=content, headers=headers, params=query)


async def test_a_stored_file_is_attached_as_it_was_answered(shared: LocalRoom) -> None:
    stored = await store(shared, PICTURE.data, "image/png", name="ä cat.png")
    assert stored.status_code == 201
    reference = stored.json()
    assert reference["name"] == "ä cat.png"
    assert shared.room.blobs.size(reference["sha256"]) == reference["size"] == len(PICTURE.data)
    for query in ({}, {"size": reference["size"]}):
        found = await shared.http.get(f"/v1/blobs/{reference['sha256']}", params=query)
        assert found.content == PICTURE.data
        assert found.headers["content-type"] == "application/octet-stream"
    session = await shared.create("stored", "a")
    path, key = f"/v1/sessions/{session}/turns", {"Idempotency-Key": "one"}
    given = [reference, {"name": "b.png", "media_type": "image/png", "sha256": reference["sha256"]}]
    posts = [
        await shared.http.post(path, json={"content": "Look", "attachments": some}, headers=key)
        for some in (given, given, given[:1], [])
    ]
    assert [post.status_code for post in posts] == [202, 202, 422, 422]
    assert posts[0].json()["turn"] == posts[1].json()["turn"]
    assert "Idempotency-Key" in posts[2].json()["detail"]


def text(content: bytes, name: str = "a.txt", media_type: str = "text/plain") -> dict[str, Any]:
    data = base64.b64encode(content).decode()
    return {"name": name, "media_type": media_type, "data": data}


@pytest.mark.parametrize(
    ("given", "status", "why"),
    [
        ({"name": "a", "media_type": "image/png", "sha256": "0" * 64}, 404, "POST /v1/blobs"),
        ({"name": "a", "media_type": "image/png"}, 422, "either 'sha256'"),
        (text(b"x") | {"sha256": "0" * 64}, 422, "either 'sha256'"),
        (text(b"x") | {"size": 1}, 422, "'size' is for a stored file"),
        (text(b"x") | {"other": 1}, 422, "other"),
        (text(b"x", name=""), 422, "name"),
        (text(b"x", name="a\nb"), 422, "name"),
        (text(b"x", media_type=""), 415, "without a media type"),
        (text(b"x", media_type="application/pdf"), 415, "application/pdf"),
        (text(b"x", media_type="image/svg+xml"), 415, "image/png"),
        (text(b"x", media_type="text/plain; charset=latin-1"), 415, "UTF-8"),
        (text("Grüße".encode("latin-1")), 422, "at byte 2"),
        (text("Grüße".encode("utf-16")), 422, "UTF-8"),
        (text(b"a\0b"), 422, "NUL"),
        (text(b""), 422, "empty"),
        (text(b"x" * (LONGEST_FILE + 1)), 413, str(LONGEST_FILE)),
        (text(PICTURE.data, media_type="image/jpeg"), 422, "no image/jpeg"),
        (text(b"GIF8", media_type="image/gif"), 422, "no image/gif"),
        (text(b"x") | {"data": "not base64!"}, 422, "base64"),
    ],
)
async def test_what_cannot_be_attached(
    shared: LocalRoom, given: dict[str, Any], status: int, why: str
) -> None:
    body = {"content": "Look", "attachments": [given]}
    # Refused before anybody is asked whether there is such a session.
    refused = await shared.http.post("/v1/sessions/nobody/turns", json=body)
    assert why in json.dumps(is_problem(refused, status))


async def test_too_many_attachments(shared: LocalRoom) -> None:
    session = await shared.create("many", "a")
    path = f"/v1/sessions/{session}/turns"
    for count, status in ((MOST, 202), (MOST + 1, 422)):
        attachments = [text(b"x", name=f"{n}.txt") for n in range(count)]
        posted = await shared.http.post(path, json={"content": "x", "attachments": attachments})
        assert posted.status_code == status
        assert ("attachments" in posted.text) is (status == 422)


@pytest.mark.parametrize(
    ("content", "media_type", "status"),
    [
        (PICTURE.data, "application/octet-stream", 415),
        (PICTURE.data, "", 415),
        (PICTURE.data, "image/gif", 422),
        (b"\xff", "text/x-python", 422),
        (b"", "text/plain", 422),
        (PICTURE.data + bytes(LONGEST_IMAGE), "image/png", 413),
        (PICTURE.data + bytes(2 * LONGEST_IMAGE), "image/png", 413),
        (b"x" * (LONGEST_FILE + 1), "text/plain", 413),
    ],
)
async def test_what_cannot_be_stored(
    shared: LocalRoom, content: bytes, media_type: str, status: int
) -> None:
    is_problem(await store(shared, content, media_type), status)


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (PICTURE.data + bytes(LONGEST_IMAGE - len(PICTURE.data)), "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"RIFF1234WEBPVP8 ", "image/webp"),
        (b"GIF89a", "image/gif"),
        (b"{}", "application/json"),
        (b"a,b", "text/csv; charset=UTF-8"),
        (b"int main;", "text/x-c++src"),
        (b"x" * LONGEST_FILE, "Text/Plain"),
    ],
)
async def test_what_can_be_stored(shared: LocalRoom, content: bytes, media_type: str) -> None:
    stored = await store(shared, content, media_type)
    assert stored.status_code == 201, stored.text
    assert stored.json()["media_type"] == media_type.partition(";")[0].lower()
    assert stored.json()["name"] is None
