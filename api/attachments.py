"""Files that go with a message: checked, and stored. `api.file_types` says which are taken."""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import Final, Self

from pydantic import Field, model_validator

from api.file_types import IMAGES, is_text, longest
from api.problems import ProblemError
from events.store import BlobStore
from events.values import Attachment, Blob, Digest, FileName, Value

MOST: Final = 10
"""Attachments of one message."""
_UTF_8 = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})


class NewAttachment(Value):
    """A file that goes with a message: one that was stored with `POST /v1/blobs`, or its content.

    What that call answered can be given as it is, where it was given a name.
    """

    name: FileName = Field(min_length=1, description="what the file is called, in one line")
    media_type: str = Field(
        max_length=255,
        description="image/png, image/jpeg, image/webp, image/gif, or of a text in UTF-8",
    )
    sha256: Digest | None = Field(default=None, description="of a file that is stored already")
    size: int | None = Field(default=None, ge=0, description="of that file, in bytes")
    data: str | None = Field(default=None, description="the content in base64")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.sha256 is None) == (self.data is None):
            raise ValueError("give either 'sha256' of a stored file or its content as 'data'")
        if self.data is not None and self.size is not None:
            raise ValueError("'size' is for a stored file: leave it out")
        return self


async def attached(blobs: BlobStore, given: tuple[NewAttachment, ...]) -> tuple[Attachment, ...]:
    """The attachments of a message, checked, and durable when this returns.

    Raises a `ProblemError` that names the one that cannot be attached.
    """
    return tuple([await asyncio.to_thread(_attached, blobs, one) for one in given])


def media_type_of(name: str, declared: str) -> str:
    """The media type without its parameters; a problem where it is none that may be attached."""
    media_type, *parameters = (part.strip().lower() for part in declared.split(";"))
    if media_type not in IMAGES and not is_text(media_type):
        raise ProblemError(
            "unsupported-media-type",
            f"{name}: {declared or 'a file without a media type'!r} cannot be attached: attach a"
            f" text, or an image ({', '.join(IMAGES)})",
        )
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "charset" and value.strip(' "') not in _UTF_8:
            raise ProblemError(
                "unsupported-media-type", f"{name}: texts are in UTF-8: convert it and attach that"
            )
    return media_type


def check_size(name: str, media_type: str, size: int) -> None:
    """Raise a problem for more bytes than an attachment may have."""
    if size > (most := longest(media_type)):
        raise ProblemError(
            "too-large",
            f"{name}: {size} bytes, and {media_type} may have {most}: make it smaller, or attach a"
            " part of it",
        )


def check_content(name: str, media_type: str, content: bytes) -> None:
    """Raise a problem where the content is not what its media type says, or too long."""
    check_size(name, media_type, len(content))
    if not content:
        raise ProblemError("invalid", f"{name}: the file is empty: attach one that is not")
    if (begins := IMAGES.get(media_type)) is not None:
        if not begins(content):
            raise ProblemError(
                "invalid", f"{name}: this is no {media_type}: give it the media type that it has"
            )
        return
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise ProblemError(
            "invalid", f"{name}: no UTF-8 text (at byte {error.start}): convert it and attach that"
        ) from None
    if "\0" in text:
        raise ProblemError("invalid", f"{name}: no text, it holds NUL characters: attach a text")


def _attached(blobs: BlobStore, given: NewAttachment) -> Attachment:
    name, media_type = given.name, media_type_of(given.name, given.media_type)
    if given.sha256 is None:
        content = _decoded(name, given.data or "")
        check_content(name, media_type, content)
        return _named(blobs.put(content, media_type), name)
    size = blobs.size(given.sha256)
    if size is None or given.size not in (None, size):
        raise ProblemError(
            "not-found",
            f"{name}: there is no such file {given.sha256}: store it with POST /v1/blobs, or give"
            " its content as 'data'",
        )
    check_size(name, media_type, size)
    blob = Blob(sha256=given.sha256, size=size, media_type=media_type)
    check_content(name, media_type, blobs.get(blob))
    return _named(blob, name)


def _named(blob: Blob, name: str) -> Attachment:
    return Attachment(sha256=blob.sha256, size=blob.size, media_type=blob.media_type, name=name)


def _decoded(name: str, data: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error:
        raise ProblemError("invalid", f"{name}: 'data' is not base64: encode the file") from None
