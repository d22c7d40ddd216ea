"""The provider file, the environment, and what is said about either when it is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from actors.providers import registry
from actors.providers.config import (
    Providers,
    ProviderSpec,
    check,
    configured,
    create,
    missing,
    parse,
)
from actors.providers.discovery import PLACES, discover
from actors.providers.openai import OpenAIProvider
from actors.providers.rehearsal import RehearsalProvider
from events.errors import ConfigError
from tests.servers.chat import chat_server
from tests.servers.dialects.dialect import Dialect
from tests.servers.dialects.lmstudio import LMStudioDialect
from tests.servers.dialects.ollama import OllamaDialect
from tests.servers.scripted import ScriptedServer, listening
from tests.servers.web import served

SECRET = "marked-secret-0a1b2c"


def written(tmp_path: Path, content: str) -> Path:
    path = tmp_path / "providers.json"
    path.write_text(content, encoding="utf-8")
    return path


def test_json_and_yaml_say_the_same() -> None:
    content: dict[str, Any] = {
        "providers": [
            {
                "id": "local",
                "type": "openai",
                "config": {"base_url": "http://localhost:8080/v1/", "headers": {"X-A": "${A}"}},
            },
            {"id": "slow-rehearsal", "type": "rehearsal", "config": {"pace": 0.5}},
        ]
    }
    specs = parse(json.dumps(content))
    assert [spec.id for spec in specs] == ["local", "slow-rehearsal"]
    as_yaml = """
providers:
  - id: local
    type: openai
    config:
      base_url: http://localhost:8080/v1/
      headers: {X-A: "${A}"}
  - id: slow-rehearsal
    type: rehearsal
    config: {pace: 0.5}
