"""Whatever a server of any type sends, and however it is cut: the same answer, or a clear error.

The providers are the real ones, and read their streams as ever; only the connection is replaced, by
bytes that come in the pieces that the test wants.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.providers.port import ChatRequest, Finished
from events.errors import BadResponse, ProviderError
from events.values import ToolCall, Usage
from tests.contract.every_provider import ASKED, asked_of, every_provider, reader
from tests.contract.provider_calls import Answered, listen
from tests.contract.test_every_provider_tools import TOOL
from tests.property.test_stream_decoder import cut, garbage, values
from tests.servers.dialects.dialect import KEY, Dialect, has

# There are many dialects; what they share is tried with each of them.
fewer = settings(max_examples=settings().max_examples // 2)

places = st.lists(st.integers(0), max_size=20)
sentences = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=4)

# With these words a server may say what went wrong; the error has the class of that then.
REASONS = re.compile(rb"error|fault|filter|refus|safety|failed|incomplete|None|\[\]", re.IGNORECASE)
ITEM = re.compile(rb"^((?:data: ?)?)(\{.*\})$", re.MULTILINE)


@dataclass
class Body:
    """What arrives of a response, piece by piece."""

    chunks: list[bytes]
    content_type: str
    faults: list[BaseException] = field(default_factory=list)

    @property
    def content(self) -> Body:
        return self

    def exception(self) -> None:
        return None

    def read_nowait(self) -> bytes:
        return b""

    async def readany(self) -> bytes:
        return self.chunks.pop(0) if self.chunks else b""

    def at_eof(self) -> bool:
        return not self.chunks

    def set_exception(self, error: BaseException) -> None:
        self.faults.append(error)


Heard = tuple[str, str, Finished | tuple[type[ProviderError], str]]
"""The text, the reasoning, and how it ended."""


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


class Reading:
    """Has the provider of a dialect read bytes."""

    def __init__(self, runner: asyncio.Runner, dialect: Dialect) -> None:
        self._runner = runner
        self._dialect = dialect

    def whole(self, chunks: list[bytes]) -> Heard:
        """What it makes of a body that is no stream."""
        return self._heard(chunks, "application/json", stream=False)

    def __call__(self, chunks: list[bytes]) -> Heard:
        """What it makes of a stream."""
        return self._heard(chunks, self._dialect.content_type, stream=True)

    def _heard(self, chunks: list[bytes], content_type: str, *, stream: bool) -> Heard:
        provider = reader(self._dialect, stream=stream)
        body = Body([chunk for chunk in chunks if chunk], content_type)

        async def accepted(*_: Any) -> tuple[Any, tuple[str, ...]]:
            return body, ()

        async def learned(_: ChatRequest) -> None:
            return

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(provider, "_accepted", accepted)
            patch.setattr(provider, "_learn", learned)
            answered = Answered()
            end: Finished | tuple[type[ProviderError], str]
            try:
                asked = asked_of(self._dialect, replace(ASKED, tools=(TOOL,)))
                end = self._runner.run(listen(provider, asked, answered)).end
            except ProviderError as error:
                end = type(error), error.message
        assert body.faults == []
        return answered.text, answered.reasoning, end


def steps_of(dialect: Dialect, pieces: list[str]) -> list[bytes]:
    """A complete stream with all that the dialect knows."""
    thoughts = [dialect.thought("Hm. ")] if has(dialect, "reasoning") else []
    call = ToolCall(id="call_1", name="look_up", arguments='{"at":"Zürich"}')
    calls = dialect.calls(call) if has(dialect, "tools") else []
    finish = "tool_calls" if calls else "stop"
    usage = Usage(input=7, output=9)
    said = [dialect.piece(piece) for piece in pieces]
    return [*dialect.begin(), *thoughts, *said, *calls, *dialect.end(finish, usage)]


def spoilt(draw: Callable[[st.SearchStrategy[Any]], Any], steps: list[bytes]) -> list[bytes]:
    """The stream after something went wrong with it."""
    steps = list(steps)
    at = draw(st.integers(0, len(steps) - 1))
    other = draw(st.integers(0, len(steps) - 1))
    match draw(st.sampled_from(["drop", "double", "swap", "truncate", "insert", "value"])):
        case "drop":
            del steps[at]
        case "double":
            steps.insert(other, steps[at])
        case "swap":
            steps[at], steps[other] = steps[other], steps[at]
        case "truncate":
            steps[at] = steps[at][: draw(st.integers(0, len(steps[at])))]
        case "insert":
            steps.insert(at, draw(garbage))
        case _:
            value = draw(values)
            where = draw(st.integers(0, 1000))
            steps[at] = ITEM.sub(
                lambda found: found[1] + with_value(found[2], where, value), steps[at]
            )
    return steps or [b""]


def with_value(item: bytes, where: int, value: Any) -> bytes:
    """The JSON with one of the values in it replaced."""
    try:
        content = json.loads(item)
    except ValueError:
        return item
    holders: list[tuple[Any, Any]] = []
    waiting = [content]
    while waiting:
        inner = waiting.pop()
        keys = list(inner) if isinstance(inner, dict) else range(len(inner))
        holders += ((inner, key) for key in keys)
        waiting += (inner[key] for key in keys if isinstance(inner[key], dict | list))
    if not holders:
        return item
    holder, key = holders[where % len(holders)]
    holder[key] = value
    return json.dumps(content).encode("utf-8", "replace")


def check(heard: Heard, stream: bytes) -> None:
    """Either an answer, or an error whose class is that of a bad answer or was said."""
    end = heard[2]
    if isinstance(end, tuple):
        assert end[0] is BadResponse or REASONS.search(stream), end
        assert KEY not in end[1]


@every_provider
@fewer
@given(sentences, places)
def test_an_answer_is_the_same_however_it_is_cut(
    dialect: Dialect, runner: asyncio.Runner, pieces: list[str], cuts: list[int]
) -> None:
    reading, text = Reading(runner, dialect), "".join(pieces)
    stream = b"".join(steps_of(dialect, pieces))
    heard = reading(cut(stream, cuts))
    assert heard == reading([stream])
    assert isinstance(heard[2], Finished)
    assert heard[0] == text
    assert heard[1] == ("Hm. " if has(dialect, "reasoning") else "")
    assert len(heard[2].tool_calls) == has(dialect, "tools")
    body = reading.whole(cut(dialect.body(text), cuts))
    assert (body[0], isinstance(body[2], Finished)) == (text, True)


@every_provider
@fewer
@given(garbage, places)
def test_any_bytes_are_an_answer_or_a_bad_response(
    dialect: Dialect, runner: asyncio.Runner, stream: bytes, cuts: list[int]
) -> None:
    reading = Reading(runner, dialect)
    for read in (reading, reading.whole):
        heard = read([stream])
        assert read(cut(stream, cuts)) == heard
        check(heard, stream)


@every_provider
@fewer
@given(st.data(), places)
def test_a_spoilt_stream_is_an_answer_or_a_bad_response(
    dialect: Dialect, runner: asyncio.Runner, data: st.DataObject, cuts: list[int]
) -> None:
    reading, steps = Reading(runner, dialect), steps_of(dialect, ["The ", "log."])
    for _ in range(data.draw(st.integers(1, 4))):
        steps = spoilt(data.draw, steps)
    stream = b"".join(steps)
    heard = reading([stream])
    assert reading(cut(stream, cuts)) == heard
    check(heard, stream)


@every_provider
@fewer
@given(st.integers(0, 1000), values)
def test_a_spoilt_body_is_an_answer_or_a_bad_response(
    dialect: Dialect, runner: asyncio.Runner, where: int, value: Any
) -> None:
    body = with_value(dialect.body("The log."), where, value)
    check(Reading(runner, dialect).whole([body]), body)
