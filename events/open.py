"""Opens the event store, and the blobs beside it, that a URL names."""

from __future__ import annotations

from pathlib import Path

from events.blobs import FolderBlobs, MemoryBlobs
from events.codec import Cipher, Codec
from events.errors import ConfigError
from events.journal import Journal
from events.partitions import PARTITIONS
from events.recorders.port import Recorder
from events.store import BlobStore, EventStore

FORMS = (
    "sqlite:///relative/path, sqlite:////absolute/path, postgresql://user@host/database, memory:"
)


def open_store(
    url: str,
    *,
    read_only: bool = False,
    cipher: Cipher | None = None,
    partitions: int = PARTITIONS,
) -> EventStore:
    """Open the event store at `url`, made where it is not there yet.

    `sqlite:///` is followed by a path (so an absolute one has four slashes). Blocks for as long as
    the database takes. To be called in the process that uses the store, never before a fork.

    A new store keeps the number of `partitions`; nothing changes it.

    Raises `ConfigError` for another URL, a file or a schema that this release does not read, a
    store of another number of partitions, and one to be opened `read_only` that is not there;
    `StoreError` where another process writes the SQLite file (only one may; any number may read),
    or PostgreSQL does not answer.
    """
    recorder: Recorder
    match url.partition(":"):
        case "sqlite", ":", _:
            from events.recorders.sqlite import SQLiteRecorder

            recorder = SQLiteRecorder(sqlite_path(url), read_only=read_only, partitions=partitions)
        case "postgresql" | "postgres", ":", _:
            from events.recorders.postgres import PostgresRecorder

            recorder = PostgresRecorder(url, read_only=read_only, partitions=partitions)
        case "memory", ":", "":
            from events.recorders.memory import MemoryRecorder

            recorder = MemoryRecorder()  # it has no number to keep: it ends with its process
        case _:
            raise ConfigError(f"{_shown(url)} is not an event store: use one of {FORMS}")
    return Journal(recorder, Codec(cipher=cipher), read_only=read_only)


def open_blobs(url: str) -> BlobStore:
    """Open the blobs of the event store at `url`: a folder beside a SQLite file, or a table.

    The folder of `room.db` is `room.blobs`. Blobs may be written from several processes.
    """
    match url.partition(":"):
        case "sqlite", ":", _:
            return FolderBlobs(sqlite_path(url).expanduser().resolve().with_suffix(".blobs"))
        case "postgresql" | "postgres", ":", _:
            from events.recorders.postgres_blobs import PostgresBlobs

            return PostgresBlobs(url)
        case "memory", ":", "":
            return MemoryBlobs()
        case _:
            raise ConfigError(f"{_shown(url)} is not an event store: use one of {FORMS}")


def sqlite_path(url: str) -> Path:
    """The file that a `sqlite:///` URL names."""
    path = url.removeprefix("sqlite:///")
    if path == url or not path or path.endswith("/"):
        raise ConfigError(f"{url} names no file: write sqlite:/// and then the path of the file")
    return Path(path)


def _shown(url: str) -> str:
    """The URL without what may be a password."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if rest else f"{url!r}"
