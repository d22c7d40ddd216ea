"""What every blob store does."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import NoReturn

import psycopg
import pytest

from events.errors import StoreError, Tampered
from events.open import open_blobs
from events.store import BlobStore
from events.values import Blob


@pytest.fixture
def blobs(url: str) -> Iterator[BlobStore]:
    blobs = open_blobs(url)
    yield blobs
    blobs.close()


@pytest.mark.parametrize(
    "content", [b"", b"a", "Grüße 東京".encode(), bytes(range(256)) * 40, os.urandom(3_000_000)]
)
def test_content_comes_back(blobs: BlobStore, content: bytes) -> None:
    blob = blobs.put(content, "application/octet-stream")
    assert blob == Blob.of(content, "application/octet-stream")
    assert blobs.get(blob) == content


def test_the_same_content_is_one_blob(blobs: BlobStore) -> None:
    first, second = blobs.put(b"same", "text/plain"), blobs.put(b"same", "image/png")
    assert first.sha256 == second.sha256
    assert (first.media_type, second.media_type) == ("text/plain", "image/png")
    assert blobs.get(first) == blobs.get(second) == b"same"


def test_a_blob_that_is_not_there_is_a_clear_error(blobs: BlobStore) -> None:
    blob = Blob.of(b"never stored")
    with pytest.raises(StoreError, match=f"blob {blob.sha256} is not in the store") as caught:
        blobs.get(blob)
    assert not isinstance(caught.value, Tampered)


def test_the_size_of_a_content_is_known_by_its_hash(blobs: BlobStore) -> None:
    for content in (b"", "Grüße".encode(), bytes(100_000)):
        assert blobs.size(blobs.put(content).sha256) == len(content)
    assert blobs.size(Blob.of(b"never stored").sha256) is None


def test_a_reference_with_another_size_is_not_believed(blobs: BlobStore) -> None:
    blob = blobs.put(b"content")
    with pytest.raises(Tampered):
        blobs.get(blob.model_copy(update={"size": 8}))


def test_many_may_put_the_same_at_once(blobs: BlobStore) -> None:
    contents = [f"content {n % 5}".encode() * 1000 for n in range(40)]
    with ThreadPoolExecutor(8) as threads:
        stored = list(threads.map(blobs.put, contents))
    assert [blobs.get(blob) for blob in stored] == contents


async def test_blobs_may_be_used_from_threads(blobs: BlobStore) -> None:
    blob = await asyncio.to_thread(blobs.put, b"from a thread")
    assert await asyncio.to_thread(blobs.get, blob) == b"from a thread"


# --- a folder ------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "room.blobs"


def test_blobs_lie_beside_the_store_under_their_hash(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "room.blobs"
    blob = open_blobs(f"sqlite:///{folder.with_suffix('.db')}").put(b"content")
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    assert files == [Path(blob.sha256[:2]) / blob.sha256]


@pytest.mark.parametrize("damage", [b"", b"con", b"Content", b"content and more"])
def test_a_changed_file_is_reported_and_healed(folder: Path, damage: bytes) -> None:
    blobs = open_blobs(f"sqlite:///{folder.with_suffix('.db')}")
    blob = blobs.put(b"content")
    (folder / blob.sha256[:2] / blob.sha256).write_bytes(damage)
    with pytest.raises(Tampered, match=f"blob {blob.sha256}"):
        blobs.get(blob)
    blobs.put(b"content")
    assert blobs.get(blob) == b"content"


def test_a_folder_that_cannot_be_written_is_a_clear_error(folder: Path) -> None:
    folder.write_text("a file where the folder should be")
    blobs = open_blobs(f"sqlite:///{folder.with_suffix('.db')}")
    with pytest.raises(StoreError, match="could not be written") as caught:
        blobs.put(b"content")
    assert caught.value.retryable


@pytest.mark.parametrize("error", [errno.EMFILE, errno.EIO])
def test_what_cannot_be_read_now_may_be_asked_for_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    blobs = open_blobs(f"sqlite:///{folder.with_suffix('.db')}")
    blob = blobs.put(b"content")

    def fails(path: Path, *_: object, **__: object) -> NoReturn:
        raise OSError(error, os.strerror(error), str(path))

    with monkeypatch.context() as broken:
        broken.setattr(Path, "read_bytes", fails)
        broken.setattr(Path, "stat", fails)
        for read in (lambda: blobs.get(blob), lambda: blobs.size(blob.sha256)):
            with pytest.raises(StoreError, match=r"could not be read") as caught:
                read()
            assert caught.value.retryable
    assert blobs.get(blob) == b"content"


def test_blobs_outlive_the_process(folder: Path) -> None:
    url = f"sqlite:///{folder.with_suffix('.db')}"
    blob = open_blobs(url).put(b"content")
    assert open_blobs(url).get(blob) == b"content"


# --- a table -------------------------------------------------------------------------------


def test_a_changed_row_is_reported(postgres_database: str) -> None:
    with closing(open_blobs(postgres_database)) as blobs:
        blob = blobs.put(b"content")
        with psycopg.connect(postgres_database) as connection:
            connection.execute("UPDATE blobs SET content = 'Content'")
        with pytest.raises(Tampered, match=f"blob {blob.sha256}"):
            blobs.get(blob)


def test_blobs_in_a_table_outlive_the_process(postgres_database: str) -> None:
    with closing(open_blobs(postgres_database)) as blobs:
        blob = blobs.put(b"content")
    with closing(open_blobs(postgres_database)) as blobs:
        assert blobs.get(blob) == b"content"
