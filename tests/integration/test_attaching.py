"""Files that are attached to messages on the command line, and by the client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from api.cli.files import read_file
from api.client import RoomClient, RoomError
from api.file_types import LONGEST_FILE, LONGEST_IMAGE
from events.errors import ConfigError
from tests.commands import QUICK, environment, run
from tests.rooms import LocalRoom, local_room
from tests.servers.dialects.dialect import PICTURE
from tests.terminal import CTRL_D, terminal


@pytest.fixture(scope="module")
async def room(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalRoom]:
    async with local_room(tmp_path_factory.mktemp("room"), QUICK) as room:
        yield room


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    path = tmp_path / "my notes.md"
    path.write_text("# Grüße\n")
    return path


@pytest.fixture
def cat(tmp_path: Path) -> Path:
    path = tmp_path / "cat.dat"
    path.write_bytes(PICTURE.data)
    return path


async def test_a_message_with_a_text(room: LocalRoom, notes: Path) -> None:
    more = ("--attach", str(notes), "--attach", str(notes))
    await room.create("noted", "a")
    done = await run(room, "chat", "noted", "-m", "What is this?", *more)
    assert done.code == 0, done.err
    shown = await run(room, "show", "noted")
    attached = f"attached: my notes.md (text/markdown, {notes.stat().st_size} bytes)"
    assert shown.out.count(attached) == 2
    listed = await run(room, "events", "noted")
    assert "What is this? [my notes.md] [my notes.md]" in listed.out
    again = await run(room, "chat", "noted", typed="")
    assert "What is this? [my notes.md] [my notes.md]" in again.out


async def test_an_image_that_a_model_is_not_shown_is_said(room: LocalRoom, cat: Path) -> None:
    await room.create("blind", "a")
    done = await run(room, "chat", "blind", "-m", "What is this?", "--attach", str(cat))
    assert done.code == 0, done.err
    assert "a: images left out" in done.err
    shown = await run(room, "show", "blind")
    assert "images left out:" in shown.out
    listed = await run(room, "events", "blind")
    assert "images left out: 1" in listed.out


async def test_a_file_that_is_not_taken_begins_no_session(room: LocalRoom, tmp_path: Path) -> None:
    for name, content in (("a.pdf", b"%PDF\xff\xfe"), ("empty.txt", b"")):
        path = tmp_path / name
        path.write_bytes(content)
        done = await run(room, "chat", "never", "--new", "-m", "Hi", "--attach", str(path))
        assert done.code in (1, 2)
        assert name in done.err
    assert (await room.http.get("/v1/sessions/never")).status_code == 404
    done = await run(room, "chat", "--new", "--attach", "a.pdf")
    assert "add -m TEXT" in done.err


async def test_attaching_in_a_conversation(room: LocalRoom, notes: Path) -> None:
    await room.create("talk", "a")
    async with terminal(
        "-m", "api.cli", "chat", "talk", columns=120, environment=environment(room)
    ) as shown:
        await shown.expect("you> ")
        shown.type("/attach\r")
        await shown.expect("say which file")
        shown.type(f"/attach {notes.parent}/none.txt\r")
        await shown.expect("none.txt cannot be read")
        shown.type(f"/attach {notes}\r")
        await shown.expect("my notes.md goes with your next message")
        for number in ("1", "2"):
            shown.type(f"Message {number}\r")
            await shown.expect(f"turn t{number} completed")
            await shown.expect("you> ")
        shown.type(CTRL_D)
        assert await shown.ended() == 0
    entries = (await room.http.get("/v1/sessions/talk/transcript")).json()["entries"]
    said = [entry["attachments"] for entry in entries if entry["kind"] == "message"]
    assert [[one["name"] for one in each] for each in said] == [["my notes.md"], []]


async def test_the_client_attaches_what_it_stored(room: LocalRoom) -> None:
    async with RoomClient(room.url) as client:
        await room.create("client", "a")
        file = await client.store_file("a b.json", b"{}", "application/json")
        turn = await client.post_turn("client", "What is this?", attachments=[file], wait=30)
        assert turn["status"] == "completed"
        [entry] = [one async for one in client.entries("client") if one["kind"] == "message"]
        assert entry["attachments"] == [file]
        with pytest.raises(RoomError) as refused:
            await client.store_file("a.bin", b"\0", "application/octet-stream")
        assert refused.value.status == 415


# --- what a file is ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("cat.txt", PICTURE.data, "image/png"),
        ("a.py", b"print()", "text/x-python"),
        ("a.json", b"{}", "application/json"),
        ("Makefile", b"all:", "text/plain"),
        ("a.pdf", b"only its name", "text/plain"),
        ("a.svg", b"<svg/>", "text/plain"),
        ("a.csv", "ä,ö".encode(), "text/csv"),
    ],
)
def test_what_a_file_is(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert read_file(f"{tmp_path}/{name}") == (name, content, expected)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\xff\xfe", "no text in UTF-8 and no image that is taken"),
        ("ä".encode() * LONGEST_FILE, "too large: text/plain may have"),
        (b"x" + "ä".encode() * LONGEST_IMAGE, "too large: text/plain may have"),
        (PICTURE.data + bytes(LONGEST_IMAGE), "too large: image/png may have"),
    ],
)
def test_what_is_no_file_to_attach(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "a.dat"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=why):
        read_file(str(path))


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    for path in (str(tmp_path), "~nobody-of-that-name/a", "a\0b"):
        with pytest.raises(ConfigError, match="cannot be read"):
            read_file(path)
