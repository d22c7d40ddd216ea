"""GGUF files run by the provider itself."""

from __future__ import annotations

import asyncio
import json
import shutil
import struct
import sys
import threading
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actors.providers.config import ProviderSpec, check
from actors.providers.gguf_file import context_length
from actors.providers.local_llama import LocalServer, ModelFile, started
from actors.providers.port import ChatMessage, ChatRequest, Delta, Tool
from events.errors import (
    ConfigError,
    ContextTooLong,
    ModelNotFound,
    ProviderError,
    ProviderUnavailable,
)
from events.values import Parameters
from tests.contract.provider_calls import listen, made
from tests.servers.llama_model import CONTEXT, write_model
from tests.waiting import eventually

ASKED = ChatRequest(
    "tiny",
    (ChatMessage("user", "Say something about the event log."),),
    Parameters(seed=3, max_tokens=24),
)
ENDLESS = replace(ASKED, parameters=Parameters(seed=3, extra={"ignore_eos": True}))


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> list[LocalServer]:
    """The servers of the models that the provider loads."""
    loaded: list[LocalServer] = []

    def remembered(*args: Any) -> LocalServer:
        loaded.append(started(*args))
        return loaded[-1]

    monkeypatch.setattr("actors.providers.llama_cpp.started", remembered)
    return loaded


def slots(server: LocalServer, key: str | None = None) -> Any:
    """What llama.cpp says that it is doing."""
    headers = {"Authorization": f"Bearer {key or server.key}"}
    asked = urllib.request.Request(f"{server.address}/slots", headers=headers)
    with urllib.request.urlopen(asked, timeout=5) as answer:
        return json.load(answer)


async def test_a_file_answers_counts_and_repeats_itself_by_seed(
    llama_model: Path, servers: list[LocalServer]
) -> None:
    async with made("llama_cpp", path=str(llama_model)) as provider:
        assert await provider.models() == ("tiny",)
        assert servers == []
        one, two = await listen(provider, ASKED), await listen(provider, ASKED)
        other = replace(ASKED, parameters=Parameters(seed=4, max_tokens=24))
        another = await listen(provider, other)
        assert len(servers) == 1
        assert one.text == two.text
        assert another.text not in ("", one.text)
        assert one.end.finish_reason in ("stop", "length")
        assert one.end.usage is not None
        assert 0 < one.end.usage.output <= 24
        assert one.end.served_model == "tiny"
        able = provider.capabilities("tiny")
        assert (able.context_length, able.tools, able.structured_output) == (CONTEXT, True, True)
        assert not able.images
        assert able.chat_template
        assert provider.limits.max_concurrency == 1
        prices = provider.prices("tiny")
        assert prices is not None
        [server] = servers
        with pytest.raises(urllib.error.HTTPError, match="401"):
            await asyncio.to_thread(slots, server, "another-key")
    with pytest.raises(urllib.error.URLError, match="refused"):
        await asyncio.to_thread(slots, server)


async def test_it_keeps_to_a_schema_and_calls_tools(llama_model: Path) -> None:
    schema = {
        "type": "object",
        "properties": {"choice": {"type": "string", "enum": ["a", "b"]}},
        "required": ["choice"],
        "additionalProperties": False,
    }
    tool = Tool("look_up", "Looks something up.", schema)
    async with made("llama_cpp", path=str(llama_model)) as provider:
        asked = replace(ASKED, parameters=Parameters(seed=1, max_tokens=100, schema_=schema))
        assert json.loads((await listen(provider, asked)).text)["choice"] in ("a", "b")
        brief = Parameters(seed=1, max_tokens=200)
        asked = replace(ASKED, parameters=brief, tools=(tool,), tool_choice="required")
        answered = await listen(provider, asked)
        assert answered.end.finish_reason == "tool_calls"
        [call, *_] = calls = answered.end.tool_calls
        assert call.name == "look_up"
        assert json.loads(call.arguments)["choice"] in ("a", "b")
        results = (ChatMessage("tool", "noon", tool_call_id=each.id) for each in calls)
        said = ChatMessage("assistant", answered.text, tool_calls=calls)
        again = replace(
            asked,
            messages=(*ASKED.messages, said, *results),
            parameters=brief.model_copy(update={"extra": {"tool_choice": "required"}}),
            tool_choice="none",
        )
        last = await listen(provider, again)
        assert last.text
        assert last.end.tool_calls == ()
        assert last.end.usage is not None
        assert answered.end.usage is not None
        assert (
            last.end.usage.input + last.end.usage.cache_read
            > answered.end.usage.input + answered.end.usage.cache_read
        )


