"""Secrets of HashiCorp Vault, or of a server that speaks its KV API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from events.errors import ConfigError

WITHIN: Final = 10.0  # seconds for one answer


class Vault:
    """A client that signs in when it is first asked, and reads each secret once.

    Where it is and how to sign in stands in the environment: VAULT_ADDR, and VAULT_TOKEN or both
    VAULT_ROLE_ID and VAULT_SECRET_ID; VAULT_NAMESPACE and VAULT_CACERT where they are needed.
    Every failure is a `ConfigError` that says what to do, and holds no secret.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._client: Any = None
        self._read: dict[str, Mapping[str, Any]] = {}

    def field(self, path: str, name: str) -> str:
        """A field of the secret at `path`, which begins with its mount; KV version 1 or 2."""
        if path not in self._read:
            self._read[path] = self._secret(path)
        value = self._read[path].get(name)
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ConfigError(f"the secret has no text {name!r}: check the name after '#'")
        return str(value)

    def close(self) -> None:
        """Give back the connection."""
        if self._client is not None:
            self._client.adapter.close()

    def _secret(self, path: str) -> Mapping[str, Any]:
        try:
            import hvac  # type: ignore[import-untyped]
            import requests
        except ModuleNotFoundError:
            raise ConfigError("it needs the package hvac: install control-room[vault]") from None
        where = urlsplit(self._environment.get("VAULT_ADDR", ""))
        at = where.netloc.rpartition("@")[2]
        try:
            content = self._asked(hvac, path)
        except hvac.exceptions.InvalidPath:
            raise ConfigError(f"Vault at {at} has no secret there: check mount and path") from None
        except (hvac.exceptions.Forbidden, hvac.exceptions.Unauthorized):
            raise ConfigError(
                f"Vault at {at} refuses to show it: check VAULT_TOKEN and what its policy allows"
            ) from None
        except hvac.exceptions.InvalidRequest:
            raise ConfigError(
                f"Vault at {at} refuses the request: check VAULT_ROLE_ID and VAULT_SECRET_ID"
            ) from None
        except (hvac.exceptions.VaultError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"Vault at {at} does not answer as it should ({type(error).__name__}): check that"
                " it is unsealed"
            ) from None
        except (requests.RequestException, OSError) as error:
            raise ConfigError(
                f"Vault cannot be reached at {at} ({type(error).__name__}): check VAULT_ADDR"
            ) from None
        if not isinstance(content, Mapping):
            raise ConfigError(f"Vault at {at} has no secret there: check mount and path")
        return content

    def _asked(self, hvac: Any, path: str) -> Any:
        if self._client is None:
            self._client = self._signed_in(hvac)
        # The same question with which Vault's own command line finds out the version.
        mount = self._client.adapter.get(f"/v1/sys/internal/ui/mounts/{path}")["data"]
        point = mount["path"].strip("/")
        inner = path.removeprefix(point).strip("/")
        if (mount.get("options") or {}).get("version") == "2":
            read = self._client.secrets.kv.v2.read_secret_version
            answer = read(inner, mount_point=point, raise_on_deleted_version=True)
            return answer["data"]["data"]
        return self._client.secrets.kv.v1.read_secret(inner, mount_point=point)["data"]

    def _signed_in(self, hvac: Any) -> Any:
        given = self._environment.get
        if lacking := lacking_settings(self._environment):
            raise ConfigError(f"Vault needs the environment variable {lacking[0]}: set it")
        client = hvac.Client(
            url=given("VAULT_ADDR"),
            # Not None: hvac would look for a token of its own then.
            token=given("VAULT_TOKEN", ""),
            namespace=given("VAULT_NAMESPACE"),
            verify=given("VAULT_CACERT"),
            timeout=WITHIN,
            # A token is for the address that was configured.
            allow_redirects=False,
        )
        if not given("VAULT_TOKEN"):
            client.auth.approle.login(given("VAULT_ROLE_ID"), given("VAULT_SECRET_ID"))
        return client


def lacking_settings(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The environment variables that have to be set before Vault can be asked."""
    lacking = [] if environment.get("VAULT_ADDR") else ["VAULT_ADDR"]
    role = [name for name in ("VAULT_ROLE_ID", "VAULT_SECRET_ID") if not environment.get(name)]
    if role and not environment.get("VAULT_TOKEN"):
        lacking += role if len(role) == 1 else ["VAULT_TOKEN"]
    return tuple(lacking)
