"""Which tool servers are configured: the form in which other programs keep them, as it is.

The file is JSON or YAML, `{"mcpServers": {NAME: {"command", "args", "env", "cwd"}}}` for a server
that is a program, `{"url", "headers"}` for one that is reached over HTTP; `type` may say which. In
a string, `${...}` stands for a secret that is kept elsewhere (see `actors.providers.references`)
and is filled in only by the server's own actor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AliasChoices,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from actors.config_files import content_of, first_fault, loaded
from actors.providers.references import Resolver, check_forms, lacking
from events.errors import ConfigError
from events.grants import ServerName
from events.values import Value

FOREIGN = frozenset(
    """
    alwaysAllow autoApprove autoStart description disabled disabledTools enabled excludeTools
    gallery icon id includeTools isActive name networkTimeout provider title tools trust version
    """.split()
)
"""Keys that files of other programs have beside ours: what they say of approval and of single tools
is said here per participant."""

_KINDS = {"stdio": "stdio", "http": "http", "streamable-http": "http", "streamableHttp": "http"}
_NAME: TypeAdapter[str] = TypeAdapter(ServerName)


class ToolServerSpec(Value):
    """One tool server: a program with its arguments, or a URL with headers."""

    model_config = ConfigDict(hide_input_in_errors=True, populate_by_name=True)

    name: ServerName
    command: str = Field(default="", repr=False)
    args: tuple[str, ...] = Field(default=(), repr=False)
    env: dict[str, str] = Field(default_factory=dict, repr=False)
    cwd: str | None = None
    url: str = Field(
        default="", repr=False, validation_alias=AliasChoices("url", "httpUrl", "serverUrl")
    )
    headers: dict[str, str] = Field(default_factory=dict, repr=False)
    timeout: float = Field(
        default=60.0, gt=0, le=86_400, description="seconds that a call may take"
    )
    replicas: int = Field(
        default=1, ge=1, le=16, description="actors that share its calls, over HTTP"
    )

    @property
    def kind(self) -> Literal["stdio", "http"]:
        """How it is reached."""
        return "stdio" if self.command else "http"

    @model_validator(mode="before")
    @classmethod
    def _ours(cls, value: Any) -> Any:
        """Without what is other programs' affair."""
        if not isinstance(value, dict):
            return value
        said = value.get("type", value.get("transport"))
        if said is not None:
            if said == "sse":
                raise ValueError(
                    "the transport 'sse' is not spoken any more: name the server's streamable HTTP"
                    " address, with type 'http'"
                )
            if not isinstance(said, str) or said not in _KINDS:
                raise ValueError("`type` has to be 'stdio' or 'http'")
            wanted = "command" if _KINDS[said] == "stdio" else "url"
            if not any(value.get(key) for key in (wanted, *_OTHER_NAMES.get(wanted, ()))):
                raise ValueError(f"a server of type {said!r} needs `{wanted}`")
        ours = {key: each for key, each in value.items() if key not in FOREIGN - {"name"}}
        ours.pop("type", None)
        ours.pop("transport", None)
        return ours

    @field_validator("url")
    @classmethod
    def _http(cls, url: str) -> str:
        if url and "${" not in url and urlsplit(url).scheme not in ("http", "https"):
            raise ValueError("it has to begin with http:// or https://")
        return url

    @model_validator(mode="after")
    def _one_way(self) -> ToolServerSpec:
        if bool(self.command) == bool(self.url):
            raise ValueError("it needs either `command`, for a program, or `url`, for HTTP")
        if self.kind == "stdio" and self.replicas > 1:
            raise ValueError("`replicas` are for servers that are reached by a `url`")
        unfit = ("headers",) if self.kind == "stdio" else ("args", "env", "cwd")
        for key in unfit:
            if getattr(self, key):
                raise ValueError(
                    f"`{key}` does not go with `{'command' if self.command else 'url'}`"
                )
        return self


_OTHER_NAMES = {"url": ("httpUrl", "serverUrl")}


class ToolServers(Mapping[str, ToolServerSpec]):
    """All configured tool servers by name."""

    def __init__(self, *specs: ToolServerSpec) -> None:
        self._by_name = {spec.name: spec for spec in specs}

    def __getitem__(self, name: str) -> ToolServerSpec:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def find(self, name: str) -> ToolServerSpec:
        """The server of that name; a `ConfigError` says which there are and what to do."""
        if (spec := self._by_name.get(name)) is not None:
            return spec
        known = f"use one of {', '.join(self._by_name)}" if self._by_name else "there are none yet"
        raise ConfigError(
            f"tool server {name[:100]!r} is not configured: add it to the file that"
            f" CONTROL_ROOM_TOOLS names and start the room again, or {known}"
        )


def configured(path: Path | None) -> ToolServers:
    """The tool servers of the file at `path`, or none.

    Raises a `ConfigError` that names the file, the server and what is wrong with it.
    """
    if path is None:
        return ToolServers()
    return loaded(path, "the file of tool servers", parse)


def parse(text: str) -> ToolServers:
    """The tool servers that such a file defines, checked, without those that it disables."""
    content = content_of(text)
    servers = content.get("mcpServers") if isinstance(content, dict) else None
    if not isinstance(servers, dict):
        raise ConfigError(
            'it has to be {"mcpServers": {NAME: {"command": ...} or {"url": ...}, ...}}'
        )
    further = sorted(str(key) for key in content if key not in ("mcpServers", "$schema", "inputs"))
    if further:
        raise ConfigError(f"unknown key {further[0]!r}: check its spelling, or leave it out")
    specs = [_spec(str(name), entry) for name, entry in servers.items()]
    return ToolServers(*(spec for spec in specs if spec is not None))


def _spec(name: str, entry: Any) -> ToolServerSpec | None:
    """The server, None where it is switched off."""
    try:
        _NAME.validate_python(name)
    except ValidationError:
        raise ConfigError(
            f"tool server {name[:100]!r}: a name has at most 32 letters, digits, `-` and single `_`"
        ) from None
    if not isinstance(entry, dict):
        raise ConfigError(f"tool server {name!r}: it has to be an object")
    if entry.get("disabled") is True or entry.get("enabled") is False:
        return None
    try:
        spec = ToolServerSpec.model_validate(
            {key: each for key, each in entry.items() if key != "name"} | {"name": name}
        )
    except ValidationError as error:
        raise ConfigError(f"tool server {name!r}: {first_fault(error)}") from None
    check_forms(spec.model_dump(), f"tool server {name!r}")
    return spec


def resolved(
    spec: ToolServerSpec, environment: Mapping[str, str]
) -> tuple[ToolServerSpec, tuple[str, ...]]:
    """The server with every `${...}` read now, and what stood for them, which nobody may see.

    It may wait for files and for Vault. A `ConfigError` names what cannot be read, and where.
    """
    resolver = Resolver(f"tool server {spec.name!r}", environment)
    try:
        filled = ToolServerSpec.model_validate(resolver.resolved(spec.model_dump()))
    except ValidationError as error:
        raise ConfigError(f"tool server {spec.name!r}: {first_fault(error)}") from None
    finally:
        resolver.close()
    return filled, tuple(resolver.found)


def missing(spec: ToolServerSpec, environment: Mapping[str, str]) -> tuple[str, ...]:
    """What the server needs and does not have; whether Vault has a secret is not asked."""
    return lacking(spec.model_dump(), environment)
