"""The URLs that name an event store."""

from __future__ import annotations

from pathlib import Path

import pytest

from events.errors import ConfigError
from events.open import open_blobs, open_store, sqlite_path


def test_three_slashes_are_relative_and_four_absolute() -> None:
    assert sqlite_path("sqlite:///data/events.db") == Path("data/events.db")
    assert sqlite_path("sqlite:////var/lib/room/events.db") == Path("/var/lib/room/events.db")
    assert sqlite_path("sqlite:///a%20b ?#.db") == Path("a%20b ?#.db")


@pytest.mark.parametrize("url", ["sqlite:", "sqlite://", "sqlite:///", "sqlite://host/x.db"])
@pytest.mark.parametrize("opening", [open_store, open_blobs])
def test_a_sqlite_url_names_a_file(opening: object, url: str) -> None:
    assert callable(opening)
    with pytest.raises(ConfigError, match=r"names no file: write sqlite:///"):
        opening(url)


@pytest.mark.parametrize("url", ["", "events.db", "mysql://ada:secret@host/room", "memory:x"])
@pytest.mark.parametrize("opening", [open_store, open_blobs])
def test_another_url_is_refused_without_its_password(opening: object, url: str) -> None:
    assert callable(opening)
    with pytest.raises(ConfigError, match="is not an event store: use one of sqlite:///") as caught:
        opening(url)
    assert "secret" not in str(caught.value)
