"""The example of a provider from another distribution is found, and passes the suite."""

from __future__ import annotations

import inspect
import json
import sys
import tomllib
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from actors.providers.config import parse
from actors.providers.port import Tool
from actors.providers.registry import GROUP, known_types, provider_type
from events.errors import ConfigError
from events.values import ToolCall, Usage
from tests.contract import test_every_provider, test_every_provider_failure
from tests.servers.dialects import EVERY
from tests.servers.dialects.dialect import COMPLETION, KEY, MODEL, PROMPT, Feature, Round, Sent

EXAMPLE = Path(__file__).parents[2] / "examples" / "provider"


class AcmeDialect:
    """Implements `tests.servers.dialects.dialect.Dialect`."""

    type = "acme"
    content_type = "text/event-stream"
    lacks: Mapping[Feature, str] = dict.fromkeys(
        ("reasoning", "tools", "schema", "images", "seed"), "this API is a small one"
    )

    def config(self, url: str) -> dict[str, Any]:
        return {"base_url": url, "api_key": "${KEY}"}

    def pages(self) -> dict[str, Any]:
        return {"/models": {"models": [{"name": MODEL}]}}

    def event(self, **content: Any) -> bytes:
        return b"data: " + json.dumps(content).encode() + b"\n\n"

    def piece(self, text: str) -> bytes:
        return self.event(say=text)

    def thought(self, text: str) -> bytes:
        return b""

    def calls(self, *calls: ToolCall) -> list[bytes]:
        return []

    def begin(self) -> list[bytes]:
        return []

    def end(self, finish: str = "stop", usage: Usage | None = None) -> list[bytes]:
        usage = usage or Usage(input=PROMPT, output=COMPLETION)
        over = {"stop": "done", "length": "limit"}[finish]
        return [self.event(over=over, read=usage.input, wrote=usage.output)]

    def body(self, text: str) -> bytes:
        return json.dumps(
            {"say": text, "over": "done", "read": PROMPT, "wrote": COMPLETION}
        ).encode()

    def failure(self, status: int, message: str) -> bytes:
        return json.dumps({"error": {"message": message}}).encode()

    def sent(self, path: str, body: dict[str, Any]) -> Sent:
        return Sent(
            model=body["model"],
            texts=tuple((turn["who"], turn["text"]) for turn in body["turns"]),
            stream=body["live"],
            temperature=body.get("heat"),
            max_tokens=body.get("limit"),
            stop=tuple(body.get("until") or ()),
        )

    def authorised(self, headers: dict[str, str]) -> bool:
        return headers.get("X-Acme-Key") == KEY

    def tool_of(self, body: dict[str, Any]) -> Tool:
        raise AssertionError("this API takes no tools")

    def rounds(self, body: dict[str, Any]) -> list[Round]:
        raise AssertionError("this API takes no tools")

    def may_call(self, body: dict[str, Any]) -> bool:
        return False


def _core() -> list[Callable[..., Awaitable[None]]]:
    """The tests of the suite that are for every dialect and need nothing else."""
    return [
        test
        for module in (test_every_provider, test_every_provider_failure)
        for test in vars(module).values()
        for mark in getattr(test, "pytestmark", ())
        if mark.args[0] == "dialect"
        and len(mark.args[1]) == len(EVERY)
        and [*inspect.signature(test).parameters] == ["dialect"]
    ]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example, as an installer leaves it: its module, and what its pyproject declares."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    metadata = tmp_path / "control_room_acme-1.0.dist-info"
    metadata.mkdir()
    named = f"Metadata-Version: 2.4\nName: {project['name']}\nVersion: {project['version']}\n"
    (metadata / "METADATA").write_text(named)
    lines = [f"{name} = {place}" for name, place in project["entry-points"][GROUP].items()]
    (metadata / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines, ""]))
    (tmp_path / "acme_provider.py").write_text((EXAMPLE / "acme_provider.py").read_text())
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "acme_provider", raising=False)


def test_without_it_its_type_is_not_known() -> None:
    with pytest.raises(ConfigError, match="no provider type 'acme'"):
        provider_type("acme")


def test_it_is_found_by_its_entry_point(installed: None) -> None:
    assert "acme" in known_types()
    assert provider_type("acme").__name__ == "AcmeProvider"  # type: ignore[attr-defined]
    entry = {"id": "a", "type": "acme", "config": {"base_url": "http://127.0.0.1:9"}}
    [spec] = parse(json.dumps({"providers": [entry]}))
    assert spec.type == "acme"
    with pytest.raises(ConfigError, match="base_url"):
        parse(json.dumps({"providers": [{"id": "a", "type": "acme"}]}))


@pytest.mark.parametrize("test", _core(), ids=lambda test: test.__name__)
async def test_it_passes_the_suite(installed: None, test: Callable[..., Awaitable[None]]) -> None:
    await test(AcmeDialect())


async def test_cancel_reaches_its_server(installed: None) -> None:
    for begun in (False, True):
        await test_every_provider.test_cancel_reaches_the_server(AcmeDialect(), begun)


async def test_its_refusals_have_their_classes(installed: None) -> None:
    suite = test_every_provider_failure
    for refusal in suite.REFUSALS:
        await suite.test_a_refusal_has_its_class_and_says_what_to_do(AcmeDialect(), refusal)


def test_contributing_shows_it() -> None:
    guide = (EXAMPLE.parents[1] / "CONTRIBUTING.md").read_text()
    assert "examples/provider/acme_provider.py" in guide
    assert f'[project.entry-points."{GROUP}"]' in guide
    assert 'acme = "acme_provider:AcmeProvider"' in guide
