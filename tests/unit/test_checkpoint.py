"""What is left beside a SQLite file comes into it."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from api.checkpoint import checkpoint


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """A file as a process leaves it that was killed: what was committed is beside it."""
    running, left = tmp_path / "running.db", tmp_path / "left.db"
    with closing(sqlite3.connect(running)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE said (word TEXT)")
        connection.execute("INSERT INTO said VALUES ('hello')")
        connection.commit()
        shutil.copy(running, left)
        shutil.copy(f"{running}-wal", f"{left}-wal")
    return left


def words(path: Path) -> list[tuple[str]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT word FROM said").fetchall()


def test_the_file_alone_is_a_full_copy_afterwards(killed: Path, tmp_path: Path) -> None:
    before, after = tmp_path / "before.db", tmp_path / "after.db"
    shutil.copy(killed, before)
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        words(before)
    checkpoint(killed)
    shutil.copy(killed, after)
    assert words(after) == [("hello",)]


def test_what_cannot_be_read_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint(tmp_path / "none.db")
    assert list(tmp_path.iterdir()) == []
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"no database at all, and longer than a header of SQLite would be" * 9)
    with caplog.at_level(logging.WARNING):
        checkpoint(broken)
    assert "stays beside it" in caplog.text
    assert broken.read_bytes().startswith(b"no database")
