"""What every type of provider makes of an answer, and what it sends for it."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from actors.providers.port import ChatMessage, Delta, Finished
from actors.providers.watch import Watch
from events.errors import BadResponse
from events.values import Parameters, Usage
from tests.contract.every_provider import ASKED, answer, every_provider, serving, those_with
from tests.contract.provider_calls import Answered, listen
from tests.servers.dialects.dialect import COMPLETION, MODEL, PICTURE, PROMPT, Dialect, has
from tests.servers.scripted import CUT, HANG, Step
from tests.waiting import eventually

SCHEMA = {"type": "object", "properties": {"go": {"type": "boolean"}}, "required": ["go"]}


@every_provider
async def test_an_answer_comes_in_pieces_with_its_usage(dialect: Dialect) -> None:
    async with serving(dialect, *answer(dialect, "The ", "event ", "log.")) as (server, provider):
        answered = await listen(provider, ASKED)
        assert answered.text == "The event log."
        assert answered.end.finish_reason == "stop"
        if has(dialect, "usage"):
            assert answered.end.usage == Usage(input=PROMPT, output=COMPLETION)
            assert answered.end.usage_raw
        else:
            assert answered.end.usage is None
        [request] = server.requests
        assert dialect.authorised(request.headers)
        sent = dialect.sent(request.path, request.body)
        assert sent.stream is has(dialect, "stream")
        assert sent.model in (MODEL, None)
        assert sent.texts[-1][1].endswith("Say something about the event log.")


@those_with("stream")
async def test_a_piece_is_given_out_when_it_comes(dialect: Dialect) -> None:
    heard = asyncio.Event()
    begin = [*dialect.begin(), dialect.piece("The ")]
    rest = [dialect.piece("log."), *dialect.end()]
    async with serving(dialect, *begin, heard, *rest) as (_, provider):
        texts = []
        async with aclosing(provider.stream(ASKED)) as stream:
            async for item in stream:
                if isinstance(item, Delta):
                    texts.append(item.text)
                    heard.set()
        assert texts == ["The ", "log."]


@those_with("whole")
async def test_a_whole_answer_is_read_as_well(dialect: Dialect) -> None:
    async with serving(
        dialect,
        dialect.body("The event log."),
        content_type="application/json",
        config={"stream": False},
    ) as (server, provider):
        answered = await listen(provider, ASKED)
        assert answered.text == "The event log."
        assert (answered.end.usage is not None) is has(dialect, "usage")
        assert answered.end.usage in (None, Usage(input=PROMPT, output=COMPLETION))
        assert not dialect.sent(server.requests[0].path, server.requests[0].body).stream


@every_provider
async def test_unicode_is_whole_however_the_bytes_are_cut(dialect: Dialect) -> None:
    text = "Zürich — 東京 🙂 e\u0301 \u2028 ok"
    stream = b"".join(answer(dialect, text))
    raw = stream.decode("utf-8")
    plain = raw.replace(json.dumps(text)[1:-1], text.replace("\u2028", "\\u2028")).encode()
    for data in (stream, plain):
        async with serving(dialect, *(data[i : i + 1] for i in range(len(data)))) as (_, provider):
            assert (await listen(provider, ASKED)).text == text


@those_with("stream")
@pytest.mark.parametrize("slow", [False, True], ids=["at-once", "slow-listener"])
async def test_a_complete_answer_is_one_though_its_connection_is_cut_then(
    dialect: Dialect, slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading: list[Any] = []

    class Seen(Watch):
        def __init__(self, content: Any, error: Any) -> None:
            super().__init__(content, error)
            reading.append(content)

    monkeypatch.setattr("actors.providers.http_provider.Watch", Seen)
    heard = asyncio.Event()
    begin = [*dialect.begin(), dialect.piece("The ")]
    rest: list[Step] = [dialect.piece("log."), *dialect.end(), CUT]
    async with serving(dialect, *begin, heard, *rest) as (_, provider):
        items = []
        async with aclosing(provider.stream(ASKED)) as stream:
            async for item in stream:
                items.append(item)
                heard.set()
                if slow:  # all else has come, and was cut, before the next is wanted
                    await eventually(reading[0].exception, within=20, what="the cut")
        assert "".join(item.text for item in items if isinstance(item, Delta)) == "The log."
        assert isinstance(items[-1], Finished)


@every_provider
async def test_an_empty_answer_is_an_answer(dialect: Dialect) -> None:
    async with serving(dialect, *answer(dialect)) as (_, provider):
        answered = await listen(provider, ASKED)
        assert answered.text == ""
        assert answered.end.finish_reason == "stop"


@every_provider
async def test_a_long_answer_is_whole(dialect: Dialect) -> None:
    piece = "words and more words " * 500
    async with serving(dialect, *answer(dialect, *[piece] * 100)) as (_, provider):
        assert (await listen(provider, ASKED)).text == piece * 100


@those_with("stream")
async def test_an_answer_without_end_is_broken_off(
    dialect: Dialect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.providers.assembly.LONGEST_ANSWER", 10_000)
    endless = [dialect.piece("x" * 1000)] * 20
    async with serving(dialect, *dialect.begin(), *endless, HANG) as (server, provider):
        with pytest.raises(BadResponse, match="more than 10000"):
            await asyncio.wait_for(listen(provider, ASKED), 20)
        await asyncio.wait_for(server.gone.wait(), 20)


@those_with("whole")
async def test_a_whole_answer_without_end_is_broken_off(
    dialect: Dialect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.providers.sse.LONGEST_ITEM", 10_000)
    endless = dialect.body("x" * 30_000)[:20_000]
    async with serving(
        dialect, endless, HANG, content_type="application/json", config={"stream": False}
    ) as (server, provider):
        with pytest.raises(BadResponse, match="more than 10000"):
            await asyncio.wait_for(listen(provider, ASKED), 20)
        await asyncio.wait_for(server.gone.wait(), 20)


@those_with("length")
async def test_an_answer_that_was_too_long_says_so(dialect: Dialect) -> None:
    async with serving(dialect, *answer(dialect, "The ", finish="length")) as (_, provider):
        assert (await listen(provider, ASKED)).end.finish_reason == "length"


@those_with("reasoning")
async def test_reasoning_is_kept_apart(dialect: Dialect) -> None:
    thoughts = [dialect.thought("Let me "), dialect.thought("think.")]
    steps = [*dialect.begin(), *thoughts, dialect.piece("Yes."), *dialect.end()]
    async with serving(dialect, *steps) as (_, provider):
        answered = await listen(provider, ASKED)
        assert (answered.reasoning, answered.text) == ("Let me think.", "Yes.")


@those_with("schema")
async def test_a_schema_is_sent(dialect: Dialect) -> None:
    asked = replace(ASKED, parameters=Parameters(schema_=SCHEMA))
    async with serving(dialect, *answer(dialect, '{"go": true}')) as (server, provider):
        assert provider.capabilities(MODEL).structured_output
        assert (await listen(provider, asked)).text == '{"go": true}'
        sent = dialect.sent(server.requests[0].path, server.requests[0].body)
        assert sent.schema["properties"] == SCHEMA["properties"]


@those_with("images")
async def test_a_picture_is_sent(dialect: Dialect) -> None:
    message = ChatMessage("user", "What is this?", images=(PICTURE,))
    async with serving(dialect, *answer(dialect, "A cat.")) as (server, provider):
        assert provider.capabilities(MODEL).images
        await listen(provider, replace(ASKED, messages=(message,)))
        sent = dialect.sent(server.requests[0].path, server.requests[0].body)
        assert sent.images == 1
        assert PICTURE.base64 in json.dumps(server.requests[0].body)


@every_provider
async def test_parameters_are_sent_under_the_names_of_the_vendor(dialect: Dialect) -> None:
    parameters = Parameters(temperature=0.5, max_tokens=77, seed=4, stop=("END", "STOP"))
    conversation = (
        ChatMessage("system", "Be brief."),
        ChatMessage("user", "Hello"),
        ChatMessage("assistant", "Hi"),
        ChatMessage("user", "And now?"),
    )
    asked = replace(ASKED, messages=conversation, parameters=parameters)
    async with serving(dialect, *answer(dialect, "Now.")) as (server, provider):
        answered = await listen(provider, asked)
        sent = dialect.sent(server.requests[0].path, server.requests[0].body)
        assert sent.temperature == 0.5
        assert sent.max_tokens == 77
        if has(dialect, "stop"):
            assert sent.stop == ("END", "STOP")
        if has(dialect, "seed"):
            assert sent.seed == 4
        else:
            assert any("seed" in note for note in answered.end.notes)
        assert "Be brief." in sent.texts[0][1]
        assert "And now?" in sent.texts[-1][1]


@every_provider
async def test_extra_parameters_are_passed_through(dialect: Dialect) -> None:
    asked = replace(ASKED, parameters=Parameters(extra={"a_rare_knob": 7}))
    async with serving(dialect, *answer(dialect, "Yes.")) as (server, provider):
        await listen(provider, asked)
        assert '"a_rare_knob": 7' in json.dumps(server.requests[0].body)


@every_provider
@pytest.mark.parametrize("begun", [False, True], ids=["before", "in-between"])
async def test_cancel_reaches_the_server(dialect: Dialect, begun: bool) -> None:
    steps = [*dialect.begin(), dialect.piece("The ")] if begun else []
    async with serving(dialect, *steps, HANG) as (server, provider):
        answered = Answered()
        task = asyncio.create_task(listen(provider, ASKED, answered))

        def reached() -> bool:
            heard = bool(answered.deltas) is (begun and has(dialect, "stream"))
            return bool(server.requests) and heard

        await eventually(reached, within=20, what="the server streams")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(server.gone.wait(), 20)


@every_provider
async def test_the_models_are_listed(dialect: Dialect) -> None:
    async with serving(dialect) as (_, provider):
        assert MODEL in await provider.models()


@every_provider
async def test_a_stop_sequence_ends_the_answer(dialect: Dialect) -> None:
    """A server that knows them has ended before; where none does, the provider has to."""
    pieces = ["The log. "] if has(dialect, "stop") else ["The log. E", "ND of"]
    asked = replace(ASKED, parameters=Parameters(stop=("END",)))
    async with serving(dialect, *answer(dialect, *pieces)) as (_, provider):
        answered = await listen(provider, asked)
        assert answered.text == "The log. "
        assert answered.end.finish_reason == "stop"
