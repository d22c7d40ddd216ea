"""Secrets that the provider file names and others keep: the environment, files, and Vault."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from actors.providers.config import ProviderSpec, check, create, missing
from actors.providers.openai import OpenAIProvider
from events.errors import ConfigError
from tests.servers.vault import ROLE, SECRET_ID, TOKEN, VaultServer, vault_server

SECRET = "marked-secret-77f0e2"


def spec(**config: Any) -> ProviderSpec:
    return ProviderSpec(id="local", type="openai", config=config)


async def made(environment: Mapping[str, str], **config: Any) -> Mapping[str, str]:
    """The headers that a provider of that configuration sends."""
    provider = await asyncio.to_thread(create, spec(**config), environment)
    assert isinstance(provider, OpenAIProvider)
    assert SECRET not in repr(provider)
    await provider.close()
    return provider._http._headers


async def refused(environment: Mapping[str, str], **config: Any) -> str:
    with pytest.raises(ConfigError, match=r"provider 'local'.* api_key") as caught:
        await made(environment, **config)
    for secret in (SECRET, TOKEN, SECRET_ID):
        assert secret not in str(caught.value)
    return caught.value.message


def signing_in(server: VaultServer, **more: str) -> dict[str, str]:
    return {"VAULT_ADDR": server.url, "VAULT_TOKEN": TOKEN, **more}


async def test_a_file_is_read_whenever_a_provider_is_made(tmp_path: Path) -> None:
    file = tmp_path / "api key"
    file.write_text(f"{SECRET}\n")
    key = f"${{file:{file}}}"
    assert missing(spec(api_key=key), {}) == ()
    assert await made({}, api_key=key) == {"Authorization": f"Bearer {SECRET}"}
    file.write_text("another-key\r\n")
    assert await made({"A": "a"}, api_key=key, headers={"X": f"${{A}} {key}!"}) == {
        "Authorization": "Bearer another-key",
        "X": "a another-key!",
    }


async def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    file = tmp_path / "key"
    key = f"${{file:{file}}}"
    assert missing(spec(api_key=key, headers={"X": key}), {}) == (f"file:{file}",)
    assert f"{file}}} cannot be read: No such file" in await refused({}, api_key=key)
    file.write_bytes(b"\n")
    assert "it is empty" in await refused({}, api_key=key)
    file.write_bytes(b"\xff" + SECRET.encode())
    assert "not text" in await refused({}, api_key=key)
    file.write_text(SECRET * 5000)
    assert "more than 65536 bytes" in await refused({}, api_key=key)
    assert "directory" in await refused({}, api_key=f"${{file:{tmp_path}}}")


async def test_a_variable_that_is_not_set_is_named_with_its_place() -> None:
    assert "variable KEY for api_key: set it" in await refused({}, api_key="${KEY}")


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("file:key", "whole path"),
        ("file:", "whole path"),
        ("vault:secret", "mount/path#field"),
        ("vault:secret/llm", "mount/path#field"),
        ("vault:/secret/llm#", "mount/path#field"),
        ("vlt:secret/llm#key", "neither"),
        ("A-B", "not the name of an environment variable"),
    ],
)
def test_a_reference_to_nothing_is_refused_before_it_is_used(reference: str, words: str) -> None:
    given = spec(headers={"X": f"${{{reference}}}"})
    with pytest.raises(ConfigError, match=rf"provider 'local', headers\.X: .*{words}"):
        check(given)


@pytest.mark.parametrize("path", ["secret/llm/openai", "team/kv/openai", "old/llm/openai"])
async def test_a_field_of_a_secret_in_vault_is_filled_in(path: str) -> None:
    async with vault_server() as server:
        server.secrets[path] = {"key": SECRET, "number": 7, "other": "no"}
        key = f"${{vault:{path}#key}}"
        sent = await made(
            signing_in(server), api_key=key, headers={"X": f"${{vault:{path}#number}} {key}"}
        )
        assert sent == {"Authorization": f"Bearer {SECRET}", "X": f"7 {SECRET}"}
        # Each secret is read once, whatever stands for it, and anew for each provider.
        assert len(server.asked_for) == 2
        server.secrets[path] = {"key": "another-key"}
        assert await made(signing_in(server), api_key=key) == {
            "Authorization": "Bearer another-key"
        }


async def test_vault_is_signed_in_to_with_a_role() -> None:
    async with vault_server() as server:
        server.secrets["secret/llm"] = {"key": SECRET}
        role = {"VAULT_ADDR": server.url, "VAULT_ROLE_ID": ROLE, "VAULT_SECRET_ID": SECRET_ID}
        key = "${vault:secret/llm#key}"
        sent = await made({**role, "VAULT_NAMESPACE": "team"}, api_key=key)
        assert sent == {"Authorization": f"Bearer {SECRET}"}
        assert set(server.namespaces) == {"team"}
        wrong = {**role, "VAULT_SECRET_ID": f"{SECRET_ID}-no"}
        assert "check VAULT_ROLE_ID and VAULT_SECRET_ID" in await refused(wrong, api_key=key)


async def test_what_vault_refuses_says_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    key = "${vault:secret/llm#key}"
    async with vault_server() as server:
        at = server.url.removeprefix("http://")
        server.secrets["secret/llm"] = {"password": SECRET, "key": {"nested": SECRET}, "": ""}
        assert "no text 'key'" in await refused(signing_in(server), api_key=key)
        none = "${vault:secret/none#key}"
        assert f"Vault at {at} has no secret there" in await refused(
            signing_in(server), api_key=none
        )
        stranger = signing_in(server, VAULT_TOKEN=f"{TOKEN}-no")
        assert "check VAULT_TOKEN" in await refused(stranger, api_key=key)
        server.sealed = True
        assert "unsealed" in await refused(signing_in(server), api_key=key)
    nowhere = {"VAULT_ADDR": "http://127.0.0.1:1", "VAULT_TOKEN": TOKEN}
    assert "check VAULT_ADDR" in await refused(nowhere, api_key=key)
    assert SECRET not in caplog.text
    assert TOKEN not in caplog.text


async def test_settings_of_vault_that_are_missing_are_named() -> None:
    given = spec(api_key="${vault:secret/llm#key}", headers={"X": "${B}"})
    assert missing(given, {}) == ("VAULT_ADDR", "VAULT_TOKEN", "B")
    assert missing(given, {"VAULT_ADDR": "x", "VAULT_ROLE_ID": "r", "B": "b"}) == (
        "VAULT_SECRET_ID",
    )
    assert missing(given, {"VAULT_ADDR": "x", "VAULT_TOKEN": "t", "B": "b"}) == ()
    said = await refused({"VAULT_ADDR": "http://x"}, api_key="${vault:secret/llm#key}")
    assert "environment variable VAULT_TOKEN: set it" in said


async def test_a_room_without_hvac_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hvac", None)
    environment = {"VAULT_ADDR": "http://127.0.0.1:9", "VAULT_TOKEN": TOKEN}
    said = await refused(environment, api_key="${vault:secret/llm#key}")
    assert "install control-room[vault]" in said


def test_vault_is_imported_only_when_it_is_used() -> None:
    program = (
        "import sys\n"
        "from actors.providers.config import ProviderSpec, create\n"
        "create(ProviderSpec(id='a', type='rehearsal'), {})\n"
        "assert not {'hvac', 'requests'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


async def test_what_is_wrong_with_a_secret_is_said_without_it() -> None:
    with pytest.raises(ConfigError, match="base_url") as caught:
        await made({"URL": f"ftp://{SECRET}/v1"}, base_url="${URL}")
    assert SECRET not in str(caught.value)
