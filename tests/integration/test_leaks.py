"""Whatever goes wrong, no secret of any type of provider is in anything that is written or sent."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web

from actors.bus import Bus
from actors.providers.config import ProviderSpec, create
from tests.contract.test_every_provider_failure import REFUSALS
from tests.rooms import LocalRoom, config, local_room
from tests.servers.dialects import DIALECTS
from tests.servers.dialects.dialect import MODEL, Dialect, has, name_of
from tests.servers.scripted import CUT, HANG, ScriptedServer, listening
from tests.servers.vault import TOKEN, vault_server
from tests.waiting import eventually

MARK = "marked-"
SECRETS = {
    "KEY": "marked-key-+/=5f3b9c",
    "PART": "marked-part-81+ac=07",
    "TOKEN": "marked-token-d93e15",
}
LINES = "marked-lines-aa\r\nX-More: b"
IN_FILE, IN_VAULT = "marked-file-c08d11", "marked-vault-9e7b42"
VAULT_PATH = "secret/rooms/llm"

Failure = Callable[[Dialect], tuple[tuple[Any, ...], dict[str, Any]]]
"""The steps of a reply, and how it is sent."""


def echo(dialect: Dialect) -> str:
    """What a server may say of a request: all the secrets that are configured for it."""
    keyed = "${KEY}" in str(dialect.config(""))
    given = (SECRETS["KEY"] if keyed else "", SECRETS["PART"], SECRETS["TOKEN"], IN_FILE, IN_VAULT)
    shown = " ".join((*given, *map(quote, given), *(quote(text, safe="") for text in given)))
    return f"you sent {shown}"


def _refused(status: int, why: str = "") -> Failure:
    def failure(dialect: Dialect) -> tuple[tuple[Any, ...], dict[str, Any]]:
        headers = {"Retry-After": IN_FILE, "x-ratelimit-reset-requests": IN_VAULT}
        how = {"status": status, "content_type": "application/json", "headers": headers}
        return (dialect.failure(status, f"{why} {echo(dialect)}"),), how

    return failure


def _streamed(*steps: Any, **how: Any) -> Failure:
    """An answer that begins well."""

    def failure(dialect: Dialect) -> tuple[tuple[Any, ...], dict[str, Any]]:
        begin = (*dialect.begin(), dialect.piece("The "))
        return (*begin, *steps), {"content_type": dialect.content_type, **how}

    return failure


def _item(content: Callable[[Dialect], bytes]) -> Failure:
    """An item of a stream that should not be there."""

    def failure(dialect: Dialect) -> tuple[tuple[Any, ...], dict[str, Any]]:
        prefix = b"data: " if dialect.content_type == "text/event-stream" else b""
        # Only at its end is it known what a whole answer holds.
        rest = (HANG,) if has(dialect, "stream") else ()
        return (prefix + content(dialect) + b"\n\n", *rest), {"content_type": dialect.content_type}

    return failure


def _plain(*steps: Any, **how: Any) -> Failure:
    return lambda dialect: (steps, {"content_type": dialect.content_type, **how})


FAILURES: dict[str, Failure] = {
    **{f"refused with {case[0]}": _refused(case[0]) for case in REFUSALS},
    "too long": _refused(400, "maximum context length exceeded by"),
    "filtered": _refused(400, "content_filter:"),
    "no JSON": lambda d: ((echo(d).encode(),), {"status": 500, "content_type": "text/plain"}),
    "late": _plain(HANG),
    "stalled": _streamed(HANG),
    "ends early": _streamed(),
    "cut": _streamed(CUT),
    "hangs up": _plain(hang_up=True),
    "malformed": _item(lambda d: f'{{"broken": "{echo(d)}'.encode()),
    "not an object": _item(lambda d: f'["{echo(d)}"]'.encode()),
    "an error within": _item(lambda d: d.failure(500, echo(d))),
    "another type": lambda d: ((f"<h1>{echo(d)}</h1>".encode(),), {"content_type": "text/html"}),
    "elsewhere": _plain(
        b"", status=302, headers={"Location": f"http://127.0.0.1:9/{IN_VAULT}?k={IN_FILE}"}
    ),
}


class Server(ScriptedServer):
    """Answers below a path that is a secret itself; once `broken`, it echoes what it is sent."""

    def __init__(self, dialect: Dialect) -> None:
        prefix = f"/{SECRETS['PART']}"
        super().__init__({prefix + path: page for path, page in dialect.pages().items()})
        self.broken = False
        self._echo = echo(dialect)

    async def page(self, request: web.Request) -> web.Response:
        if not self.broken:
            return await super().page(request)
        said = f"{request.url} {dict(request.headers)} {self._echo}"
        content = {"error": {"message": said, "type": self._echo}}
        return web.json_response(content, status=500)


def spec(dialect: Dialect, id: str, server: Server, file: Path) -> ProviderSpec:
    """A provider with a secret of each kind at each place."""
    own = dialect.config(f"{server.url}/${{PART}}")
    config = {
        **own,
        "headers": {
            **own.get("headers", {}),
            "X-Env": "Bearer ${TOKEN}",
            "X-File": f"${{file:{file}}}",
            "X-Vault": f"${{vault:{VAULT_PATH}#password}}",
        },
        "first_token_timeout": 0.3,
        "stall_timeout": 0.3,
        "answer_timeout": 0.3,
        "tries": 2,
        "breaker_failures": 3,
        "breaker_pause": 0.001,
    }
    return ProviderSpec(id=id, type=dialect.type, config=config)


@asynccontextmanager
async def room_of_all(folder: Path) -> AsyncIterator[tuple[LocalRoom, dict[str, Server]]]:
    """A room with every type of provider, and the server of each by its id."""
    file = folder / "key"
    file.write_text(f"{IN_FILE}\n")
    async with AsyncExitStack() as stack:
        vault = await stack.enter_async_context(vault_server())
        vault.secrets[VAULT_PATH] = {"password": IN_VAULT}
        environment = {**SECRETS, "LINES": LINES, "VAULT_ADDR": vault.url, "VAULT_TOKEN": TOKEN}
        servers: dict[str, Server] = {}
        specs = [
            ProviderSpec(
                id="unmade", type="openai", config={"base_url": "http://x", "api_key": "${LINES}"}
            ),
            ProviderSpec(id="unaddressed", type="openai", config={"base_url": "${KEY}"}),
        ]
        for number, dialect in enumerate(DIALECTS):
            id = f"{dialect.type}-{number}"
            servers[id] = Server(dialect)
            await stack.enter_async_context(listening(servers[id]))
            specs.append(spec(dialect, id, servers[id], file))
        room = await stack.enter_async_context(
            local_room(
                folder / "room", *specs, environment=environment, max_participants=len(DIALECTS)
            )
        )
        yield room, servers


@contextmanager
def logged_to(path: Path) -> Iterator[None]:
    """All that any logger says, as a process writes it, tracebacks and all."""
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()


async def test_no_secret_is_in_anything_that_is_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    # What the servers of this test say of their own; a path is what they see of a secret.
    caplog.set_level(logging.ERROR, logger="aiohttp.access")
    (tmp_path / "room").mkdir()
    written: dict[str, str] = {}
    with logged_to(tmp_path / "room" / "room.log"):
        async with room_of_all(tmp_path) as (room, servers):
            passed: list[str] = []
            bus = await Bus.connect(room.nats.url, name="listener")
            await bus.subscribe(">", lambda msg: passed.append(f"{msg.subject} {msg.data!r}"))
            seats = [
                {"id": f"m{n}", "provider": id, "model_name": MODEL, "role": "one"}
                for n, id in enumerate(servers)
            ]

            async def created() -> bool:
                # The first look at so many providers takes longer than this room's API waits.
                again = {"Idempotency-Key": "one-session"}
                asked = config("s1", models=seats)
                answer = await room.http.post("/v1/sessions", json=asked, headers=again)
                written["creation"] = answer.text
                return answer.status_code in (200, 201)

            await eventually(created, within=20, what="the session")
            async with room.following("s1") as watcher:
                for name, failure in FAILURES.items():
                    for server, dialect in zip(servers.values(), DIALECTS, strict=True):
                        steps, how = failure(dialect)
                        server.replies.clear()
                        server.reply(*steps, **how)
                    answer = await room.post("s1", f"Now: {name}", wait=30)
                    assert answer["status"] == "failed", (name, answer)
                    written[f"answer to {name}"] = str(answer)
                for server in servers.values():
                    server.broken = True
                for path in ("providers", "models", "sessions/s1", "sessions/s1/transcript"):
                    written[path] = (await room.http.get(f"/v1/{path}")).text
                for _ in FAILURES:
                    await watcher.until("turn.failed")
                written["events"] = (await room.http.get("/v1/sessions/s1/events?limit=1000")).text
                events = json.loads(written["events"])["events"]
                written["stream"] = f"{watcher.events} {watcher.deltas}"
            written["health"] = str(await room.models.health())
            written["messages"] = "\n".join(passed)
            await bus.close()
    written["log"] = caplog.text + "\n".join(str(vars(record)) for record in caplog.records)
    written["output"] = "".join(capfd.readouterr())
    for file in (tmp_path / "room").rglob("*"):
        if file.is_file():
            written[str(file)] = file.read_bytes().decode("latin-1")

    kinds = [event["type"] for event in events]
    assert kinds.count("model.failed") == len(FAILURES) * len(DIALECTS)
    assert "[secret]" in written["events"]
    assert "delta" in written["messages"]
    leaks = {
        where: text[max(0, at.start() - 200) : at.end() + 60]
        for where, text in written.items()
        if (at := re.search(MARK, text))
    }
    assert leaks == {}


@pytest.mark.parametrize("dialect", DIALECTS, ids=name_of)
async def test_what_is_configured_is_shown_without_secrets(
    dialect: Dialect, tmp_path: Path
) -> None:
    own = dialect.config("http://127.0.0.1:9/${PART}")
    config = {**own, "headers": {**own.get("headers", {}), "X": "${TOKEN}"}}
    spec = ProviderSpec(id="a", type=dialect.type, config=config)
    provider = await asyncio.to_thread(create, spec, SECRETS)
    options = vars(provider)["_settings"]
    shown = f"{spec!r} {spec.model_dump_json()} {provider!r} {options!r} {options}"
    await provider.close()
    assert SECRETS["KEY"] not in shown
    assert SECRETS["TOKEN"] not in shown
