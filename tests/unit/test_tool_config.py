"""Tool servers as other programs configure them, and as the blueprint does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from actors.tools.config import ToolServers, configured, missing, parse, resolved
from events.errors import ConfigError


def servers(**entries: Any) -> ToolServers:
    return parse(json.dumps({"mcpServers": entries}))


def test_a_file_of_another_program_is_taken_as_it_is() -> None:
    found = servers(
        files={
            "command": "npx",
            "args": ["-y", "@modelcontextprotocol/server-filesystem", "/data"],
            "env": {"LEVEL": "debug"},
            "disabled": False,
            "autoApprove": ["read_file"],
            "alwaysAllow": [],
            "timeout": 120,
        },
        github={"url": "https://api.example.org/mcp/", "headers": {"Authorization": "Bearer x"}},
        gemini={"httpUrl": "https://example.org/mcp", "trust": True, "description": "more"},
        windsurf={"serverUrl": "https://example.org/mcp"},
        vscode={"type": "streamable-http", "url": "http://localhost:1/mcp"},
        off={"command": "x", "disabled": True},
        inactive={"command": "x", "enabled": False},
    )
    assert list(found) == ["files", "github", "gemini", "windsurf", "vscode"]
    files = found["files"]
    assert (files.kind, files.command, files.args[0], files.timeout) == ("stdio", "npx", "-y", 120)
    assert [found[name].kind for name in ("github", "gemini", "windsurf", "vscode")] == ["http"] * 4
    assert found["gemini"].url == "https://example.org/mcp"


def test_the_form_of_the_blueprint_and_yaml() -> None:
    found = parse(
        "mcpServers:\n"
        "  one: {type: stdio, command: python, args: [server.py], cwd: /srv}\n"
        "  two: {type: http, url: 'http://localhost:1/mcp', replicas: 3}\n"
    )
    assert (found["one"].kind, found["one"].cwd) == ("stdio", "/srv")
    assert (found["two"].kind, found["two"].replicas) == ("http", 3)


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({}, "it needs either `command`, for a program, or `url`, for HTTP"),
        ({"command": "x", "url": "http://x"}, "it needs either `command`"),
        ({"command": "x", "comand": "y"}, "unknown key 'comand'"),
        ({"type": "sse", "url": "http://x"}, "'sse' is not spoken any more"),
        ({"type": "pipe", "command": "x"}, "`type` has to be 'stdio' or 'http'"),
        ({"type": "http", "command": "x"}, "a server of type 'http' needs `url`"),
        ({"url": "ftp://x"}, "url: it has to begin with http:// or https://"),
        ({"command": "x", "headers": {"a": "b"}}, "`headers` does not go with `command`"),
        ({"url": "http://x", "env": {"a": "b"}}, "`env` does not go with `url`"),
        ({"command": "x", "replicas": 2}, "`replicas` are for servers that are reached"),
        ({"command": "x", "timeout": 600_000}, "timeout: has to be at most"),
        ({"command": "x", "env": {"KEY": "${no name}"}}, "env.KEY: '${no name}' is not the name"),
        ("npx", "it has to be an object"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(entry: Any, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        servers(mine=entry)
    assert caught.value.message.startswith("tool server 'mine'")
    assert why in caught.value.message


@pytest.mark.parametrize("name", ["two__parts", "a:b", "", "x" * 33, "_x"])
def test_names_stand_before_two_underscores(name: str) -> None:
    with pytest.raises(ConfigError, match="at most 32 letters"):
        servers(**{name: {"command": "x"}})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "neither JSON nor YAML"),
        ("[]", "it has to be"),
        ('{"servers": {}}', "it has to be"),
        ('{"mcpServers": {}, "mcpServer": {}}', "unknown key 'mcpServer'"),
    ],
)
def test_files_that_are_none(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "tools.json"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        configured(path)
    assert why in caught.value.message
    assert str(path) in caught.value.message


def test_no_file_is_no_servers(tmp_path: Path) -> None:
    assert not configured(None)
    with pytest.raises(ConfigError, match="cannot be read"):
        configured(tmp_path / "none.json")


def test_secrets_are_filled_in_when_they_are_used(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-a-file\n")
    spec = servers(
        web={
            "url": "https://${HOST_NAME}/mcp",
            "headers": {"Authorization": f"Bearer ${{file:{tmp_path}/key}}"},
        }
    )["web"]
    assert missing(spec, {}) == ("HOST_NAME",)
    filled, found = resolved(spec, {"HOST_NAME": "tools.example.org"})
    assert filled.url == "https://tools.example.org/mcp"
    assert filled.headers == {"Authorization": "Bearer from-a-file"}
    assert set(found) == {"tools.example.org", "from-a-file"}
    assert "from-a-file" not in repr(filled)
    with pytest.raises(ConfigError, match="tool server 'web' needs the environment variable HOST"):
        resolved(spec, {})


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"add it to the file .* or use one of one, two"):
        servers(one={"command": "x"}, two={"command": "y"}).find("three")
    with pytest.raises(ConfigError, match="there are none yet"):
        ToolServers().find("three")
