"""The settings of a room, and the one place that reads the environment for them.

Each setting is the environment variable `CONTROL_ROOM_<NAME>`, or a line of that name in the file
`.env` of the data directory; the environment wins. Secrets show as stars wherever settings are
printed.
"""

from __future__ import annotations

import difflib
import hashlib
import ipaddress
import logging
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from dotenv import dotenv_values
from platformdirs import user_data_path
from pydantic import (
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from events.account import DailyBudgets
from events.errors import ConfigError
from events.faults import faults

PREFIX = "CONTROL_ROOM_"
LOCAL = "local"
"""The principal of a room that asks for no token."""
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
"""The `Host` names under which a room is reached on its own machine."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # what a bearer token may consist of (RFC 6750)
_log = logging.getLogger(__name__)

Names = Annotated[tuple[str, ...], NoDecode]


def default_home() -> Path:
    """The data directory where none is named: the platform's folder for a user's data."""
    return user_data_path("control-room", appauthor=False)


class Settings(BaseSettings):
    """What a room is told before it starts. Made by `load_settings`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True
    )

    home: Path = Field(
        default_factory=default_home,
        description="data directory; default: the platform's folder for a user's data",
    )
    host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="address to listen on; beyond loopback a token is required",
    )
    port: int = Field(default=8000, ge=0, le=65_535, description="port of the API (0: any free)")
    providers: Path | None = Field(
        default=None,
        description="provider file, JSON or YAML; default: providers.json in the data directory"
        " where there is one",
    )
    tools: Path | None = Field(
        default=None,
        description="file of tool servers, JSON or YAML, as other programs have it under"
        " mcpServers; default: tools.json in the data directory where there is one",
    )
    store: SecretStr = Field(
        default=SecretStr(""),
        description="event store, sqlite:///PATH or postgresql://USER@HOST/DATABASE; default:"
        " room.db in the data directory",
    )
    nats: SecretStr = Field(
        default=SecretStr(""),
        description="NATS server, nats://TOKEN@HOST:PORT, several of a cluster with commas between"
        " them; default: the bundled server",
    )
    nats_port: int = Field(
        default=0, ge=0, le=65_535, description="port of the bundled NATS server (0: any free)"
    )
    ray: str = Field(default="", description="address of a Ray cluster; default: Ray here")
    token: SecretStr = Field(
        default=SecretStr(""),
        description="bearer token that every client has to send; required beyond loopback",
    )
    tokens: Annotated[dict[str, SecretStr], NoDecode] = Field(
        default_factory=dict,
        description="named bearer tokens, NAME=TOKEN with commas between them: whoever sends one is"
        " the principal token:NAME, in the log and for daily budgets",
    )
    allowed_hosts: Names = Field(
        default=(),
        description="further names under which the room is reached, with commas between them, such"
        " as room.example.org",
    )
    allowed_origins: Names = Field(
        default=(),
        description="web pages of other origins that may use the API, with commas between them,"
        " such as https://studio.example.org",
    )
    scripts: Path | None = Field(
        default=None,
        description="folder of routers written as scripts; default: scripts in the data directory",
    )
    max_participants: int = Field(default=5, ge=1, le=64, description="most models in one session")
    models_per_process: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="models that share one host process; more than 1 saves memory, and one"
        " process's end then takes several models along until they are back",
    )
    daily_budget: Annotated[DailyBudgets | None, NoDecode] = Field(
        default=None,
        description="the most that each principal may spend in a day (UTC), in US dollars, and"
        " other amounts for some, such as 5,token:ana=20; models without a known price are refused"
        " then",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least severity that is logged"
    )

    _environment: dict[str, str] = PrivateAttr(default_factory=dict)

    @field_validator("home", "providers", "tools", "scripts", mode="after")
    @classmethod
    def _whole(cls, path: Path | None) -> Path | None:
        return path.expanduser().absolute() if path is not None else None

    @field_validator("host")
    @classmethod
    def _bare(cls, host: str) -> str:
        return host.removeprefix("[").removesuffix("]").lower()

    @field_validator("store")
    @classmethod
    def _known_store(cls, store: SecretStr) -> SecretStr:
        url = store.get_secret_value()
        if url and not url.startswith(("sqlite:///", "postgresql://", "postgres://", "memory:")):
            raise ValueError("write it as sqlite:///PATH or postgresql://USER@HOST/DATABASE")
        return store

    @field_validator("allowed_hosts", "allowed_origins", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if not re.fullmatch(r"[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]", host):
                raise ValueError(f"{host!r} is not a host name: leave out scheme, port and path")
        return tuple(host.lower() for host in hosts)

    @field_validator("allowed_origins")
    @classmethod
    def _origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not re.fullmatch(r"https?://[^/\s?#@]+", origin):
                raise ValueError(f"{origin!r} is not an origin: write it like https://example.org")
        return tuple(origin.lower() for origin in origins)

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @field_validator("tokens", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        named: dict[str, str] = {}
        for number, part in enumerate(filter(None, map(str.strip, value.split(","))), 1):
            name, _, token = part.partition("=")
            # What is no name may be a token, and is not told.
            if not _NAME.fullmatch(name) or not token:
                raise ValueError(
                    f"part {number} is not NAME=TOKEN, with a name of letters, digits, - and _"
                )
            if name in named or token in named.values():
                raise ValueError(f"part {number} has the name or the token of another")
            named[name] = token
        return named

    @field_validator("token")
    @classmethod
    def _sendable(cls, token: SecretStr) -> SecretStr:
        if (text := token.get_secret_value()) and not _TOKEN.fullmatch(text):
            raise ValueError("a token consists of letters, digits and - . _ ~ + / only")
        return token

    @field_validator("tokens")
    @classmethod
    def _all_sendable(cls, tokens: dict[str, SecretStr]) -> dict[str, SecretStr]:
        return {name: cls._sendable(token) for name, token in tokens.items()}

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if not self.loopback and not self.principals:
            raise ValueError(
                f"listening on {self.host} lets others in: set {PREFIX}TOKEN to a secret that every"
                f" client has to send, or {PREFIX}HOST to 127.0.0.1"
            )
        return self

    @model_validator(mode="after")
    def _paid_by_somebody(self) -> Self:
        known = self.principals or (LOCAL,)
        for name in self.daily_budget.named if self.daily_budget else ():
            if name not in known:
                raise ValueError(
                    f"nobody is {name!r}, whom {PREFIX}DAILY_BUDGET names: the principals here are "
                    f"{', '.join(known)}; {PREFIX}TOKENS adds to them"
                )
        return self

    # --- derived ---------------------------------------------------------------------------------

    @property
    def principals(self) -> Mapping[str, SecretStr]:
        """Who may talk to the room, by the token that tells; none where it asks for no token."""
        own = {"token": self.token} if self.token.get_secret_value() else {}
        return own | {f"token:{name}": token for name, token in self.tokens.items()}

    @property
    def url(self) -> str:
        """Where the API is reached on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the API."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def store_url(self) -> str:
        """URL of the event store. May hold a password: never to be logged."""
        return self.store.get_secret_value() or f"sqlite:///{self.home / 'room.db'}"

    @property
    def nats_url(self) -> str:
        """URL of the NATS server, or an empty string for the bundled one. Holds its token."""
        return self.nats.get_secret_value()

    @property
    def projections_path(self) -> Path:
        """The file of the projections."""
        return self.home / "projections.db"

    @property
    def nats_dir(self) -> Path:
        """The folder of the bundled NATS server."""
        return self.home / "nats"

    @property
    def run_dir(self) -> Path:
        """The folder that says which process is which."""
        return self.home / "run"

    @property
    def logs_dir(self) -> Path:
        """The folder of the logs, one file a process."""
        return self.home / "logs"

    @property
    def scratch_dir(self) -> Path:
        """Where a local Ray keeps sockets and logs: a short path, because sockets lie in it."""
        digest = hashlib.sha256(str(self.home).encode()).hexdigest()[:10]
        return Path(tempfile.gettempdir()) / f"cr-{digest}"

    @property
    def lock_path(self) -> Path:
        """The file whose lock refuses a second room in the same data directory."""
        return self.home / "room.lock"

    @property
    def providers_path(self) -> Path | None:
        """The provider file, or None where none is named and none is in the data directory."""
        usual = self.home / "providers.json"
        return self.providers or (usual if usual.is_file() else None)

    @property
    def tools_path(self) -> Path | None:
        """The file of tool servers, or None where none is named and none is in the directory."""
        usual = self.home / "tools.json"
        return self.tools or (usual if usual.is_file() else None)

    @property
    def scripts_path(self) -> Path:
        """The folder of routers written as scripts; it need not exist."""
        return self.scripts or self.home / "scripts"

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment with the lines of `.env` below it: what `${NAME}` is taken from.

        Holds the providers' keys: never to be logged.
        """
        return self._environment


def load_settings(**overrides: Any) -> Settings:
    """The settings from `overrides` (by field name), the environment, `.env` and the defaults.

    Raises a `ConfigError` that names every variable that is wrong, and never its value. Warns of
    variables that begin like a setting and are none.
    """
    named = str(overrides.pop("home", None) or os.environ.get(f"{PREFIX}HOME") or "")
    home = Path(named) if named else default_home()
    home = home.expanduser().absolute()
    file = home / ".env"
    environment = {**_dotenv(file), **{name: value for name, value in os.environ.items() if value}}
    _warn_of_unknown(environment)
    try:
        settings = Settings(_env_file=file, home=home, **overrides)
    except ValidationError as error:
        raise ConfigError("; ".join(_faults(error))) from None
    settings._environment.update(environment)
    return settings


def _dotenv(path: Path) -> dict[str, str]:
    try:
        lines = dotenv_values(path, interpolate=False, encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    return {name: value for name, value in lines.items() if value}


def _faults(error: ValidationError) -> list[str]:
    found = []
    for place, message in faults(error.errors(include_input=False, include_url=False)):
        where = f"{PREFIX}{str(place[0]).upper()}: " if place else ""
        found.append(where + message)
    return found


def _warn_of_unknown(environment: Mapping[str, str]) -> None:
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            _log.warning("%s is not a setting and is ignored; did you mean %s?", name, near)
