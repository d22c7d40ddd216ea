"""Long content by its SHA-256, in a folder or in memory."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Lock

from pydantic import BaseModel

from events.errors import StoreError, Tampered
from events.store import BlobStore
from events.values import SPILL, Blob

TEXT = "text/plain; charset=utf-8"
REMEMBERED = 256
"""Short contents that `Remembered` keeps."""


def checked(blob: Blob, content: bytes | None) -> bytes:
    """`content` where it is what `blob` says, else the error that fits."""
    if content is None:
        raise StoreError(f"blob {blob.sha256} is not in the store")
    if len(content) != blob.size or sha256(content).hexdigest() != blob.sha256:
        raise Tampered(f"blob {blob.sha256}", 0, f"{len(content)} bytes that are not its content")
    return content


def named(value: object) -> Iterator[Blob]:
    """Every blob that an event's payload, or any value in it, names."""
    if isinstance(value, Blob):
        yield value
    elif isinstance(value, BaseModel):
        for _, field in value:
            yield from named(field)
    elif isinstance(value, tuple):
        for item in value:
            yield from named(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from named(item)


class FolderBlobs:
    """Blobs as files of a folder, in 256 sub-folders by the first two digits of their name.

    A file appears under its name whole and synced to disk, or not at all. A file that is damaged is
    replaced when its content is put again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, content: bytes, media_type: str = TEXT) -> Blob:
        blob = Blob.of(content, media_type)
        path = self._path(blob)
        try:
            if not self._holds(path, content):
                self._make(path.parent)
                _write(path, content)
            # Also where another process has just written it and not come to this yet.
            _sync_folder(path.parent)
        except OSError as error:
            raise StoreError(
                f"blob {blob.sha256} could not be written: {error}", retryable=True
            ) from error
        return blob

    def get(self, blob: Blob) -> bytes:
        try:
            return checked(blob, self._path(blob).read_bytes())
        except FileNotFoundError:
            return checked(blob, None)
        except OSError as error:
            raise _unread(blob.sha256, error) from error

    def size(self, sha256: str) -> int | None:
        try:
            return self._file(sha256).stat().st_size
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unread(sha256, error) from error

    def close(self) -> None:
        return

    def _path(self, blob: Blob) -> Path:
        return self._file(blob.sha256)

    def _file(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / sha256

    def _holds(self, path: Path, content: bytes) -> bool:
        try:
            return path.stat().st_size == len(content) and path.read_bytes() == content
        except FileNotFoundError:
            return False

    def _make(self, folder: Path) -> None:
        missing = [folder, *folder.parents]
        missing = missing[: next(i for i, one in enumerate(missing) if one.is_dir())]
        for one in reversed(missing):
            one.mkdir(exist_ok=True)
            _sync_folder(one.parent)


class Remembered:
    """Another blob store, with the last short contents kept in memory; for use by any thread.

    Content that is remembered was durable before, so it is neither stored nor read again.
    """

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._contents: OrderedDict[str, bytes] = OrderedDict()
        self._lock = Lock()

    def put(self, content: bytes, media_type: str = TEXT) -> Blob:
        blob = Blob.of(content, media_type)
        if self._known(blob) is None:
            self._remember(self._blobs.put(content, media_type), content)
        return blob

    def get(self, blob: Blob) -> bytes:
        content = self._known(blob)
        if content is None:
            content = self._blobs.get(blob)
            self._remember(blob, content)
        return content

    def size(self, sha256: str) -> int | None:
        return self._blobs.size(sha256)

    def close(self) -> None:
        self._blobs.close()

    def _known(self, blob: Blob) -> bytes | None:
        with self._lock:
            content = self._contents.get(blob.sha256)
            if content is None or len(content) != blob.size:
                return None
            self._contents.move_to_end(blob.sha256)
            return content

    def _remember(self, blob: Blob, content: bytes) -> None:
        if blob.size <= SPILL:
            with self._lock:
                self._contents[blob.sha256] = content
                if len(self._contents) > REMEMBERED:
                    self._contents.popitem(last=False)


class MemoryBlobs:
    """Blobs in the memory of this process."""

    def __init__(self) -> None:
        self._contents: dict[str, bytes] = {}

    def put(self, content: bytes, media_type: str = TEXT) -> Blob:
        blob = Blob.of(content, media_type)
        self._contents[blob.sha256] = content
        return blob

    def get(self, blob: Blob) -> bytes:
        return checked(blob, self._contents.get(blob.sha256))

    def size(self, sha256: str) -> int | None:
        content = self._contents.get(sha256)
        return None if content is None else len(content)

    def close(self) -> None:
        return


def _unread(sha256: str, error: OSError) -> StoreError:
    """The content is there as far as is known, and may be read the next time."""
    return StoreError(f"blob {sha256} could not be read: {error}", retryable=True)


def _write(path: Path, content: bytes) -> None:
    with NamedTemporaryFile(dir=path.parent, prefix=".new-", delete=False) as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).rename(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
