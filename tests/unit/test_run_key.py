"""The key that signs the tokens of runs."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from api.run_key import NAME, run_key
from events.errors import ConfigError


def test_whoever_asks_gets_the_same_key(tmp_path: Path) -> None:
    home = tmp_path / "new"
    with ThreadPoolExecutor(8) as threads:
        keys = set(threads.map(lambda _: run_key(home), range(32)))
    assert len(keys) == 1
    assert keys == {run_key(home)}
    assert [path.name for path in home.iterdir()] == [NAME]


def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    run_key(tmp_path)
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600


def test_a_key_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"short")
    with pytest.raises(ConfigError, match=r"run\.key is not a key: remove it"):
        run_key(tmp_path)
