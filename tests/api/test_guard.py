"""Who may talk to the room, and under which name."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from tests.rooms import LocalRoom, config, local_room

TOKEN = "a-secret~with/odd+characters=="


@pytest.fixture(scope="module")
async def locked(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalRoom]:
    """A room with a token, a name of its own and a friendly page elsewhere."""
    folder: Path = tmp_path_factory.mktemp("locked")
    async with local_room(
        folder,
        token=SecretStr(TOKEN),
        host="0.0.0.0",
        allowed_hosts=("room.example.org",),
        allowed_origins=("https://studio.example.org",),
    ) as room:
        yield room


async def stranger(room: LocalRoom, path: str, **headers: str) -> httpx2.Response:
    async with httpx2.AsyncClient(base_url=room.url, trust_env=False) as client:
        return await client.get(path, headers=headers)


# --- Host --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8000", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:8000", 200),
        ("evil.example.org", 403),
        ("localhost.evil.example.org", 403),
        ("127.0.0.1.nip.io", 403),
        ("127.0.0.2", 403),
        ("192.168.1.5", 403),
        ("", 403),
        ("localhost:8000@evil.example.org", 403),
        ("localhost/..", 403),
    ],
)
async def test_a_local_room_is_reached_under_local_names(
    shared: LocalRoom, host: str, status: int
) -> None:
    answer = await shared.http.get("/healthz", headers={"Host": host})
    assert answer.status_code == status
    if status != 200:
        assert "CONTROL_ROOM_ALLOWED_HOSTS" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("room.example.org", 200),
        ("Room.Example.Org:443", 200),
        ("192.168.1.5:8000", 200),
        ("[fe80::1]", 200),
        ("other.example.org", 403),
    ],
)
async def test_an_open_room_is_reached_under_its_names_and_any_address(
    locked: LocalRoom, host: str, status: int
) -> None:
    answer = await locked.http.get("/v1/sessions", headers={"Host": host})
    assert answer.status_code == status


# --- Origin ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 201),
        ("own", 201),
        ("https://evil.example.org", 403),
        ("http://localhost:1", 403),
        ("null", 403),
        ("", 403),
    ],
)
async def test_other_pages_change_nothing(
    shared: LocalRoom, origin: str | None, status: int
) -> None:
    own = shared.url if origin == "own" else origin
    headers = {} if own is None else {"Origin": own}
    body = config(f"origin-{abs(hash(origin))}", "a")
    answer = await shared.http.post("/v1/sessions", json=body, headers=headers)
    assert answer.status_code == status, answer.text
    read = await shared.http.get("/v1/sessions", headers=headers)
    assert read.status_code == 200
    assert "access-control-allow-origin" not in read.headers


async def test_a_friendly_page_may_use_the_room(locked: LocalRoom) -> None:
    origin = {"Origin": "https://studio.example.org"}
    preflight = await locked.http.options(
        "/v1/sessions",
        headers=origin
        | {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
        },
    )
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == origin["Origin"]
    answer = await locked.http.post("/v1/sessions", json=config("friend", "a"), headers=origin)
    assert answer.status_code == 201
    assert answer.headers["access-control-allow-origin"] == origin["Origin"]
    refused = await stranger(locked, "/v1/sessions", **origin)
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == origin["Origin"]


async def test_pages_of_others_open_no_stream(shared: LocalRoom) -> None:
    session = await shared.create("pages", "a")
    for origin, status in (("https://evil.example.org", 403), ("null", 403)):
        with pytest.raises(InvalidStatus) as refused:
            async with connect(shared.stream_url(session), origin=origin, proxy=None):  # type: ignore[arg-type]
                pass
        assert refused.value.response.status_code == status
        assert b"/problems/forbidden" in (refused.value.response.body or b"")
    own: Any = shared.url
    async with connect(shared.stream_url(session), origin=own, proxy=None) as socket:
        assert "session.created" in str(await socket.recv())


# --- token -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer wrong",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Basic {TOKEN}",
        TOKEN,
        "Bearer \xff",
    ],
)
async def test_without_the_token_nothing_is_told(locked: LocalRoom, authorization: str) -> None:
    headers = {b"Authorization": authorization.encode("latin-1")} if authorization else {}
    async with httpx2.AsyncClient(base_url=locked.url, trust_env=False) as client:
        for method, path in (("GET", "/v1/sessions"), ("POST", "/v1/sessions"), ("GET", "/x")):
            answer = await client.request(method, path, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert "CONTROL_ROOM_TOKEN" in answer.json()["detail"]
            assert TOKEN not in answer.text


async def test_with_the_token_everything_works(locked: LocalRoom) -> None:
    session = await locked.create("tokened", "a")
    assert (await locked.post(session, wait=20))["status"] == "completed"
    (created, *_) = await locked.store.read(session)
    assert created.by == "token"
    for scheme in ("Bearer", "bearer", "BEARER"):
        headers = {"Authorization": f"{scheme} {TOKEN}"}
        assert (await stranger(locked, "/v1/sessions", **headers)).status_code == 200


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/docs", "/openapi.json"])
async def test_what_tells_nothing_needs_no_token(locked: LocalRoom, path: str) -> None:
    assert (await stranger(locked, path)).status_code == 200


async def test_a_token_in_the_address_is_not_taken(locked: LocalRoom) -> None:
    answer = await stranger(locked, f"/v1/sessions?token={TOKEN}")
    assert answer.status_code == 401


async def test_a_stream_takes_the_token_as_header_or_as_sub_protocol(locked: LocalRoom) -> None:
    session = await locked.create("streamed", "a")
    url = locked.stream_url(session)
    encoded = base64.urlsafe_b64encode(TOKEN.encode()).decode().rstrip("=")
    browser = [Subprotocol("control-room.v1"), Subprotocol(f"bearer.{encoded}")]
    async with connect(url, subprotocols=browser, proxy=None) as socket:
        assert socket.subprotocol == "control-room.v1"
        assert "session.created" in str(await socket.recv())
    header = {"Authorization": f"Bearer {TOKEN}"}
    async with connect(url, additional_headers=header, proxy=None) as socket:
        assert "session.created" in str(await socket.recv())
    for offers in ([], ["bearer.AAAA"], ["bearer."], ["bearer.%%%"]):
        with pytest.raises(InvalidStatus) as refused:
            async with connect(
                url, subprotocols=[Subprotocol(offer) for offer in offers] or None, proxy=None
            ):
                pass
        assert refused.value.response.status_code in (400, 401)


async def test_who_asks_is_told_by_the_token(tmp_path: Path) -> None:
    tokens = {"ana": SecretStr("anas-token"), "ben": SecretStr("bens-token")}
    async with local_room(tmp_path, token=SecretStr(TOKEN), tokens=tokens) as room:
        given = {"ana": "anas-token", "ben": "bens-token", "all": TOKEN}
        for session, token in given.items():
            headers = {"Authorization": f"Bearer {token}"}
            body = config(session, "a")
            created = await room.http.post("/v1/sessions", json=body, headers=headers)
            assert created.status_code == 201
            message, turns = {"content": "Hello"}, f"/v1/sessions/{session}/turns"
            for query in ("", "?wait=20"):  # the short way, and that of the routes
                posted = await room.http.post(turns + query, json=message, headers=headers)
                assert posted.is_success
            commanded = [event for event in await room.store.read(session) if event.command]
            assert len(commanded) == 3
            principal = "token" if session == "all" else f"token:{session}"
            assert {event.by for event in commanded} == {principal}
        for wrong in ("anas-tokenX", "ana", "anas-token,bens-token"):
            answer = await stranger(room, "/v1/sessions", Authorization=f"Bearer {wrong}")
            assert answer.status_code == 401


@pytest.mark.parametrize("token", ["run-s1.t1.1." + "0" * 64, "run-", "run-of-the-mill"])
async def test_a_token_of_a_run_that_is_not_this_rooms_is_nobodys(
    tmp_path: Path, token: str
) -> None:
    async with local_room(tmp_path) as room:
        given = {"Authorization": f"Bearer {token}"}
        for path in ("/v1/sessions", "/openai/v1/models"):
            assert (await stranger(room, path)).status_code == 200
            refused = await stranger(room, path, **given)
            assert refused.status_code == 401
            assert "the token of that run" in refused.text
        assert (await stranger(room, "/healthz", **given)).status_code == 200
        with pytest.raises(InvalidStatus) as closed:
            async with connect(room.stream_url("s1"), additional_headers=given, proxy=None):
                pass
        assert closed.value.response.status_code == 401
    async with local_room(tmp_path / "own", token=SecretStr(token)) as room:
        assert (await stranger(room, "/v1/sessions", **given)).status_code == 200


async def test_named_tokens_alone_lock_a_room(tmp_path: Path) -> None:
    async with local_room(tmp_path, tokens={"ana": SecretStr("anas-token")}) as room:
        assert (await stranger(room, "/v1/sessions")).status_code == 401
        assert (await stranger(room, "/healthz")).status_code == 200
        given = {"Authorization": "Bearer anas-token"}
        assert (await stranger(room, "/v1/sessions", **given)).status_code == 200
