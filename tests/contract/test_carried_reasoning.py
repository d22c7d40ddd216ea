"""What models want back with the calls of tools: thinking as it was signed, encrypted, or plain.

The first request is answered with a call. What `Finished.carried` says then goes into the second
request, beside the call and what came of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from actors.providers.port import ChatMessage, ChatRequest, Finished, Tool
from events.errors import BadResponse
from events.values import ToolCall
from tests.contract.every_provider import ASKED, answer, serving
from tests.contract.provider_calls import listen
from tests.servers import chat
from tests.servers.dialects.anthropic import AnthropicDialect
from tests.servers.dialects.chat import ChatDialect
from tests.servers.dialects.dialect import Dialect
from tests.servers.dialects.ollama import OllamaDialect
from tests.servers.dialects.responses import (
    ResponsesDialect,
    event,
    function_call,
    message,
    response,
)
from tests.servers.scripted import Step

CALL = ToolCall(id="call_1", name="look_up", arguments='{"at":"cat"}')
OTHER = ToolCall(id="call_2", name="look_up", arguments='{"at":"dog"}')
TOOL = Tool("look_up", "Looks something up.", {"type": "object"})
OFFERED = replace(ASKED, tools=(TOOL,))
ANTHROPIC, RESPONSES = AnthropicDialect(), ResponsesDialect()


def going_on(first: Finished, text: str = "", *calls: ToolCall) -> ChatRequest:
    """The second request, after an answer that ended so."""
    asking = ChatMessage(
        "assistant", text, tool_calls=calls or first.tool_calls, carried=first.carried
    )
    results = [
        ChatMessage("tool", "On the mat.", tool_call_id=call.id) for call in asking.tool_calls
    ]
    return replace(OFFERED, messages=(*ASKED.messages, asking, *results))


async def called(dialect: Dialect, *steps: Step, **how: Any) -> tuple[Finished, str]:
    """The end of an answer in those steps, and its text."""
    async with serving(dialect, *steps, **how) as (_, provider):
        answered = await listen(provider, OFFERED)
        return answered.end, answered.text


async def sent(dialect: Dialect, asked: ChatRequest, **config: Any) -> dict[str, Any]:
    """The body of that request."""
    async with serving(dialect, *answer(dialect, "Yes."), config=config) as (server, provider):
        answered = await listen(provider, asked)
        return {**server.requests[-1].body, "notes": answered.end.notes}


FORMS = {
    "anthropic": [{"type": "thinking"}, {"type": "tool_use", "id": "call_1", "input": {}}],
    "responses": [{"role": "assistant"}, {"type": "function_call", "call_id": "call_1"}],
    "chat": {"reasoning_content": "Hm."},
    "ollama": {"thinking": "Hm."},
}


@pytest.mark.parametrize("form", FORMS)
async def test_what_was_carried_in_another_form_does_no_harm(form: str) -> None:
    """As where the provider was configured otherwise between question and answer."""
    dialects: dict[str, Dialect] = {
        "anthropic": ANTHROPIC,
        "responses": RESPONSES,
        "chat": ChatDialect(),
        "ollama": OllamaDialect(),
    }
    first = Finished("tool_calls", tool_calls=(CALL,), carried=json.dumps(FORMS[form]))
    for name, dialect in dialects.items():
        if name != form:
            body = await sent(dialect, going_on(first, "I look."))
            told = [(one.calls, one.results) for one in dialect.rounds(body)]
            assert told == [((("look_up", {"at": "cat"}),), ("On the mat.",))]


# --- Anthropic -----------------------------------------------------------------------------------


def block(index: int, begin: dict[str, Any], *deltas: dict[str, Any]) -> list[bytes]:
    """A block of content, as a stream brings it."""
    stream = ANTHROPIC.event
    return [
        stream("content_block_start", index=index, content_block=begin),
        *(stream("content_block_delta", index=index, delta=delta) for delta in deltas),
        stream("content_block_stop", index=index),
    ]


def thinking(index: int, text: str, signature: str) -> list[bytes]:
    return block(
        index,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": text[:3]},
        {"type": "thinking_delta", "thinking": text[3:]},
        {"type": "signature_delta", "signature": signature},
    )


def use(index: int, call: ToolCall) -> list[bytes]:
    begin = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
    return block(index, begin, {"type": "input_json_delta", "partial_json": call.arguments})


def message_of(*blocks: Sequence[bytes]) -> list[bytes]:
    """A whole answer of those blocks."""
    begin, *_ = ANTHROPIC.begin()
    *_, delta, stop = ANTHROPIC.end("tool_calls")
    return [begin, *(each for some in blocks for each in some), delta, stop]


INTERLEAVED = [
    {"type": "thinking", "thinking": "Let me look.", "signature": "c2lnbmVk"},
    {"type": "text", "text": "I look."},
    {"type": "redacted_thinking", "data": "aGlkZGVu"},
    {"type": "tool_use", "id": "call_1", "name": "look_up", "input": {"at": "cat"}},
    {"type": "tool_use", "id": "call_2", "name": "look_up", "input": {"at": "dog"}},
]


def interleaved() -> list[bytes]:
    return message_of(
        thinking(0, "Let me look.", "c2lnbmVk"),
        block(1, {"type": "text", "text": ""}, {"type": "text_delta", "text": "I look."}),
        block(2, {"type": "redacted_thinking", "data": "aGlkZGVu"}),
        use(3, CALL),
        use(4, OTHER),
    )


async def test_thinking_goes_back_to_anthropic_block_by_block_as_it_came() -> None:
    first, text = await called(ANTHROPIC, *interleaved())
    body = await sent(ANTHROPIC, going_on(first, text), thinking={"type": "enabled"})
    assert body["messages"][1] == {"role": "assistant", "content": INTERLEAVED}
    assert [each["tool_use_id"] for each in body["messages"][2]["content"]] == ["call_1", "call_2"]
    assert body["thinking"] == {"type": "enabled"}
    assert not any("thinking" in note for note in body["notes"])


async def test_the_same_from_an_answer_in_one_piece() -> None:
    whole = json.loads(ANTHROPIC.body(""))
    whole |= {"content": INTERLEAVED, "stop_reason": "tool_use"}
    first, text = await called(
        ANTHROPIC,
        json.dumps(whole).encode(),
        content_type="application/json",
        config={"stream": False},
    )
    body = await sent(ANTHROPIC, going_on(first, text))
    assert body["messages"][1]["content"] == INTERLEAVED


async def test_thinking_does_not_go_back_with_other_calls() -> None:
    first, text = await called(ANTHROPIC, *interleaved())
    renamed = CALL.model_copy(update={"id": "call00001"})
    asked = going_on(first, text, renamed)
    body = await sent(ANTHROPIC, asked, thinking={"type": "adaptive"})
    kinds = [each["type"] for each in body["messages"][1]["content"]]
    assert kinds == ["text", "tool_use"]
    assert body["thinking"] == {"type": "adaptive"}
    body = await sent(ANTHROPIC, asked, thinking={"type": "enabled"})
    assert "thinking" not in body
    assert any(note.startswith("thinking: left out") for note in body["notes"])


async def test_thinking_begins_a_message_of_the_assistant() -> None:
    first, _ = await called(ANTHROPIC, *interleaved())
    asked = going_on(first)
    before = ChatMessage("assistant", "Hm.")
    messages = (asked.messages[0], before, *asked.messages[1:])
    body = await sent(ANTHROPIC, replace(asked, messages=messages))
    roles = [each["role"] for each in body["messages"]]
    assert roles == ["user", "assistant", "user", "assistant", "user"]
    assert body["messages"][3]["content"] == INTERLEAVED


async def test_without_thinking_or_without_calls_nothing_is_carried() -> None:
    dialects: tuple[Dialect, ...] = (ANTHROPIC, RESPONSES, ChatDialect(), OllamaDialect())
    for dialect in dialects:
        plain = [*dialect.begin(), *dialect.calls(CALL), *dialect.end("tool_calls")]
        if dialect is ANTHROPIC:  # which begins with a block for thinking
            plain = message_of(use(0, CALL))
        assert (await called(dialect, *plain))[0].carried is None
        thought = [*dialect.begin(), dialect.thought("Hm."), dialect.piece("Yes."), *dialect.end()]
        assert (await called(dialect, *thought))[0].carried is None


async def test_signatures_without_end_are_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.providers.anthropic_messages.LONGEST_HIDDEN", 10)
    with pytest.raises(BadResponse, match="form of Anthropic"):
        await called(ANTHROPIC, *message_of(thinking(0, "Hm.", "s" * 11), use(1, CALL)))


# --- the Responses API ---------------------------------------------------------------------------

REASONING = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "Let me look."}],
    "encrypted_content": "gAAAA",
}
BACK = [
    REASONING,
    {"role": "assistant", "content": "I look.", "phase": "commentary"},
    {"type": "function_call", "call_id": "call_1", "name": "look_up", "arguments": '{"at":"cat"}'},
    {"type": "function_call", "call_id": "call_2", "name": "look_up", "arguments": '{"at":"dog"}'},
]


def output() -> list[dict[str, Any]]:
    return [
        {**REASONING, "status": None},
        {**message("I look."), "phase": "commentary"},
        function_call(CALL),
        function_call(OTHER),
    ]


@pytest.mark.parametrize("streamed", [True, False])
async def test_encrypted_reasoning_goes_back_in_its_place(streamed: bool) -> None:
    whole = response("completed", output=output())
    if streamed:
        items = (
            event("response.output_item.done", output_index=n, item=item)
            for n, item in enumerate(output())
        )
        said = RESPONSES.piece("I look.")
        steps = [*RESPONSES.begin(), said, *items, event("response.completed", response=whole)]
        first, text = await called(RESPONSES, *steps)
    else:
        first, text = await called(
            RESPONSES,
            json.dumps(whole).encode(),
            content_type="application/json",
            config={"stream": False},
        )
    assert [call.id for call in first.tool_calls] == ["call_1", "call_2"]
    body = await sent(RESPONSES, going_on(first, text))
    assert body["include"] == ["reasoning.encrypted_content"]
    assert body["input"][1:5] == BACK
    assert [each["call_id"] for each in body["input"][5:]] == ["call_1", "call_2"]


async def test_a_model_that_does_not_reason_is_not_asked_for_it_again() -> None:
    refusal = {
        "error": {
            "message": "Encrypted content is not supported with this model.",
            "type": "invalid_request_error",
            "param": "include",
            "code": None,
        }
    }
    refused = json.dumps(refusal).encode()
    async with serving(RESPONSES, refused, status=400) as (server, provider):
        server.reply(*answer(RESPONSES, "Yes."))
        for _ in range(2):
            assert (await listen(provider, OFFERED)).text == "Yes."
        assert ["include" in one.body for one in server.requests] == [True, False, False]
        assert all(one.body["tools"] for one in server.requests)


async def test_without_tools_reasoning_is_not_asked_for() -> None:
    assert "include" not in await sent(RESPONSES, ASKED)


# --- chat completions ----------------------------------------------------------------------------


async def chat_round(*chunks: bytes) -> dict[str, Any]:
    """The assistant's message of the second request, after an answer in those chunks."""
    dialect = ChatDialect()
    steps = [*dialect.begin(), *chunks, *dialect.end("tool_calls")]
    first, text = await called(dialect, *steps)
    body = await sent(dialect, going_on(first, text))
    found: dict[str, Any] = body["messages"][1]
    return found


