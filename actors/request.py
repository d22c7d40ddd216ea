"""The request that a question is: what lies beside the store is read, and what no model takes told.

A model that takes no tools is told in words what was called before; one that takes no pictures is
told of those that a tool returned.
"""

from __future__ import annotations

import asyncio
import re
from functools import lru_cache
from typing import NamedTuple

import orjson

from actors.messages import Ask
from actors.providers.calls_in_words import in_words
from actors.providers.pictures import check_pictures
from actors.providers.port import Capabilities, ChatMessage, ChatRequest, Image, Tool
from events import chat
from events.chat import WireMessage
from events.store import BlobStore
from events.values import Attachment, Blob, Text

CHARACTERS_OF_IMAGE = 4000  # that an image is worth in a rate limit, about
LISTS_KEPT = 64  # of tools
LONGEST_NAME = 64
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")

NO_TOOLS = "tools: this model takes none, so they were not offered"
NO_PICTURES = "images: this model takes none, so those that tools returned were left out"


ANYTHING = Capabilities(tools=True, images=True, chat_template=True)


class Made(NamedTuple):
    """A request, about how many characters it has, and what was changed in it."""

    request: ChatRequest
    characters: int
    notes: tuple[str, ...]


async def made(
    ask: Ask, name: str, able: Capabilities, blobs: BlobStore, *, names: bool = False
) -> Made:
    """The request of `ask`, as a model that is `able` takes it.

    Names of those who speak are sent apart where it takes `names`, else in the text; templates know
    of none.

    Raises a `ProviderError` where a message of a person has pictures, and the model takes none;
    `name` is how the model is called then.
    """
    reading = _Reading(blobs, names and not ask.chat_template)
    messages = ask.messages
    if isinstance(messages, Blob):
        messages = chat.read(await reading.content(messages))
    notes: list[str] = []
    if not able.images:
        check_pictures(name, sum(len(one.images) for one in messages if one.role != "tool"), able)
        if any(one.images for one in messages):
            notes.append(NO_PICTURES)
    said = tuple([await reading.message(one, able) for one in messages])
    tools: tuple[Tool, ...] = ()
    size = 0
    if not able.tools:
        notes += [NO_TOOLS] if ask.tools else []
        said = in_words(said)
    elif ask.tools is not None:
        tools, size = tools_of(await reading.content(ask.tools)), ask.tools.size
    if ask.chat_template and not able.chat_template:
        notes.append("chat_template: the server uses its own")
    request = ChatRequest(
        ask.model,
        said,
        ask.parameters,
        tools,
        ask.tool_choice if tools else None,
        role=ask.role,
        purpose=ask.purpose,
        chat_template=ask.chat_template,
    )
    return Made(request, size + sum(map(_characters, said)), tuple(notes))


@lru_cache(maxsize=LISTS_KEPT)
def tools_of(content: bytes) -> tuple[Tool, ...]:
    """The tools of a list as `ModelAsked.tools` refers to; the same object for the same list."""
    return tuple(
        Tool(one["name"], one["description"], one["parameters"]) for one in orjson.loads(content)
    )


def _plain(name: str | None) -> str | None:
    """The name as providers take one; None where nothing of it would be left."""
    plain = _NOT_IN_NAMES.sub("_", name or "")[:LONGEST_NAME]
    return plain if plain.strip("_") else None


def _characters(message: ChatMessage) -> int:
    calls = sum(len(call.name) + len(call.arguments) for call in message.tool_calls)
    pictures = len(message.images) * CHARACTERS_OF_IMAGE
    return len(message.content) + len(message.carried or "") + calls + pictures


class _Reading:
    """Reads what lies beside the store."""

    def __init__(self, blobs: BlobStore, names: bool) -> None:
        self._blobs = blobs
        self._names = names

    async def content(self, blob: Blob) -> bytes:
        return await asyncio.to_thread(self._blobs.get, blob)

    async def message(self, one: WireMessage, able: Capabilities) -> ChatMessage:
        text = await self._text(one.content)
        name = _plain(one.name) if self._names else None
        if name is None:
            text = chat.named(one.name, text)
        if one.images and not able.images:
            names = (f"[Image left out: {each.name}]" for each in one.images)
            text = "\n\n".join(filter(None, (text, *names)))
        return ChatMessage(
            one.role,
            text,
            tuple([await self._image(each) for each in one.images]) if able.images else (),
            one.tool_calls,
            one.tool_call_id,
            one.is_error,
            None if one.carried is None else await self._text(one.carried),
            name,
        )

    async def _text(self, text: Text) -> str:
        return text if isinstance(text, str) else (await self.content(text)).decode()

    async def _image(self, attachment: Attachment) -> Image:
        return Image(attachment.media_type, await self.content(attachment))