async def test_it_streams_and_cancel_reaches_the_model(
    llama_model: Path, servers: list[LocalServer]
) -> None:
    async with made("llama_cpp", path=str(llama_model)) as provider:
        begun = asyncio.Event()

        async def listening() -> None:
            async for item in provider.stream(ENDLESS):
                assert isinstance(item, Delta)
                begun.set()

        task = asyncio.create_task(listening())
        await asyncio.wait_for(begun.wait(), 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        async def idle() -> bool:
            [slot] = await asyncio.to_thread(slots, servers[0])
            return slot["is_processing"] is False

        await eventually(idle, within=10, what="the model has stopped")
        [slot] = await asyncio.to_thread(slots, servers[0])
        assert slot["next_token"][0]["n_decoded"] < CONTEXT - 200
        assert (await listen(provider, ASKED)).text


async def test_two_models_and_two_answers_at_once(
    llama_model: Path, tmp_path: Path, servers: list[LocalServer]
) -> None:
    other = write_model(tmp_path / "other.gguf", seed=2)
    models = {
        "one": {"path": str(llama_model), "parallel": 2, "n_ctx": 512},
        "two": {"path": str(other), "n_ctx": 256},
    }
    async with made("llama_cpp", models=models) as provider:
        assert await provider.models() == ("one", "two")
        assert provider.limits.max_concurrency == 2
        assert [provider.capabilities(name).context_length for name in models] == [512, 256]
        asked = [replace(ASKED, model=name) for name in ("one", "one", "two")]
        first, second, third = await asyncio.gather(*(listen(provider, one) for one in asked))
        assert len(servers) == 2
        assert first.text
        assert second.text
        assert third.text not in ("", first.text)
        assert {len(slots) for slots in map(slots, servers)} == {1, 2}
        too_long = (ChatMessage("user", "word " * 400),)
        with pytest.raises(ContextTooLong):
            await listen(provider, replace(ASKED, model="two", messages=too_long))
        with pytest.raises(ModelNotFound, match="it has one, two"):
            await listen(provider, replace(ASKED, model="three"))


async def test_a_chat_template_of_one_s_own_is_used(llama_model: Path) -> None:
    template = "{% for m in messages %}{{ m.content }}{% endfor %}" + " the event log" * 50
    counts = []
    for how in ({}, {"chat_template": template}):
        async with made("llama_cpp", path=str(llama_model), **how) as provider:
            usage = (await listen(provider, ASKED)).end.usage
            assert usage is not None
            counts.append(usage.input)
    assert counts[1] > counts[0] + 100


async def test_a_participant_s_chat_template_takes_effect(llama_model: Path) -> None:
    template = "{% for m in messages %}{{ m.content }}{% endfor %}" + " the event log" * 50
    async with made("llama_cpp", path=str(llama_model)) as provider:
        plain = await listen(provider, ASKED)
        parameters = Parameters(seed=3, max_tokens=24, extra={"ignore_eos": True})
        asked = replace(ASKED, chat_template=template, parameters=parameters)
        one, two = await listen(provider, asked), await listen(provider, asked)
        assert one.text == two.text
        assert one.text not in ("", plain.text)
        first, second, usual = one.end.usage, two.end.usage, plain.end.usage
        assert first is not None
        assert second is not None
        assert usual is not None
        assert first.input + first.cache_read > usual.input + usual.cache_read + 100
        assert second.input + second.cache_read == first.input + first.cache_read
        assert first.output == 24
        assert one.end.served_model == "tiny"
        assert one.end.finish_reason == "length"
        with pytest.raises(ProviderError, match="it refuses the conversation: no"):
            await listen(provider, replace(ASKED, chat_template="{{ raise_exception('no') }}"))
        long = replace(asked, messages=(ChatMessage("user", "word " * 20_000),))
        with pytest.raises(ContextTooLong):
            await listen(provider, long)


async def test_a_schema_is_kept_to_with_a_chat_template_too(llama_model: Path) -> None:
    schema = {
        "type": "object",
        "properties": {"choice": {"type": "string", "enum": ["a", "b"]}},
        "required": ["choice"],
        "additionalProperties": False,
    }
    parameters = Parameters(seed=1, max_tokens=100, schema_=schema)
    asked = replace(ASKED, chat_template="{{ messages[-1].content }}", parameters=parameters)
    async with made("llama_cpp", path=str(llama_model)) as provider:
        assert json.loads((await listen(provider, asked)).text)["choice"] in ("a", "b")


async def test_loading_has_a_time_limit_and_goes_on(
    llama_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_load = threading.Event()

    def slow(*args: Any) -> LocalServer:
        may_load.wait(30)
        return started(*args)

    monkeypatch.setattr("actors.providers.llama_cpp.started", slow)
    async with made("llama_cpp", path=str(llama_model), loading_timeout=0.05) as provider:
        with pytest.raises(ProviderUnavailable, match="raise loading_timeout") as caught:
            await listen(provider, ASKED)
        assert caught.value.retryable
        may_load.set()
        loading = vars(provider)["_running"]["tiny"]
        await asyncio.wait_for(asyncio.shield(loading), 30)
        assert (await listen(provider, ASKED)).text


async def test_closing_breaks_off_what_is_computed(llama_model: Path) -> None:
    async with made("llama_cpp", path=str(llama_model)) as provider:
        stream = provider.stream(ENDLESS)
        assert isinstance(await anext(stream), Delta)
        await asyncio.wait_for(provider.close(), 10)
        with pytest.raises(ProviderError):
            async for _ in stream:
                pass


async def test_a_model_that_is_loading_when_its_asker_goes_is_there_for_the_next(
    llama_model: Path, servers: list[LocalServer]
) -> None:
    async with made("llama_cpp", path=str(llama_model)) as provider:
        task = asyncio.create_task(listen(provider, ASKED))
        turn = asyncio.Event()
        asyncio.get_running_loop().call_soon(turn.set)
        await turn.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await listen(provider, ASKED)).text
        assert len(servers) == 1


@pytest.mark.parametrize("content", [None, b"", b"GGUF", b"GGUF" + b"\xff" * 60, b"PK\x03\x04" * 9])
async def test_a_file_that_is_no_model_is_refused_at_once(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "model.gguf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"model\.gguf"):
        async with made("llama_cpp", path=str(path)):
            pass
    async with made("llama_cpp", path=str(path), resources={"num_gpus": 1}) as provider:
        assert provider.capabilities("model").context_length is None
        with pytest.raises(ProviderError, match=r"model\.gguf") as caught:
            await listen(provider, replace(ASKED, model="model"))
        assert not caught.value.retryable


async def test_a_model_that_cannot_be_run_says_so(llama_model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "half.gguf"
    shutil.copy(llama_model, broken)
    with broken.open("r+b") as file:
        file.truncate(broken.stat().st_size // 2)
    async with made("llama_cpp", path=str(broken)) as provider:
        for _ in range(2):
            with pytest.raises(ProviderError, match=r"cannot run .*half\.gguf"):
                await listen(provider, replace(ASKED, model="half"))


async def test_without_llama_cpp_it_says_what_to_install(
    llama_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "xllamacpp", raising=False)
    monkeypatch.setattr("actors.providers.local_llama.PACKAGE", "xllamacpp_that_is_not_there")
    with pytest.raises(ConfigError, match="'local'"):
        async with made("llama_cpp", path=str(llama_model)):
            pass


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "models"),
        ({"models": {}}, "models"),
        ({"path": "a.gguf", "n_ctx": 0}, r"models\.a\.n_ctx"),
        ({"path": "a.gguf", "n_context": 1}, "n_context"),
        ({"models": {"a": {"path": "a.gguf"}}, "n_ctx": 1}, "n_ctx"),
    ],
)
def test_a_mistake_is_found_when_the_file_is_loaded(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check(ProviderSpec(id="p", type="llama_cpp", config=config))


def test_the_head_of_a_file_is_read_past_texts_and_lists(tmp_path: Path) -> None:
    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    def entry(name: str, kind: int, value: bytes) -> bytes:
        return text(name) + struct.pack("<I", kind) + value

    tags = struct.pack("<IQ", 8, 2) + text("chat") + text("tiny")
    sizes = struct.pack("<IQ", 4, 3) + bytes(12)
    entries = [
        entry("general.tags", 9, tags),
        entry("general.sizes", 9, sizes),
        entry("other.context_length", 4, struct.pack("<I", 7)),
        entry("general.architecture", 8, text("llama")),
        entry("llama.rope", 6, bytes(4)),
        entry("llama.context_length", 10, struct.pack("<Q", 131072)),
        entry("tokenizer.ggml.tokens", 9, b""),
    ]
    path = tmp_path / "head.gguf"
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, len(entries))
    path.write_bytes(head + b"".join(entries))
    assert context_length(path) == 131072
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 0))
    assert context_length(path) is None
    assert ModelFile(path=path).parallel == 1
