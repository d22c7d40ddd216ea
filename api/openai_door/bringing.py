"""From a client's request to what a room takes: messages, images, tools and parameters."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from api.attachments import check_content, media_type_of
from api.openai_door.faults import DoorError
from api.openai_door.requests import ChatMessage, ChatRequest, Part
from events import chat
from events.canonical import canonical_json
from events.chat import WireMessage
from events.store import BlobStore
from events.values import SPILL, Attachment, Blob, Message, Parameters, Text, ToolCall

MOST_IMAGES = 32
LONGEST_SCHEMA = 256 * 1024
"""Bytes of a `response_format`: it goes to the model's actor as it is."""
_JSON = "application/json"
_DATA = re.compile(r"data:(?P<type>[\w.+/-]+)(?:;[^,;]*)*;base64,", re.ASCII)


@dataclass(frozen=True, slots=True)
class Brought:
    """What a client brings to one call, whoever answers it.

    `tools` are those that it calls itself, as `Message.tools` has them, and `tool_choice` likewise.
    Every blob is durable.
    """

    model: str
    messages: tuple[WireMessage, ...]
    parameters: Parameters
    tools: Blob | None = None
    tool_choice: Literal["required"] | None = None
    names: frozenset[str] = frozenset()
    """Of its tools."""

    @property
    def images(self) -> tuple[Attachment, ...]:
        """All images of the conversation."""
        return tuple(image for message in self.messages for image in message.images)

    async def whole(self, blobs: BlobStore) -> Message:
        """The whole conversation, as one message to a session of its own."""
        given = await asyncio.to_thread(blobs.put, chat.written(self.messages), _JSON)
        last = next((m for m in reversed(self.messages) if m.role == "user"), self.messages[-1])
        return Message(
            content=await spilled(blobs, last.content),
            attachments=self.images,
            given=given,
            tools=self.tools,
            tool_choice=self.tool_choice,
        )

    async def last(self, blobs: BlobStore) -> Message:
        """The last message of the user alone, for a session that knows what was said before."""
        said = self.messages[-1]
        if said.role != "user":
            raise DoorError(
                400,
                "the last message has to be of role 'user': it is posted to the session, which"
                " knows what was said before",
                code="invalid_value",
                param="messages",
            )
        if not said.content:
            raise DoorError(400, "the message is empty", code="invalid_value", param="messages")
        return Message(content=await spilled(blobs, said.content), attachments=said.images)


async def bring(blobs: BlobStore, request: ChatRequest) -> Brought:
    """Check what came, and store its files; raises a `DoorError` that names what cannot be."""
    images = _Images(blobs)
    messages = [
        await asyncio.to_thread(_message, images, number, message)
        for number, message in enumerate(request.messages)
    ]
    offered = [] if request.tool_choice == "none" else list(request.tools or ())
    forced = request.tool_choice
    if isinstance(forced, dict):
        name = (forced.get("function") or {}).get("name")
        offered = [tool for tool in offered if tool.function.name == name]
        if not offered:
            raise DoorError(
                400,
                f"tool_choice names {name!r:.80}, which is not among the tools",
                code="invalid_value",
                param="tool_choice",
            )
        forced = "required"
    functions = sorted((tool.function for tool in offered), key=lambda one: one.name)
    names = frozenset(one.name for one in functions)
    if len(names) < len(functions):
        raise DoorError(400, "two tools have one name", code="invalid_value", param="tools")
    tools = None
    if functions:
        listed = canonical_json([one.model_dump() for one in functions])
        tools = await asyncio.to_thread(blobs.put, listed, _JSON)
    if (form := request.form) is not None and len(orjson.dumps(form)) > LONGEST_SCHEMA:
        raise DoorError(
            413,
            f"its schema may have {LONGEST_SCHEMA} bytes: shorten it",
            code="request_too_large",
            param="response_format",
        )
    parameters = Parameters(
        temperature=request.temperature,
        top_p=request.top_p,
        max_tokens=request.longest,
        seed=request.seed,
        stop=request.stops,
        schema_=form,
    )
    return Brought(
        request.model,
        tuple(messages),
        parameters,
        tools,
        "required" if tools is not None and forced == "required" else None,
        names,
    )


async def spilled(blobs: BlobStore, text: Text) -> Text:
    """The text as a command carries it; a long one is stored first."""
    if isinstance(text, Blob) or len(data := text.encode()) <= SPILL:
        return text
    return await asyncio.to_thread(blobs.put, data)


def _message(images: _Images, number: int, message: ChatMessage) -> WireMessage:
    parts = message.content
    if isinstance(parts, str) or parts is None:
        text, shown = parts or "", tuple[Attachment, ...]()
    else:
        where = f"messages[{number}].content"
        text = "\n\n".join(filter(None, (_text(where, part) for part in parts)))
        shown = tuple(images.of(where, parts))
    calls = tuple(
        ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments)
        for call in message.tool_calls or ()
    )
    return WireMessage(
        role="system" if message.role == "developer" else message.role,
        content=text,
        images=shown,
        tool_calls=calls if message.role == "assistant" else (),
        tool_call_id=message.tool_call_id if message.role == "tool" else None,
        name=message.name or None if message.role in ("user", "assistant") else None,
    )


def _text(where: str, part: Part) -> str:
    match part.type:
        case "text":
            return part.text or ""
        case "refusal":
            return part.refusal or ""
        case "image_url":
            return ""
        case _:
            raise DoorError(
                400,
                f"a part of type {part.type!r:.80} cannot be sent to a room: send 'text' and"
                " 'image_url'",
                code="invalid_value",
                param=where,
            )


class _Images:
    """The images of one request, stored as they are met."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._count = 0

    def of(self, where: str, parts: list[Part]) -> Iterator[Attachment]:
        """Those among the parts of a message."""
        for part in parts:
            if part.type != "image_url":
                continue
            url: Any = part.image_url
            if isinstance(url, dict):
                url = url.get("url")
            self._count += 1
            if self._count > MOST_IMAGES:
                raise _bad(where, f"more than {MOST_IMAGES} images: send fewer")
            yield self._stored(where, url)

    def _stored(self, where: str, url: Any) -> Attachment:
        found = _DATA.match(url) if isinstance(url, str) else None
        if found is None:
            raise _bad(
                where,
                "an image has to be a 'data:image/...;base64,' URL: the room fetches nothing from"
                " elsewhere",
            )
        name = f"image-{self._count}"
        media_type = media_type_of(name, found["type"])
        try:
            content = base64.b64decode(url[found.end() :], validate=True)
        except binascii.Error:
            raise _bad(where, "the image's URL is not base64: encode it again") from None
        if not media_type.startswith("image/"):
            raise _bad(where, f"{media_type} is no image")
        check_content(name, media_type, content)
        blob = self._blobs.put(content, media_type)
        return Attachment(sha256=blob.sha256, size=blob.size, media_type=blob.media_type, name=name)


def _bad(where: str, message: str) -> DoorError:
    return DoorError(400, message, code="invalid_value", param=where)
