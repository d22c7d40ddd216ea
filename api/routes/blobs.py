"""Long texts and attachments, by their hash."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response

from api.doors import Inside
from api.openapi import problems
from api.problems import ProblemError
from events.errors import StoreError, Tampered
from events.values import Blob, Digest

router = APIRouter(prefix="/v1", tags=["room"])

MOST = 64 * 1024 * 1024  # bytes


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
    size: Annotated[int, Query(ge=0, le=MOST, description="'size' of the reference, in bytes")],
) -> Response:
    """The content that an event refers to by hash and size.

    It is handed out as bytes, whatever it is: its reference says the media type.
    """
    try:
        content = await asyncio.to_thread(doors.room.blobs.get, Blob(sha256=sha256, size=size))
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
