"""The proxy of the environment: its address, and apart from it the credentials for it."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where requests go instead. `address` is a URL that holds no credentials."""

    address: str
    user: str = ""
    password: str = field(default="", repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """What goes to the proxy with each request; aiohttp renames it to Proxy-Authorization."""
        return {"Authorization": f"Basic {self._encoded}"} if self.user else {}

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no error may hold, in the forms in which it may come back."""
        if not self.password:
            return ()
        both = (self.user, self.password)
        quoted = (quote(text, safe="") for text in both)
        return (self.password, ":".join(both), ":".join(quoted), self._encoded)

    @property
    def _encoded(self) -> str:
        return b64encode(f"{self.user}:{self.password}".encode()).decode()


def proxy_for(url: str) -> Proxy | None:
    """The proxy for that address by the environment; None where there is none."""
    address = urlsplit(url)
    found = getproxies().get(address.scheme)
    if not found or proxy_bypass(address.netloc):
        return None
    scheme, _, rest = found.partition("://") if "://" in found else ("http", "", found)
    # By hand, since a password may hold what no URL should, and errors of parsers tell it.
    credentials, _, host = rest.rpartition("@")
    user, _, password = credentials.partition(":")
    return Proxy(f"{scheme}://{host}", unquote(user), unquote(password))
