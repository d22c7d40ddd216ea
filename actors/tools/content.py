"""From what a tool gave back to what is kept: texts, and everything else as attachments."""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import re
from dataclasses import dataclass
from typing import Final

import mcp_types as types
import orjson

from actors.providers.http_errors import Secrets
from events.errors import BadResult, ControlRoomError
from events.store import BlobStore
from events.values import SPILL, Attachment, Blob, Text

_log = logging.getLogger(__name__)

LARGEST: Final = 32 * 1024 * 1024
"""Bytes of a result that are kept, all its parts together."""
MOST_PARTS: Final = 64
"""Attachments of a result that are kept."""
STORE_PAUSE, LAST_STORE_PAUSE = 0.2, 5.0  # seconds between two tries to store a result

_MEDIA_TYPE = re.compile(r"[A-Za-z0-9][\w.+-]{0,63}/[A-Za-z0-9][\w.+-]{0,63}")
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f\u0085\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Content:
    """What came back, as an event keeps it."""

    text: Text
    structured: Text | None
    attachments: tuple[Attachment, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Parts:
    """What came back: attachments are their bytes, media type and name."""

    text: str
    structured: str | None
    files: tuple[tuple[bytes, str, str], ...]


async def kept(result: types.CallToolResult, blobs: BlobStore, secrets: Secrets) -> Content:
    """The result's content without the secrets; whatever is long lies beside the store by then.

    Links are told as text. Raises `BadResult` where it is too much, or no content. What stands in
    attachments is kept as it came.
    """
    parts = await asyncio.to_thread(_parts, result, secrets)  # long texts take a while
    files = parts.files
    notes: tuple[str, ...] = ()
    if len(files) > MOST_PARTS:
        notes = (f"{len(files) - MOST_PARTS} attachments are left out",)
    return Content(
        await _stored_text(parts.text, blobs),
        None if parts.structured is None else await _stored_text(parts.structured, blobs),
        tuple([await _attached(*file, blobs) for file in files[:MOST_PARTS]]),
        notes,
    )


def _parts(result: types.CallToolResult, secrets: Secrets) -> _Parts:
    texts: list[str] = []
    files: list[tuple[bytes, str, str]] = []
    for part in result.content:
        match part:
            case types.TextContent(text=text):
                texts.append(text)
            case types.ImageContent(data=data, mime_type=media_type):
                files.append((_decoded(data), media_type, ""))
            case types.AudioContent(data=data, mime_type=media_type):
                files.append((_decoded(data), media_type, ""))
            case types.ResourceLink() as link:
                texts.append(_told(link))
            case types.EmbeddedResource(resource=types.TextResourceContents() as resource):
                texts.append(f"{resource.uri}:\n{resource.text}")
            case types.EmbeddedResource(resource=types.BlobResourceContents() as resource):
                name = str(resource.uri).rstrip("/").rpartition("/")[2]
                media_type = resource.mime_type or "application/octet-stream"
                files.append((_decoded(resource.blob), media_type, name))
    text = "\n".join(texts)
    structured = result.structured_content
    said = orjson.dumps(structured).decode() if structured is not None else None
    size = (
        len(text.encode("utf-8", "replace")) + len(said or "") + sum(len(one[0]) for one in files)
    )
    if size > LARGEST:
        raise BadResult(
            f"the result has {size} bytes, more than the {LARGEST} that are kept: ask for less at"
            " a time"
        )
    return _Parts(
        secrets.hidden(text),
        None if said is None else orjson.dumps(secrets.hidden_within(structured)).decode(),
        tuple(
            (content, secrets.hidden(media_type), secrets.hidden(name))
            for content, media_type, name in files
        ),
    )


def _decoded(data: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise BadResult("the result holds a picture or file that is not in base64") from None


def _told(link: types.ResourceLink) -> str:
    about = ", ".join(part for part in (link.title or link.name, link.mime_type) if part)
    more = f": {link.description}" if link.description else ""
    return f"{link.uri} ({about}){more}"


async def _attached(content: bytes, media_type: str, name: str, blobs: BlobStore) -> Attachment:
    if not _MEDIA_TYPE.fullmatch(media_type):
        media_type = "application/octet-stream"
    blob = await _stored(content, media_type, blobs)
    return Attachment(**blob.model_dump(), name=_UNPRINTABLE.sub("", name)[:255])


async def _stored_text(text: str, blobs: BlobStore) -> Text:
    """The text itself, or its blob where it is too long for an event."""
    content = text.encode("utf-8", "replace")  # half a surrogate pair is no character
    whole = content.decode()
    if len(orjson.dumps(whole)) <= SPILL:
        return whole
    return await _stored(content, "text/plain; charset=utf-8", blobs)


async def _stored(content: bytes, media_type: str, blobs: BlobStore) -> Blob:
    pause = STORE_PAUSE
    while True:
        try:
            return await asyncio.to_thread(blobs.put, content, media_type)
        except (ControlRoomError, OSError) as error:
            # A full disk is emptied some day, and what was done cannot be asked for again.
            _log.error("the result of a tool cannot be stored: %s", error)
        await asyncio.sleep(pause)
        pause = min(2 * pause, LAST_STORE_PAUSE)
