"""The provider of OpenAI-compatible servers in front of a real one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import openai
import pytest

from actors.providers.port import ChatMessage, ChatRequest, Provider
from events.errors import ContextTooLong
from events.values import Parameters
from tests.contract.provider_calls import ASKED, listen, made
from tests.servers.llama import LlamaServer


@asynccontextmanager
async def llama(server: LlamaServer) -> AsyncIterator[Provider]:
    async with made("openai", base_url=server.base_url) as provider:
        yield provider


async def test_llama_answers_counts_and_repeats_itself_by_seed(llama_server: LlamaServer) -> None:
    asked = replace(
        ASKED, model=llama_server.model_name, parameters=Parameters(seed=3, max_tokens=24)
    )
    async with llama(llama_server) as provider:
        assert await provider.models() == (llama_server.model_name,)
        one, two = await listen(provider, asked), await listen(provider, asked)
        assert one.text
        assert one.text == two.text
        another_seed = replace(asked, parameters=Parameters(seed=4, max_tokens=24))
        assert (await listen(provider, another_seed)).text != one.text
        assert one.end.finish_reason in ("stop", "length")
        assert one.end.usage is not None
        assert 0 < one.end.usage.output <= 24
        raw = one.end.usage_raw
        assert raw is not None
        assert one.end.usage.input + one.end.usage.cache_read == raw["prompt_tokens"]

        async with openai.AsyncOpenAI(base_url=llama_server.base_url, api_key="none") as vendor:
            told = await vendor.chat.completions.create(
                model=llama_server.model_name,
                messages=[{"role": "user", "content": ASKED.messages[0].content}],
                seed=3,
                max_tokens=24,
            )
        assert told.choices[0].message.content == one.text


async def test_llama_keeps_to_a_schema(llama_server: LlamaServer) -> None:
    schema = {
        "type": "object",
        "properties": {"choice": {"type": "string", "enum": ["a", "b"]}},
        "required": ["choice"],
        "additionalProperties": False,
    }
    asked = replace(
        ASKED,
        model=llama_server.model_name,
        parameters=Parameters(seed=1, max_tokens=100, schema_=schema),
    )
    async with llama(llama_server) as provider:
        answered = await listen(provider, asked)
        assert json.loads(answered.text)["choice"] in ("a", "b")


async def test_llama_says_that_a_conversation_is_too_long(llama_server: LlamaServer) -> None:
    asked = ChatRequest(llama_server.model_name, (ChatMessage("user", "word " * 50_000),))
    async with llama(llama_server) as provider:
        with pytest.raises(ContextTooLong, match="shorten"):
            await listen(provider, asked)
