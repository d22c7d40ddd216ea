"""A question becomes the request that its model takes."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from actors.messages import Ask
from actors.providers.port import Capabilities, ChatMessage, Image, Tool
from actors.request import NO_PICTURES, NO_TOOLS, Made, made, tools_of
from events.blobs import MemoryBlobs
from events.chat import WireMessage, written
from events.errors import ProviderError
from events.values import Attachment, Blob, Parameters, ToolCall

ABLE = Capabilities(tools=True, images=True)
CALL = ToolCall(id="c1", name="cats__find", arguments="{}")
LISTED = [{"name": "cats__find", "description": "Finds a cat.", "parameters": {"type": "object"}}]


class Room:
    """What lies beside a store, and questions about it."""

    def __init__(self) -> None:
        self.blobs = MemoryBlobs()
        self.tools = self.blobs.put(orjson.dumps(LISTED), "application/json")

    def picture(self, content: bytes = b"png") -> Attachment:
        blob = self.blobs.put(content, "image/png")
        return Attachment(**dict(blob), name="cat.png")

    def made(
        self,
        *messages: WireMessage,
        able: Capabilities = ABLE,
        beside: bool = False,
        names: bool = False,
        **ask: Any,
    ) -> Made:
        said: tuple[WireMessage, ...] | Blob = messages
        if beside:
            said = self.blobs.put(written(messages), "application/json")
        question = Ask(
            session="s",
            turn="t",
            step="ask:a:1",
            attempt=1,
            reply="r",
            model="m",
            provider="p",
            purpose="answer",
            messages=said,
            parameters=Parameters(),
            **{"tools": self.tools, **ask},
        )
        return asyncio.run(made(question, "the model", able, self.blobs, names=names))

    def chain(self, *images: Attachment, carried: Any = None) -> tuple[WireMessage, ...]:
        return (
            WireMessage(role="user", content="Where?"),
            WireMessage(role="assistant", content="", tool_calls=(CALL,), carried=carried),
            WireMessage(
                role="tool", content="Gone.", tool_call_id="c1", images=images, is_error=True
            ),
        )


@pytest.mark.parametrize("beside", [False, True])
def test_tools_and_calls_and_results_are_in_the_request(beside: bool) -> None:
    room = Room()
    long = room.blobs.put(b"[1]")
    asked = room.made(*room.chain(room.picture(), carried=long), beside=beside, tool_choice="none")
    assert asked.request.tools == (Tool("cats__find", "Finds a cat.", {"type": "object"}),)
    assert asked.request.tool_choice == "none"
    assert asked.request.messages == (
        ChatMessage("user", "Where?"),
        ChatMessage("assistant", "", tool_calls=(CALL,), carried="[1]"),
        ChatMessage(
            "tool", "Gone.", (Image("image/png", b"png"),), tool_call_id="c1", is_error=True
        ),
    )
    assert asked.notes == ()
    assert asked.characters > room.tools.size + 4000


def test_the_list_of_tools_is_read_once() -> None:
    content = orjson.dumps(LISTED)
    assert tools_of(content) is tools_of(bytes(content))


def test_a_model_without_tools_is_offered_none_and_told_in_words() -> None:
    room = Room()
    asked = room.made(*room.chain(), able=Capabilities(), tool_choice="none")
    assert (asked.request.tools, asked.request.tool_choice) == ((), None)
    assert asked.request.messages == (
        ChatMessage("user", "Where?"),
        ChatMessage("assistant", "[I call cats__find with {}]"),
        ChatMessage("user", "[What cats__find returned]\nGone."),
    )
    assert asked.notes == (NO_TOOLS,)
    assert room.made(*room.chain(), able=Capabilities(), tools=None).notes == ()


def test_pictures_of_tools_are_left_out_for_who_sees_none_those_of_a_person_are_an_error() -> None:
    room = Room()
    blind = Capabilities(tools=True)
    asked = room.made(*room.chain(room.picture()), able=blind)
    assert asked.request.messages[-1].images == ()
    assert asked.request.messages[-1].content == "Gone.\n\n[Image left out: cat.png]"
    assert asked.notes == (NO_PICTURES,)
    shown = WireMessage(role="user", content="What is this?", images=(room.picture(),))
    with pytest.raises(ProviderError, match="the model takes no pictures"):
        room.made(shown, able=blind)


@pytest.mark.parametrize(
    ("name", "names", "template", "sent", "text"),
    [
        ("ada", True, None, "ada", "Hello"),
        ("Ada L.", True, None, "Ada_L_", "Hello"),
        ("x" * 80, True, None, "x" * 64, "Hello"),
        ("王", True, None, None, "王: Hello"),
        ("ada", True, "a template", None, "ada: Hello"),
        ("ada", False, None, None, "ada: Hello"),
        (None, True, None, None, "Hello"),
    ],
)
def test_who_speaks_is_said_beside_the_text_or_in_it(
    name: str | None, names: bool, template: str | None, sent: str | None, text: str
) -> None:
    said = WireMessage(role="user", content="Hello", name=name)
    made = Room().made(said, names=names, chat_template=template)
    assert made.request.messages == (ChatMessage("user", text, name=sent),)