"""
    assert parse(as_yaml) == specs


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "neither JSON nor YAML"),
        ("[]", "the file"),
        ("{}", "'providers' is missing"),
        ('{"providers": [], "x": 1}', "unknown key 'x'"),
        ('{"providers": [{"type": "rehearsal"}]}', "'providers.0.id' is missing"),
        ('{"providers": [{"id": "a", "type": "nope"}]}', "'a'.*no provider type 'nope'.*rehearsal"),
        (
            '{"providers": [{"id": "a", "type": "rehearsal", "config": {"pase": 1}}]}',
            "'a'.*unknown key 'pase'",
        ),
        (
            '{"providers": [{"id": "a", "type": "openai", "config": {"base_url": "x"}}]}',
            "'a'.*http",
        ),
        (
            '{"providers": [{"id": "a", "type": "openai",'
            ' "config": {"base_url": "https://me:pw@host/v1"}}]}',
            "'a'.*no credentials",
        ),
        (
            '{"providers": [{"id": "a", "type": "openai", "config": {"api_key": "${A B}"}}]}',
            "'a'.*A B.*not the name",
        ),
        (
            '{"providers": [{"id": "a", "type": "rehearsal"}, {"id": "a", "type": "rehearsal"}]}',
            "two providers are called 'a'",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content: str, words: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(ConfigError, match=f"providers.json: .*{words}"):
        configured(path, {})


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.json cannot be read"):
        configured(tmp_path / "none.json", {})


def test_values_that_do_not_fit_are_not_shown() -> None:
    spec = ProviderSpec(id="a", type="openai", config={"api_key": {"oops": SECRET}})
    with pytest.raises(ConfigError) as caught:
        create(spec, {})
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(spec)


def test_rehearsal_is_always_there_and_openai_with_its_key(tmp_path: Path) -> None:
    assert list(configured(None, {})) == ["rehearsal"]
    assert list(configured(None, {"OPENAI_API_KEY": "k"})) == ["rehearsal", "openai"]
    path = written(
        tmp_path, '{"providers": [{"id": "rehearsal", "type": "rehearsal", "config": {"pace": 9}}]}'
    )
    assert configured(path, {})["rehearsal"].config == {"pace": 9}


def test_names_are_filled_in_only_when_a_provider_is_made() -> None:
    spec = ProviderSpec(
        id="a", type="openai", config={"api_key": "${KEY}", "headers": {"X": "a ${OTHER} b"}}
    )
    assert missing(spec, {"KEY": "k"}) == ("OTHER",)
    with pytest.raises(ConfigError, match=r"provider 'a' needs the environment variable OTHER"):
        create(spec, {"KEY": SECRET})
    provider = create(spec, {"KEY": SECRET, "OTHER": "o"})
    assert isinstance(provider, OpenAIProvider)
    assert provider._http._headers == {"X": "a o b", "Authorization": f"Bearer {SECRET}"}
    assert SECRET not in repr(spec) + repr(provider) + spec.model_dump_json()


def test_a_key_with_a_line_break_is_refused_without_saying_it() -> None:
    spec = ProviderSpec(id="a", type="openai", config={"api_key": "${KEY}"})
    create(spec, {"KEY": f"{SECRET}\n"})
    with pytest.raises(ConfigError, match="line break") as caught:
        create(spec, {"KEY": f"{SECRET}\r\nX-Evil: 1"})
    assert SECRET not in str(caught.value)


def test_a_provider_is_found_by_id_or_by_the_only_one_of_its_type() -> None:
    one = ProviderSpec(id="local", type="openai")
    providers = Providers(one, ProviderSpec(id="rehearsal", type="rehearsal"))
    assert providers.find("local") is one
    assert providers.find("openai") is one
    with pytest.raises(ConfigError, match=r"'azure'.*CONTROL_ROOM_PROVIDERS.*local, rehearsal"):
        providers.find("azure")
    two = Providers(one, ProviderSpec(id="other", type="openai"))
    with pytest.raises(ConfigError, match=r"local, other"):
        two.find("openai")
    with pytest.raises(ConfigError, match="set OPENAI_API_KEY"):
        Providers().find("openai")


def test_providers_of_other_packages_are_found_by_their_entry_point(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = EntryPoints(
        [
            EntryPoint("acme", "actors.providers.rehearsal:RehearsalProvider", registry.GROUP),
            EntryPoint("gone", "no_such_package:Provider", registry.GROUP),
            EntryPoint("openai", "no_such_package:Provider", registry.GROUP),
        ]
    )
    monkeypatch.setattr(registry, "entry_points", found.select)
    provider = create(ProviderSpec(id="a", type="acme", config={"pace": 2}), {})
    assert isinstance(provider, RehearsalProvider)
    assert registry.known_types() == tuple(sorted({*registry.BUILT_IN, "acme", "gone"}))
    with pytest.raises(ConfigError, match=r"'gone'.*cannot be imported"):
        create(ProviderSpec(id="a", type="gone"), {})
    assert registry.provider_type("openai").__name__ == "OpenAIProvider"  # type: ignore[attr-defined]


def test_limits_come_from_the_configuration() -> None:
    spec = ProviderSpec(id="a", type="rehearsal", config={"max_concurrency": 2, "tries": 5})
    limits = create(spec, {}).limits
    assert (limits.max_concurrency, limits.tries) == (2, 5)


def test_reading_the_configuration_imports_no_network() -> None:
    program = (
        "import sys\n"
        "from actors.providers.config import configured\n"
        "configured(None, {'OPENAI_API_KEY': 'k'}).find('openai')\n"
        "from actors.providers import openai\n"
        "heavy = {'openai', 'aiohttp', 'httpx2', 'genai_prices', 'ray'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# --- discovery -----------------------------------------------------------------------------------


def place(type: str, url: str) -> ProviderSpec:
    return ProviderSpec(id=f"found-{type}", type=type, config={"base_url": url})


async def test_servers_on_this_machine_are_found_by_asking() -> None:
    async with chat_server() as server:
        here, nowhere = place("openai", server.base_url), place("ollama", "http://127.0.0.1:9")
        found = await discover([here, nowhere], patience=2)
    assert found == (here,)
    providers = configured(None, {}).with_found(found)
    assert list(providers) == ["found-openai", "rehearsal"]


@pytest.mark.parametrize("dialect", [OllamaDialect(), LMStudioDialect()], ids=lambda one: one.type)
async def test_a_server_is_found_as_its_own_type_alone(dialect: Dialect) -> None:
    server = ScriptedServer(dialect.pages())
    # It is known by its own API, not by the list that all of them have.
    server.pages.pop("/v1/models", None)
    async with listening(server):
        places = [place("ollama", server.url), place("lmstudio", server.url)]
        [found] = await discover(places, patience=2)
    assert found.type == dialect.type


def test_the_usual_places_are_of_their_types() -> None:
    assert {spec.id: (spec.type, spec.config["base_url"]) for spec in PLACES} == {
        "ollama": ("ollama", "http://127.0.0.1:11434"),
        "lmstudio": ("lmstudio", "http://127.0.0.1:1234"),
        "llama_cpp": ("openai", "http://127.0.0.1:8080/v1"),
    }
    for spec in PLACES:
        check(spec)


async def test_what_is_configured_comes_before_what_is_found() -> None:
    mine = ProviderSpec(id="ollama", type="rehearsal")
    theirs = ProviderSpec(id="ollama", type="openai")
    assert Providers(mine).with_found((theirs,))["ollama"] is mine


@pytest.mark.parametrize("type", ["openai", "ollama", "lmstudio"])
@pytest.mark.parametrize(
    "body",
    [
        "hello",
        "[]",
        '{"data": 7}',
        '{"data": [{"name": "x"}]}',
        '{"data": ["x"]}',
        '{"models": [{"id": "x"}]}',
        "",
    ],
)
async def test_other_programs_on_those_ports_are_passed_over(type: str, body: str) -> None:
    async def anything(request: web.Request) -> web.Response:
        return web.Response(text=body, content_type="application/json")

    app = web.Application()
    app.router.add_get("/{path:.*}", anything)
    async with served(app) as url:
        assert await discover([place(type, url)], patience=2) == ()
