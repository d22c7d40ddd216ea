"""Tokens of Microsoft Entra ID for a service principal, fetched when needed and kept.

This is one POST of the client-credentials flow; `azure-identity` would bring three packages for it,
and a second HTTP stack.
"""

from __future__ import annotations

import asyncio
import logging
from time import monotonic
from typing import Final
from urllib.parse import quote

import orjson
from pydantic import ConfigDict, Field, SecretStr

from actors.providers.http_client import HttpClient, read
from actors.providers.http_errors import Secrets, refusal_of, to_error
from actors.providers.http_options import Address
from events.errors import AuthenticationFailed, BadResponse, ProviderError, ProviderUnavailable
from events.values import Value

_log = logging.getLogger(__name__)

RENEWED_BEFORE: Final = 300.0  # seconds before a token ends
RENEWAL_PAUSE: Final = 30.0  # seconds after one that failed
TOKEN_WITHIN: Final = 20.0  # seconds
LONGEST_TOKEN: Final = 64 * 1024  # bytes of the whole reply


class EntraOptions(Value):
    """A service principal. In a national cloud `authority` and `scope` are others."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    tenant_id: str = Field(min_length=1)
    client_id: str = Field(min_length=1)
    client_secret: SecretStr
    authority: Address = "https://login.microsoftonline.com"
    scope: str = "https://cognitiveservices.azure.com/.default"


class EntraToken:
    """The token of one service principal. `secrets` learns whatever must not be told."""

    def __init__(
        self, provider: str, options: EntraOptions, secrets: Secrets, *, connect_timeout: float
    ) -> None:
        self._provider = provider
        self._options = options
        self._secret = options.client_secret.get_secret_value().strip()
        self._http = HttpClient(provider, options.authority, {}, connect_timeout=connect_timeout)
        self._hidden = (secrets, self._http.secrets)
        self._hide(self._secret)
        self._token = ""
        self._ends = self._renew_at = 0.0
        self._fetching: asyncio.Task[ProviderError | None] | None = None

    async def bearer(self) -> str:
        """A token that is valid now, fetched once for all who wait.

        Nobody waits while there is one: it is renewed before its end, beside the calls. Raises
        `AuthenticationFailed` where Entra ID gives none, and the errors of a provider that cannot
        be reached; not while an earlier token is still valid.
        """
        now = monotonic()
        if now < self._ends:
            if now >= self._renew_at:
                self._renewal()
            return self._token
        if error := await asyncio.shield(self._renewal()):
            raise error
        return self._token

    def _renewal(self) -> asyncio.Task[ProviderError | None]:
        """The request for a token that is under way."""
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(self._renew(), name="token of Entra ID")
        return self._fetching

    async def _renew(self) -> ProviderError | None:
        try:
            await self._fetch(monotonic())
        except ProviderError as error:
            _log.warning("%s", error)
            self._renew_at = monotonic() + RENEWAL_PAUSE
            return error
        return None

    def forget(self) -> None:
        """The service did not take the token: fetch another one next time."""
        self._ends = self._renew_at = 0.0

    async def close(self) -> None:
        """Give back connections."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])
        await self._http.close()

    async def _fetch(self, now: float) -> None:
        fields = {
            "grant_type": "client_credentials",
            "client_id": self._options.client_id,
            "client_secret": self._secret,
            "scope": self._options.scope,
        }
        path = f"/{quote(self._options.tenant_id, safe='')}/oauth2/v2.0/token"
        async with self._http.guarded(), asyncio.timeout(TOKEN_WITHIN):
            response = await self._http.post_form(path, fields)
            async with response:
                body = await read(response.content, LONGEST_TOKEN)
        try:
            said = orjson.loads(body)
            if response.status != 200:
                raise self._refused(response.status, said)
            lasts = float(said["expires_in"])
            self._token = str(said["access_token"])
        except (ValueError, TypeError, KeyError, AttributeError):
            raise self._no_token(response.status) from None
        self._hide(self._token)
        self._ends = now + lasts
        self._renew_at = now + max(lasts - RENEWED_BEFORE, lasts / 2)

    def _hide(self, secret: str) -> None:
        for secrets in self._hidden:
            secrets.add(secret)

    def _refused(self, status: int, said: dict[str, str]) -> ProviderError:
        content = {"code": said["error"], "message": said.get("error_description", said["error"])}
        refusal = refusal_of(content, status, {}, self._http.secrets)
        if status in (400, 401, 403):
            return AuthenticationFailed(
                f"provider {self._provider!r} gets no token from Entra ID ({status}): check"
                f" tenant_id, client_id, client_secret and scope. It says: {refusal.message}"
            )
        return to_error(refusal, self._provider, "")

    def _no_token(self, status: int) -> ProviderError:
        if status >= 500:
            return ProviderUnavailable(
                f"provider {self._provider!r} gets no token from Entra ID ({status}): ask later"
            )
        return BadResponse(
            f"provider {self._provider!r} gets something else than a token from Entra ID"
            f" ({status}): check authority and tenant_id"
        )
