"""The compose file and the image say what the room understands, and keep secrets out."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.nats_server import nats_server_binary
from api.settings import PREFIX, Settings, load_settings

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SECRETS = {"CONTROL_ROOM_TOKEN": "t" * 48, "NATS_TOKEN": "1" * 48, "POSTGRES_PASSWORD": "p" * 48}
VARIABLE = re.compile(r"\$\{(\w+)([^}]*)\}")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


def environment(service: dict[str, Any]) -> dict[str, str]:
    """The service's environment as compose would give it, with `SECRETS` filled in."""
    return {
        name: VARIABLE.sub(lambda match: SECRETS[match[1]], value)
        for name, value in service["environment"].items()
        if value is not None
    }


# --- docker-compose.yml ------------------------------------------------------------------------


def test_room_waits_until_nats_and_postgres_are_healthy(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert set(services) == {"room", "nats", "postgres"}
    assert services["room"]["depends_on"] == {
        "nats": {"condition": "service_healthy"},
        "postgres": {"condition": "service_healthy"},
    }
    for name in services["room"]["depends_on"]:
        assert services[name]["healthcheck"]["test"][0] == "CMD"


def test_every_secret_is_required_and_none_has_a_default(compose: dict[str, Any]) -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    asked = [(match[1], match[2]) for match in VARIABLE.finditer(text)]
    assert {name for name, _ in asked} == set(SECRETS)
    assert all(rest.startswith(":?") for _, rest in asked)
    for service in compose["services"].values():
        for name, value in service["environment"].items():
            if re.search("TOKEN|PASSWORD|KEY", name):
                assert value is None or VARIABLE.fullmatch(value.strip('"')), name


def test_images_are_pinned(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        tag = service["image"].partition(":")[2]
        assert re.match(r"\d+(\.\d+)*(-|$)", tag), f"{name}: {service['image']}"
    assert compose["services"]["room"]["image"] == f"control-room:{PROJECT['version']}"


def test_only_the_room_is_published_and_only_on_loopback(compose: dict[str, Any]) -> None:
    ports = {name: service.get("ports", []) for name, service in compose["services"].items()}
    assert ports == {"room": ["127.0.0.1:8000:8000"], "nats": [], "postgres": []}


def test_volumes_that_services_mount_are_declared_or_exist(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (ROOT / source).is_file(), source
            else:
                assert source in compose["volumes"], source


def test_room_settings_are_real_ones_and_load(
    compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = environment(compose["services"]["room"])
    known = {PREFIX + field.upper() for field in Settings.model_fields}
    assert {name for name in given if name.startswith(PREFIX)} <= known

    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.host == "0.0.0.0"  # within its own network: published on loopback only
    assert settings.port == 8000
    assert settings.home == Path(given["CONTROL_ROOM_HOME"])
    assert settings.store_url == given["CONTROL_ROOM_STORE"]
    assert settings.nats_url == given["CONTROL_ROOM_NATS"]
    assert settings.token.get_secret_value() == SECRETS["CONTROL_ROOM_TOKEN"]


def test_room_names_the_services_as_they_are(compose: dict[str, Any]) -> None:
    services = compose["services"]
    room, postgres = environment(services["room"]), environment(services["postgres"])
    assert room["CONTROL_ROOM_STORE"] == (
        f"postgresql://{postgres['POSTGRES_USER']}:{SECRETS['POSTGRES_PASSWORD']}"
        f"@postgres:5432/{postgres['POSTGRES_DB']}"
    )
    assert room["CONTROL_ROOM_NATS"] == f"nats://{SECRETS['NATS_TOKEN']}@nats:4222"


@pytest.mark.parametrize("token", ["1" * 48, "12e4" * 12, "0x" + "f" * 46, "true", "a" * 48])
def test_nats_accepts_its_configuration_with_any_token(
    compose: dict[str, Any], token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SECRETS, "NATS_TOKEN", token)
    done = subprocess.run(
        [nats_server_binary(), "-t", "-c", ROOT / "deploy/nats.conf"],
        env=environment(compose["services"]["nats"]),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr


# --- deploy/Dockerfile -------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in order, as (name, arguments), continued lines joined."""
    text = (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8")
    lines = re.sub(r"\\\n\s*", "", re.sub(r"(?m)^\s*#.*\n", "", text)).splitlines()
    parted = [line.partition(" ") for line in lines if line.strip()]
    return [(name, rest) for name, _, rest in parted]


def test_image_ends_as_a_user_without_rights_serving_the_room() -> None:
    last_stage = instructions()
    while any(name == "FROM" for name, _ in last_stage[1:]):
        last_stage = last_stage[1:]
    users = [rest for name, rest in last_stage if name == "USER"]
    assert users == ["room"]
    assert last_stage[-1] == ("CMD", '["control-room", "serve", "--no-demo"]')
    assert any(name == "HEALTHCHECK" and "/healthz" in rest for name, rest in last_stage)


def test_image_installs_from_the_hashed_lock() -> None:
    installs = [rest for name, rest in instructions() if name == "RUN" and "pip install" in rest]
    assert all("--no-deps" in rest for rest in installs)
    assert "--require-hashes --requirement requirements/run.txt" in installs[0]


def test_image_copies_what_exists_and_is_sent_to_the_builder() -> None:
    sent = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    }
    copied = {
        source
        for name, rest in instructions()
        if name == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }
    # A file that the build reads and that is not copied would fail it.
    build = {"pyproject.toml", *PROJECT["license-files"], PROJECT.get("readme", "LICENSE")}
    assert {"events", "actors", "projections", "api"} | build <= copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert source.split("/")[0] in sent, source
