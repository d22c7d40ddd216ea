"""That a tool has to be called, in words, for models that take no such wish as a parameter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from actors.providers.port import ChatMessage, ChatRequest

KEY: Final = "tool_choice"
FORCED: Final = f"{KEY}=required"
"""The same, for a server that refuses this value of it alone."""
NOTE: Final = f"{KEY}: the model was told in words that it has to call a tool"


def told(request: ChatRequest) -> ChatRequest:
    """The request, in whose messages the wish stands; the same where it has none.

    It stands behind what the user said last. Where that is not the end of the conversation it is a
    system message, because many models refuse a user who speaks after a tool.
    """
    if request.tool_choice != "required":
        return request
    wish = "Answer by calling one of the tools, and not with a text."
    if len(request.tools) == 1:
        wish = f"Answer by calling the tool {request.tools[0].name}, and not with a text."
    messages = list(request.messages)
    at = -1 if messages and messages[-1].role == "user" else 0
    if not messages or (at == 0 and messages[0].role != "system"):
        messages.insert(0, ChatMessage("system", wish))
    else:
        said = messages[at]
        text = "\n\n".join(filter(None, (said.content, wish)))
        messages[at] = replace(said, content=text)
    return replace(request, messages=tuple(messages), tool_choice=None)


def negotiable(body: Mapping[str, Any], forced: Any = "required") -> tuple[str, ...]:
    """What a server may refuse of the choice in the body; `forced` is how its API writes it."""
    if KEY not in body:
        return ()
    return (FORCED,) if body[KEY] == forced else (KEY,)
