"""Renders a conversation by a chat template, where a server takes text and not messages.

The template is Jinja2 as Hugging Face has it: it sees `messages`, `tools`, `add_generation_prompt`,
`bos_token` and `eos_token`, and may call `raise_exception(text)`. It comes from whoever set up the
session, so it runs in the bounded sandbox of `actors.providers.sandbox`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final, NoReturn

import orjson

from actors.providers import sandbox
from actors.providers.chat_messages import tool_of
from actors.providers.forced_calls import told
from actors.providers.port import ChatMessage, ChatRequest
from actors.providers.sandbox import TemplateFault
from actors.providers.sandbox_work import LONGEST_TEXT, TemplateRefused
from events.errors import ProviderError

LONGEST_PROMPT: Final = LONGEST_TEXT

CHATML: Final = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""A template that many models know."""


def render(template: str, request: ChatRequest, *, bos_token: str = "", eos_token: str = "") -> str:
    """The prompt that asks for the next message of the conversation.

    Raises `ProviderError` where the template is wrong, refuses the conversation, or takes too much.
    """
    if isinstance(template, _Rendered):
        if template.why:
            raise _failed(template.why)
        return template.prompt
    try:
        return sandbox.render(template, _context(request, bos_token, eos_token))
    except TemplateFault as error:
        raise _failed(str(error)) from None


def _context(request: ChatRequest, bos_token: str, eos_token: str) -> dict[str, Any]:
    request = told(request)  # templates know of no choice
    tools = () if request.tool_choice == "none" else request.tools
    return {
        "messages": [_message(message) for message in request.messages],
        "tools": [tool_of(each) for each in tools] or None,
        "add_generation_prompt": True,
        "bos_token": bos_token,
        "eos_token": eos_token,
        "raise_exception": _raise_exception,
    }


class _Rendered(str):
    """A template, with the prompt that it made, or why it made none."""

    __slots__ = ("prompt", "why")
    prompt: str
    why: str


def rendered(request: ChatRequest) -> ChatRequest:
    """The request, whose template `render` need not run any more; raises nothing."""
    template = _Rendered(request.chat_template or "")
    template.prompt = template.why = ""
    try:
        template.prompt = sandbox.render(str(template), _context(request, "", ""))
    except TemplateFault as error:
        template.why = str(error)
    return replace(request, chat_template=template)


def arguments_of(text: str) -> dict[str, Any]:
    """The arguments of a tool call as an object; empty where the model wrote none."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _message(message: ChatMessage) -> dict[str, Any]:
    said: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        said["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": arguments_of(call.arguments)},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        said["tool_call_id"] = message.tool_call_id
    return said


def _failed(why: str) -> ProviderError:
    return ProviderError(
        f"the chat_template cannot be used: {why[:400]}. Correct it or leave it out"
    )


def _raise_exception(message: str) -> NoReturn:
    raise TemplateRefused(f"it refuses the conversation: {message}")
