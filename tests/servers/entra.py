"""The token endpoint of Microsoft Entra ID, for one service principal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from tests.servers.web import served

TENANT, CLIENT, SECRET = "a-tenant", "a-client", "marked-client-secret-44d2"


@dataclass
class TokenServer:
    """Gives `token-1`, `token-2` and so on, each valid for `lifetime` seconds."""

    lifetime: int = 3599
    down: bool = False
    silent: bool = False
    url: str = ""
    forms: list[dict[str, str]] = field(default_factory=list)

    async def post(self, request: web.Request) -> web.Response:
        """Take a request for a token."""
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.forms.append(form)
        if self.silent:
            await asyncio.Event().wait()
        if self.down:
            return web.Response(text="oops", status=503)
        if request.path != f"/{TENANT}/oauth2/v2.0/token" or form["client_secret"] != SECRET:
            said = f"AADSTS7000215: Invalid client secret {form['client_secret']} provided."
            return web.json_response(
                {"error": "invalid_client", "error_description": said}, status=401
            )
        return web.json_response(
            {
                "token_type": "Bearer",
                "expires_in": self.lifetime,
                "ext_expires_in": self.lifetime,
                "access_token": f"token-{len(self.forms)}",
            }
        )


@asynccontextmanager
async def token_server() -> AsyncIterator[TokenServer]:
    """A server on a port of its own, on the loop of the test."""
    server = TokenServer()
    app = web.Application()
    app.router.add_post("/{path:.*}", server.post)
    async with served(app) as server.url:
        yield server
