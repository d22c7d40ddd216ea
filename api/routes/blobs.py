"""Long texts and attachments, by their hash."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from api.attachments import check_content, media_type_of
from api.doors import Inside
from api.file_types import IMAGES
from api.openapi import problems
from api.problems import ProblemError
from events.errors import StoreError, Tampered
from events.store import BlobStore
from events.values import Blob, Digest, FileName

router = APIRouter(prefix="/v1", tags=["room"])

MOST = 64 * 1024 * 1024  # bytes


_BINARY = {"type": "string", "format": "binary"}


class StoredFile(BaseModel):
    """A file that is stored; with a name, it can be given as an attachment as it is."""

    sha256: str
    size: int = Field(description="in bytes")
    media_type: str
    name: str | None


@router.post(
    "/blobs",
    operation_id="post_blob",
    status_code=201,
    responses=problems(413, 415, 503),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {kind: {"schema": _BINARY} for kind in IMAGES}
            | {"text/plain": {"schema": _BINARY, "examples": {"a text": {"value": "To do: all"}}}},
        }
    },
)
async def post_blob(
    doors: Inside,
    request: Request,
    name: Annotated[
        FileName | None, Query(min_length=1, description="what the file is called")
    ] = None,
) -> StoredFile:
    """Store a file that is to be attached to messages: an image, or a text in UTF-8.

    The body is the file, `Content-Type` its media type. It is durable when this answers; the same
    file again is the same.
    """
    called = name or "the file"
    media_type = media_type_of(called, request.headers.get("content-type", ""))
    content = await request.body()
    check_content(called, media_type, content)
    blob = await asyncio.to_thread(doors.room.blobs.put, content, media_type)
    return StoredFile(sha256=blob.sha256, size=blob.size, media_type=media_type, name=name)


@router.get(
    "/blobs/{sha256}",
    operation_id="get_blob",
    response_class=Response,
    responses={
        200: {"content": {"application/octet-stream": {"schema": {"type": "string"}}}},
        **problems(404),
    },
)
async def get_blob(
    doors: Inside,
    sha256: Annotated[Digest, Path(description="'sha256' of the reference")],
    size: Annotated[
        int | None, Query(ge=0, le=MOST, description="'size' of the reference, in bytes")
    ] = None,
) -> Response:
    """The content that an event refers to by its hash, and its size where that is given.

    It is handed out as bytes, whatever it is: its reference says the media type.
    """
    try:
        content = await asyncio.to_thread(_content, doors.room.blobs, sha256, size)
    except Tampered:
        raise ProblemError(
            "not-found",
            f"blob {sha256} does not have {size} bytes: take hash and size from one reference",
        ) from None
    except StoreError as error:
        if error.retryable:
            raise
        raise ProblemError(
            "not-found", f"there is no blob {sha256}: take hash and size from an event"
        ) from None
    headers = {
        "X-Content-Type-Options": "nosniff",
        "Content-Disposition": "attachment",
        "Cache-Control": "private, max-age=31536000, immutable",
        "ETag": f'"{sha256}"',
    }
    return Response(content, media_type="application/octet-stream", headers=headers)


def _content(blobs: BlobStore, sha256: str, size: int | None) -> bytes:
    if size is None and (size := blobs.size(sha256)) is None:
        raise StoreError(f"blob {sha256} is not in the store")
    return blobs.get(Blob(sha256=sha256, size=size))
