"""The model server of the tests is a real one: it streams, counts, obeys schemas and can die."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import httpx2
import openai
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import BaseModel, ConfigDict, Field

from tests.servers.llama import LlamaServer, running_llama
from tests.servers.llama_model import CONTEXT, WORDS, write_model


@pytest.fixture
async def openai_client(llama_server: LlamaServer) -> AsyncIterator[AsyncOpenAI]:
    async with _client(llama_server) as client:
        yield client


def _client(server: LlamaServer, api_key: str = "none") -> AsyncOpenAI:
    return AsyncOpenAI(base_url=server.base_url, api_key=api_key, max_retries=0, timeout=30)


_ASK: list[ChatCompletionMessageParam] = [
    {"role": "system", "content": "You are a reviewer."},
    {"role": "user", "content": "What does the router do?"},
]


def test_llama_model_is_the_same_file_for_the_same_seed(tmp_path: Path) -> None:
    first, again, other = (
        write_model(tmp_path / f"{n}.gguf", seed=seed).read_bytes()
        for n, seed in enumerate((7, 7, 8))
    )
    assert first == again
    assert first != other
    assert len(first) < 500_000


async def test_llama_streams_words_with_a_finish_and_usage(openai_client: AsyncOpenAI) -> None:
    stream = await openai_client.chat.completions.create(
        model="tiny",
        messages=_ASK,
        max_tokens=500,
        seed=3,
        stream=True,
        stream_options={"include_usage": True},
    )
    texts, finishes, usage = [], [], None
    async for chunk in stream:
        for choice in chunk.choices:
            texts.append(choice.delta.content or "")
            finishes.append(choice.finish_reason)
        usage = chunk.usage or usage
    words = "".join(texts).split()
    assert len(words) > 2
    assert set(words) <= set(WORDS)
    assert [finish for finish in finishes if finish] == ["stop"]
    assert usage is not None
    assert usage.completion_tokens == len(words) + 1  # a word is a token, and so is the end
    assert usage.prompt_tokens + usage.completion_tokens == usage.total_tokens


@pytest.mark.parametrize("temperature", [0.0, 0.8])
async def test_llama_repeats_itself_with_the_same_seed(
    openai_client: AsyncOpenAI, temperature: float
) -> None:
    async def text(seed: int) -> str:
        answer = await openai_client.chat.completions.create(
            model="tiny", messages=_ASK, temperature=temperature, seed=seed, max_tokens=300
        )
        return answer.choices[0].message.content or ""

    first, again, other = [await text(seed) for seed in (1, 1, 2)]
    assert first == again
    assert (first == other) is (temperature == 0)


async def test_llama_answers_five_at_once_each_its_own(
    llama_server: LlamaServer, openai_client: AsyncOpenAI
) -> None:
    async def answer(role: str) -> tuple[str | None, str | None]:
        completion = await openai_client.chat.completions.create(
            model="tiny",
            messages=[{"role": "system", "content": f"You are the {role}."}, _ASK[1]],
            seed=1,
            max_tokens=300,
        )
        choice = completion.choices[0]
        return choice.message.content, choice.finish_reason

    answers = await asyncio.gather(*map(answer, ("architect", "coder", "reviewer", "writer", "x")))
    assert len({text for text, _ in answers}) == llama_server.slots == 5
    assert {finish for _, finish in answers} <= {"stop", "length"}


class _Plan(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    speakers: tuple[Literal["model_1", "model_2", "model_3"], ...] = Field(min_length=1)
    rounds: int
    done: bool
    reason: str


async def test_llama_keeps_to_a_json_schema(openai_client: AsyncOpenAI) -> None:
    answer = await openai_client.chat.completions.create(
        model="tiny",
        messages=_ASK,
        temperature=0,
        max_tokens=2000,
        response_format={
            "type": "json_schema",
            "json_schema": {
                "name": "plan",
                "schema": _Plan.model_json_schema(),
                "strict": True,
            },
        },
    )
    plan = _Plan.model_validate_json(answer.choices[0].message.content or "")
    assert set(plan.reason.split()) <= set(WORDS)


async def test_llama_calls_a_tool_when_it_must_and_takes_its_result(
    openai_client: AsyncOpenAI,
) -> None:
    tool: ChatCompletionToolParam = {
        "type": "function",
        "function": {
            "name": "look_up",
            "parameters": {
                "type": "object",
                "properties": {"page": {"type": "integer"}, "word": {"type": "string"}},
                "required": ["page", "word"],
            },
        },
    }
    asked = await openai_client.chat.completions.create(
        model="tiny",
        messages=_ASK,
        temperature=0,
        max_tokens=4000,
        tools=[tool],
        tool_choice="required",
    )
    assert asked.choices[0].finish_reason == "tool_calls"
    call = (asked.choices[0].message.tool_calls or [])[0]
    assert call.type == "function"
    assert call.function.name == "look_up"
    arguments = json.loads(call.function.arguments)
    assert isinstance(arguments["page"], int)
    assert isinstance(arguments["word"], str)

    told = await openai_client.chat.completions.create(
        model="tiny",
        messages=[
            *_ASK,
            {
                "role": "assistant",
                "tool_calls": [
                    {
                        "id": call.id,
                        "type": "function",
                        "function": {
                            "name": call.function.name,
                            "arguments": call.function.arguments,
                        },
                    }
                ],
            },
            {"role": "tool", "tool_call_id": call.id, "content": "It decides who answers."},
        ],
        tools=[tool],
        max_tokens=500,
    )
    assert told.choices[0].message.content


async def test_llama_refuses_what_does_not_fit_and_strangers(
    llama_model: Path, tmp_path: Path
) -> None:
    with running_llama(llama_model, tmp_path, api_key="secret-of-the-test") as server:
        async with _client(server, api_key="another") as stranger:
            with pytest.raises(openai.AuthenticationError):
                await stranger.chat.completions.create(model="tiny", messages=_ASK)
        async with _client(server, api_key="secret-of-the-test") as friend:
            with pytest.raises(openai.BadRequestError, match="context size"):
                await friend.chat.completions.create(
                    model="tiny", messages=[{"role": "user", "content": "§ " * CONTEXT}]
                )


async def test_llama_killed_cuts_its_stream_and_comes_back_on_the_same_port(
    own_llama_server: LlamaServer,
) -> None:
    url = own_llama_server.base_url
    async with _client(own_llama_server) as client:
        stream = await client.chat.completions.create(
            model="tiny",
            messages=_ASK,
            stream=True,
            extra_body={"ignore_eos": True, "n_predict": CONTEXT - 500},
        )
        finishes: list[str | None] = []
        try:
            async for chunk in stream:
                if not finishes:
                    own_llama_server.kill()
                finishes.append(chunk.choices[0].finish_reason)
        except (openai.APIConnectionError, httpx2.TransportError):
            finishes.append(None)
        assert set(finishes) == {None}
        while_down = own_llama_server.pid
        assert while_down is None

        own_llama_server.restart()
        assert own_llama_server.base_url == url
        answer = await client.chat.completions.create(model="tiny", messages=_ASK, max_tokens=5)
        assert answer.usage is not None
