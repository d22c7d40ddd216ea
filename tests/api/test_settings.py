"""Settings: where they come from, and what is refused."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from api.settings import PREFIX, Settings, load_settings
from events.errors import ConfigError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONTROL_ROOM_HOME", str(tmp_path))
    return tmp_path


def test_a_room_runs_with_nothing_set(home: Path) -> None:
    settings = load_settings()
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.store_url == f"sqlite:///{home}/room.db"
    assert settings.nats_url == settings.ray == ""
    assert settings.max_participants == 5
    assert settings.providers_path is None
    assert settings.loopback
    paths = [
        settings.projections_path,
        settings.nats_dir,
        settings.lock_path,
        settings.scripts_path,
    ]
    assert all(path.parent == home for path in paths)
    assert len(set(paths)) == 4


def test_the_platforms_folder_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONTROL_ROOM_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", "/somewhere")
    assert load_settings().home.name == "control-room"


def test_arguments_go_before_the_environment_and_that_before_the_file(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / ".env").write_text(
        "CONTROL_ROOM_PORT=1111\nCONTROL_ROOM_HOST=localhost\nCONTROL_ROOM_MAX_PARTICIPANTS=7\n"
        "OPENAI_API_KEY='sk-file'\nOTHER=file\n"
    )
    monkeypatch.setenv("CONTROL_ROOM_PORT", "2222")
    monkeypatch.setenv("CONTROL_ROOM_HOST", "::1")
    monkeypatch.setenv("OTHER", "shell")
    settings = load_settings(port=3333)
    assert (settings.port, settings.host, settings.max_participants) == (3333, "::1", 7)
    assert settings.environment["OPENAI_API_KEY"] == "sk-file"
    assert settings.environment["OTHER"] == "shell"


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PORT", "NATS", "TOKEN", "PROVIDERS", "ALLOWED_HOSTS"):
        monkeypatch.setenv(f"CONTROL_ROOM_{name}", "")
    settings = load_settings()
    assert settings.port == 8000
    assert settings.providers is None


def test_a_provider_file_in_the_data_directory_is_found(home: Path) -> None:
    (home / "providers.json").write_text('{"providers": []}')
    assert load_settings().providers_path == home / "providers.json"
    elsewhere = load_settings(providers="~/mine.yaml").providers_path
    assert elsewhere == Path("~/mine.yaml").expanduser()


def test_no_secret_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {
        "TOKEN": "t0ken-t0ken-t0ken",
        "TOKENS": "ana=t0ken-of-ana",
        "NATS": "nats://natssecret@localhost:4222",
        "STORE": "postgresql://me:dbsecret@localhost/room",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(f"CONTROL_ROOM_{name}", value)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    settings = load_settings()
    assert settings.store_url == secrets["STORE"]
    assert settings.nats_url == secrets["NATS"]
    shown = f"{settings!r} {settings!s} {settings.model_dump()} {settings.model_dump_json()}"
    for secret in ("t0ken", "natssecret", "dbsecret", "sk-secret"):
        assert secret not in shown


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "room.example.org"])
def test_beyond_loopback_a_token_is_required(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTROL_ROOM_HOST", host)
    with pytest.raises(ConfigError, match="set CONTROL_ROOM_TOKEN") as refused:
        load_settings()
    assert host in refused.value.message
    monkeypatch.setenv("CONTROL_ROOM_TOKEN", "a-long-enough-secret")
    assert not load_settings().loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "::1", "[::1]"])
def test_on_loopback_it_is_not(host: str) -> None:
    settings = load_settings(host=host)
    assert settings.loopback
    assert settings.host == host.strip("[]")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("PORT", "eighty", "CONTROL_ROOM_PORT: has to be a whole number"),
        ("PORT", "70000", "CONTROL_ROOM_PORT: has to be at most 65535"),
        ("LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
        ("TOKEN", "two words", "CONTROL_ROOM_TOKEN: a token consists of"),
        ("TOKEN", "naïve-secret", "CONTROL_ROOM_TOKEN: a token consists of"),
        ("TOKENS", "t0ken", "CONTROL_ROOM_TOKENS: part 1 is not NAME=TOKEN"),
        ("TOKENS", "ana=x,=t0ken", "CONTROL_ROOM_TOKENS: part 2 is not NAME=TOKEN"),
        ("TOKENS", "ana=t0ken,ana=b", "part 2 has the name or the token of another"),
        ("TOKENS", "ana=t0ken,ben=t0ken", "part 2 has the name or the token of another"),
        ("TOKENS", "ana=two t0kens", "CONTROL_ROOM_TOKENS: a token consists of"),
        ("DAILY_BUDGET", "5,6", "everyone else has two amounts"),
        ("DAILY_BUDGET", "5,token:ana=6", "nobody is 'token:ana'"),
        ("ALLOWED_HOSTS", "https://x.org", "leave out scheme, port and path"),
        ("ALLOWED_ORIGINS", "x.org", "write it like https://example.org"),
        ("ALLOWED_ORIGINS", "https://x.org/path", "write it like https://example.org"),
        ("MAX_PARTICIPANTS", "0", "CONTROL_ROOM_MAX_PARTICIPANTS"),
    ],
)
def test_what_is_wrong_is_named_without_a_secret(
    name: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"CONTROL_ROOM_{name}", value)
    with pytest.raises(ConfigError) as refused:
        load_settings()
    assert says in refused.value.message
    assert "TOKEN" not in name or value not in refused.value.message
    assert "t0ken" not in refused.value.message


def test_everything_that_is_wrong_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTROL_ROOM_PORT", "x")
    monkeypatch.setenv("CONTROL_ROOM_LOG_LEVEL", "x")
    with pytest.raises(ConfigError, match=r"PORT.*; .*LOG_LEVEL"):
        load_settings()


def test_lists_are_written_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTROL_ROOM_ALLOWED_HOSTS", "Room.Example.org, [::5] ,")
    monkeypatch.setenv("CONTROL_ROOM_ALLOWED_ORIGINS", "https://a.org,http://b.org:3000")
    settings = load_settings()
    assert settings.allowed_hosts == ("room.example.org", "[::5]")
    assert settings.allowed_origins == ("https://a.org", "http://b.org:3000")


def test_named_tokens_are_principals_and_may_have_budgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTROL_ROOM_HOST", "0.0.0.0")
    monkeypatch.setenv("CONTROL_ROOM_TOKENS", "ana=padded==, ben=b")
    monkeypatch.setenv("CONTROL_ROOM_DAILY_BUDGET", "5,token:ana=20")
    settings = load_settings()
    principals = {name: one.get_secret_value() for name, one in settings.principals.items()}
    assert principals == {"token:ana": "padded==", "token:ben": "b"}
    assert settings.daily_budget
    limits = [settings.daily_budget.of(name) for name in principals]
    assert [one and one.limit for one in limits] == [20, 5]
    monkeypatch.setenv("CONTROL_ROOM_TOKEN", "everyones")
    assert "token" in load_settings().principals


def test_a_misspelt_name_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CONTROL_ROOM_PROVIDER", "x.json")
    with caplog.at_level(logging.WARNING):
        load_settings()
    (record,) = caplog.records
    assert record.getMessage() == (
        "CONTROL_ROOM_PROVIDER is not a setting and is ignored; did you mean "
        "CONTROL_ROOM_PROVIDERS?"
    )


def test_a_file_that_cannot_be_read_is_named(home: Path) -> None:
    (home / ".env").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"\.env cannot be read"):
        load_settings()


def test_every_setting_says_what_it_is_for() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, PREFIX + name.upper()


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::", "http://[::1]:8000"),
        ("::1", "http://[::1]:8000"),
        ("fd00::5", "http://[fd00::5]:8000"),
        ("room.example.org", "http://room.example.org:8000"),
    ],
)
def test_the_address_at_which_the_room_is_reached(host: str, url: str) -> None:
    assert load_settings(host=host, token="secret").url == url