async def test_reasoning_content_goes_back_to_servers_that_tell_it() -> None:
    dialect = ChatDialect()
    said = await chat_round(
        dialect.thought("Let me "), dialect.thought("look."), *dialect.calls(CALL)
    )
    assert said["reasoning_content"] == "Let me look."
    assert "reasoning_details" not in said


async def test_details_of_reasoning_go_back_with_their_pieces_put_together() -> None:
    def chunk(*details: dict[str, Any]) -> bytes:
        return chat.chunk(reasoning="Let", reasoning_details=[*details])

    text = {"type": "reasoning.text", "index": 0, "format": "anthropic-claude-v1"}
    hidden = {"type": "reasoning.encrypted", "data": "aGlk", "index": 1}
    said = await chat_round(
        chunk({**text, "text": "Let me ", "signature": None}),
        chunk({**text, "text": "look."}),
        chunk({**text, "text": "", "signature": "c2ln"}, hidden),
        chunk({**hidden, "data": "ZGVu"}),
        *ChatDialect().calls(CALL),
    )
    assert said["reasoning_details"] == [
        {**text, "text": "Let me look.", "signature": "c2ln"},
        hidden,
        {**hidden, "data": "ZGVu"},
    ]
    assert "reasoning_content" not in said


async def test_signatures_beside_calls_go_back_beside_them() -> None:
    signed = {"google": {"thought_signature": "c2ln"}}
    parts = [
        {
            "index": index,
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
            **extra,
        }
        for index, (call, extra) in enumerate(((CALL, {"extra_content": signed}), (OTHER, {})))
    ]
    said = await chat_round(chat.chunk(tool_calls=parts))
    assert [call.get("extra_content") for call in said["tool_calls"]] == [signed, None]


# --- Ollama --------------------------------------------------------------------------------------


async def test_thinking_goes_back_to_ollama() -> None:
    dialect = OllamaDialect()
    thoughts = [dialect.thought("Let me "), dialect.thought("look.")]
    first, _ = await called(dialect, *thoughts, *dialect.calls(CALL), *dialect.end("tool_calls"))
    body = await sent(dialect, going_on(first))
    assert body["messages"][1]["thinking"] == "Let me look."
