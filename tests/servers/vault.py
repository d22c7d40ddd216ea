"""A server that speaks Vault's API: tokens, AppRole, and KV of version 1 and 2."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from aiohttp import web

from tests.servers.web import served

TOKEN: Final = "marked-vault-token-3c1e"
ROLE, SECRET_ID = "a-role", "marked-secret-id-88d1"
ROLE_TOKEN: Final = "marked-role-token-52aa"


class VaultServer:
    """`secrets` are fields by whole path; `mounts` the version of each mount."""

    def __init__(self) -> None:
        self.url = ""
        self.mounts = {"secret": 2, "team/kv": 2, "old": 1}
        self.secrets: dict[str, dict[str, Any]] = {}
        self.asked_for: list[str] = []
        self.namespaces: list[str | None] = []
        self.sealed = False

    async def answer(self, request: web.Request) -> web.Response:
        """Take a request."""
        self.asked_for.append(request.path)
        self.namespaces.append(request.headers.get("X-Vault-Namespace"))
        if self.sealed:
            return _errors(503, "Vault is sealed")
        if request.path == "/v1/auth/approle/login":
            given = await request.json()
            if given != {"role_id": ROLE, "secret_id": SECRET_ID}:
                return _errors(400, "invalid role or secret ID")
            return web.json_response({"auth": {"client_token": ROLE_TOKEN}})
        if request.headers.get("X-Vault-Token") not in (TOKEN, ROLE_TOKEN):
            return _errors(403, "permission denied")
        assert request.method == "GET"
        path = request.path.removeprefix("/v1/")
        wanted = path.removeprefix("sys/internal/ui/mounts/")
        mount = next((name for name in self.mounts if wanted.startswith(f"{name}/")), None)
        if mount is None:
            return _errors(403, "preflight capability check returned 403")
        return self._mount(mount) if wanted != path else self._read(mount, path)

    def _mount(self, mount: str) -> web.Response:
        options = {"version": "2"} if self.mounts[mount] == 2 else None
        return web.json_response({"data": {"path": f"{mount}/", "type": "kv", "options": options}})

    def _read(self, mount: str, path: str) -> web.Response:
        versioned = self.mounts[mount] == 2
        inner = path.removeprefix(f"{mount}/")
        if versioned and not inner.startswith("data/"):
            return _errors(404, "invalid path for a versioned K/V secrets engine")
        fields = self.secrets.get(f"{mount}/{inner.removeprefix('data/') if versioned else inner}")
        if fields is None:
            return _errors(404)
        if versioned:
            return web.json_response({"data": {"data": fields, "metadata": {"version": 1}}})
        return web.json_response({"data": fields})


def _errors(status: int, *messages: str) -> web.Response:
    return web.json_response({"errors": list(messages)}, status=status)


@asynccontextmanager
async def vault_server() -> AsyncIterator[VaultServer]:
    """One on a port of its own, on the loop of the test."""
    server = VaultServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    async with served(app) as server.url:
        yield server
