"""What the provider of OpenAI-compatible servers reads in an answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from events.errors import BadResponse, ProviderUnavailable
from events.values import ToolCall, Usage
from tests.contract.provider_calls import ASKED, listen, made, scripted
from tests.servers.chat import DONE, chunk, event, usage, whole


async def test_unicode_is_whole_however_the_bytes_are_cut() -> None:
    text = "Zürich — 東京 🙂 e\u0301 \u2028 ok"
    raw = event({"choices": [{"index": 0, "delta": {"content": text}}]}).decode()
    raw = json.dumps(json.loads(raw[6:]), ensure_ascii=False)
    data = b"data: " + raw.encode() + b"\n\n"
    async with scripted() as (server, provider):
        server.reply(*(bytes([byte]) for byte in data), chunk(finish="stop"), DONE)
        assert (await listen(provider, ASKED)).text == text


async def test_half_a_character_does_not_break_the_answer() -> None:
    async with scripted() as (server, provider):
        server.reply(chunk("a\ud83d"), chunk("\ude42b", finish="stop"), DONE)
        text = (await listen(provider, ASKED)).text
        assert text.encode()
        assert (text[0], text[-1]) == ("a", "b")


async def test_an_empty_answer_is_an_answer() -> None:
    async with scripted() as (server, provider):
        server.reply(chunk(role="assistant"), chunk(finish="stop"), DONE)
        answered = await listen(provider, ASKED)
        assert (answered.text, answered.end.finish_reason) == ("", "stop")
        assert answered.end.usage is None


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
async def test_reasoning_is_kept_apart(name: str) -> None:
    async with scripted() as (server, provider):
        server.reply(
            b"".join([chunk(**{name: "Let me "}), chunk(**{name: "think."}), chunk("Yes")]),
            chunk(".", finish="stop"),
            DONE,
        )
        answered = await listen(provider, ASKED)
        assert (answered.reasoning, answered.text) == ("Let me think.", "Yes.")


async def test_tool_calls_are_put_together() -> None:
    def part(index: int, **fields: Any) -> bytes:
        return chunk(tool_calls=[{"index": index, **fields}])

    async with scripted() as (server, provider):
        server.reply(
            part(0, id="c1", type="function", function={"name": "look", "arguments": ""}),
            part(0, function={"arguments": '{"at":'}),
            part(1, id="c2", type="function", function={"name": "wait", "arguments": "{}"}),
            part(0, function={"arguments": '"cat"}'}),
            chunk(finish="tool_calls"),
            DONE,
        )
        answered = await listen(provider, ASKED)
        assert answered.end.finish_reason == "tool_calls"
        assert answered.end.tool_calls == (
            ToolCall(id="c1", name="look", arguments='{"at":"cat"}'),
            ToolCall(id="c2", name="wait", arguments="{}"),
        )


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({}, Usage(input=10, output=5)),
        ({"prompt_tokens_details": {"cached_tokens": 4}}, Usage(input=6, cache_read=4, output=5)),
        (
            {"completion_tokens_details": {"reasoning_tokens": 3}},
            Usage(input=10, output=2, reasoning=3),
        ),
        (
            {"completion_tokens_details": {"reasoning_tokens": 8}},
            Usage(input=10, output=5, reasoning=8),
        ),
        (
            {"prompt_tokens_details": None, "completion_tokens_details": None},
            Usage(input=10, output=5),
        ),
        # As xAI counts: the reasoning beside the completion, and all of it in the total.
        (
            {"completion_tokens_details": {"reasoning_tokens": 94}, "total_tokens": 109},
            Usage(input=10, output=5, reasoning=94),
        ),
        (
            {"completion_tokens_details": {"reasoning_tokens": 4}, "total_tokens": 19},
            Usage(input=10, output=5, reasoning=4),
        ),
        ({"total_tokens": 315}, Usage(input=10, output=5, reasoning=300)),
        (
            {"completion_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 315},
            Usage(input=10, output=5),
        ),
        ({"total_tokens": 2}, Usage(input=10, output=5)),
        ({"prompt_tokens": "many"}, None),
    ],
)
async def test_usage_is_normalised_and_kept_raw(
    raw: dict[str, Any], expected: Usage | None
) -> None:
    async with scripted() as (server, provider):
        server.reply(chunk("Hi", finish="stop"), usage(**raw), DONE)
        end = (await listen(provider, ASKED)).end
        assert end.usage == expected
        assert end.usage_raw is not None
        assert raw.items() <= end.usage_raw.items()


async def test_a_second_answer_is_passed_over() -> None:
    async with scripted() as (server, provider):
        other = {"index": 1, "delta": {"content": "No"}, "finish_reason": "stop"}
        server.reply(chunk("Yes"), event({"choices": [other]}), chunk(finish="stop"), DONE)
        assert (await listen(provider, ASKED)).text == "Yes"


async def test_lines_of_json_are_read_as_well() -> None:
    async with scripted() as (server, provider):
        lines = [one.removeprefix(b"data: ").strip() + b"\n" for one in whole("Hi")[:-1]]
        server.reply(*lines, content_type="application/x-ndjson")
        assert (await listen(provider, ASKED)).text == "Hi"


@pytest.mark.parametrize("configured", [True, False], ids=["asked-to-stream", "not-streamed"])
async def test_an_answer_in_one_body_is_read_as_well(configured: bool) -> None:
    body = json.dumps(
        {
            "model": "served-model",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "Hi", "reasoning_content": "Well"},
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 10, "completion_tokens": 5},
        },
        indent=2,
    )
    async with scripted(stream=configured) as (server, provider):
        server.reply(body[:40].encode(), body[40:].encode(), content_type="application/json")
        answered = await listen(provider, ASKED)
        assert (answered.text, answered.reasoning) == ("Hi", "Well")
        assert answered.end.usage == Usage(input=10, output=5)
        assert server.requests[0].body["stream"] is configured


async def test_a_body_that_is_cut_is_no_answer() -> None:
    async with scripted(stream=False) as (server, provider):
        server.reply(b'{"choices": [{"message": {"content": "Hi"}', content_type="application/json")
        with pytest.raises(BadResponse, match="no JSON"):
            await listen(provider, ASKED)


async def test_the_list_of_models_and_its_failures() -> None:
    async with scripted() as (server, provider):
        server.list("one", "two")
        assert await provider.models() == ("one", "two")
    async with made("openai", base_url="http://127.0.0.1:9/v1") as provider:
        with pytest.raises(ProviderUnavailable, match=r"127\.0\.0\.1:9"):
            await provider.models()
