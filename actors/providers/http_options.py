"""What the options of all providers that are asked over HTTP have in common."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from actors.providers.options import Options


def checked_address(url: str) -> str:
    """The address without a slash at its end; `ValueError` where it is none."""
    if "${" in url:
        return url
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("it must be an address such as http://127.0.0.1:8080/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("it must hold no credentials, query or fragment: use api_key, headers")
    return url.rstrip("/")


Address = Annotated[str, AfterValidator(checked_address)]
"""An HTTP address without credentials, and without a slash at its end."""


class HttpOptions(Options):
    """Base of the options of HTTP providers; time-outs are in seconds.

    `headers` are sent with every request. `stream` false asks for whole answers, for which
    `answer_timeout` is the limit in place of those for pieces.
    `context_length` is that of the models where the server does not tell.
    """

    api_key: SecretStr | None = None
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    stream: bool = True
    connect_timeout: float = Field(default=10.0, gt=0)
    first_token_timeout: float = Field(default=120.0, gt=0)
    stall_timeout: float = Field(default=60.0, gt=0)
    answer_timeout: float = Field(default=600.0, gt=0)
    context_length: int | None = Field(default=None, ge=1)

    @property
    def key(self) -> str | None:
        """The key itself, without the line break that a file may end with."""
        return None if self.api_key is None else self.api_key.get_secret_value().strip()
