"""Whatever a server answers, a provider has an answer or one of our errors, and nothing else."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.providers.port import Delta, Finished
from actors.providers.sse import Decoder, Format
from events.errors import ProviderError
from events.values import ToolCall, Usage
from tests.contract.every_provider import answer, asked_of, every_provider, reader
from tests.servers.dialects.dialect import KEY, MODEL, Dialect, has

Outcome = Finished | ProviderError

CALL = ToolCall(id="call_1", name="look_up", arguments='{"at":"cat"}')
texts = st.lists(st.text(min_size=1, max_size=8), max_size=4)
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-9, 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)


def format_of(dialect: Dialect) -> Format:
    found = reader(dialect)._format(dialect.content_type)
    assert found is not None
    return found


def heard(dialect: Dialect, chunks: list[bytes]) -> tuple[list[Delta], Outcome]:
    """What the provider makes of a stream that comes in those chunks."""
    decoder = Decoder(format_of(dialect))
    said: list[list[dict[str, Any]]] = [decoder.feed(chunk) for chunk in chunks]
    deltas, outcome = understood(dialect, [*said, decoder.finish()])
    if decoder.fault and not isinstance(outcome, Finished):
        outcome = decoder.fault
    return deltas, outcome


def understood(dialect: Dialect, items: list[list[dict[str, Any]]]) -> tuple[list[Delta], Outcome]:
    """What it makes of these items."""
    provider = reader(dialect)
    assembly = provider._assembly(asked_of(dialect))
    deltas: list[Delta] = []
    try:
        for some in items:
            deltas += assembly.take(some)
            if assembly.error:
                return deltas, provider._inner_error(assembly.error, MODEL)
            if assembly.fault:
                return deltas, assembly.fault
            if assembly.done:
                break
        return deltas, assembly.finished(())
    except ProviderError as error:
        return deltas, error


def check(deltas: list[Delta], outcome: Outcome) -> None:
    for delta in deltas:
        assert isinstance(delta.text, str)
        assert delta.text
    if isinstance(outcome, ProviderError):
        assert KEY not in outcome.message
        return
    assert isinstance(outcome.finish_reason, str)
    assert outcome.served_model is None or isinstance(outcome.served_model, str)
    assert outcome.usage is None or isinstance(outcome.usage, Usage)
    assert outcome.usage_raw is None or isinstance(outcome.usage_raw, dict)
    assert all(isinstance(call, ToolCall) for call in outcome.tool_calls)


@every_provider
@settings(max_examples=60)
@given(data=st.data())
def test_however_a_stream_is_cut_the_same_comes_out(dialect: Dialect, data: st.DataObject) -> None:
    pieces = data.draw(texts)
    stream = b"".join(answer(dialect, *pieces))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    chunks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    deltas, outcome = heard(dialect, [chunk for chunk in chunks if chunk])
    check(deltas, outcome)
    assert isinstance(outcome, Finished)
    assert "".join(delta.text for delta in deltas) == "".join(pieces)


@every_provider
@settings(max_examples=60)
@given(data=st.data())
def test_whatever_the_bytes_are(dialect: Dialect, data: st.DataObject) -> None:
    stream = bytearray(b"".join(answer(dialect, "The ", "log.")))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(stream)))
        stream[start : start + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    check(*heard(dialect, [bytes(stream)]))


@every_provider
@settings(max_examples=60)
@given(data=st.data())
def test_whatever_stands_in_an_item(dialect: Dialect, data: st.DataObject) -> None:
    items = whole(dialect)
    for _ in range(data.draw(st.integers(1, 2))):
        place, key = data.draw(st.sampled_from(places(items)))
        if data.draw(st.booleans()):
            place[key] = data.draw(values)
        elif isinstance(place, dict):
            del place[key]
    check(*understood(dialect, [[item] for item in items if isinstance(item, dict)]))


def whole(dialect: Dialect) -> list[Any]:
    """The items of an answer with everything that the dialect has."""
    thoughts = [dialect.thought("Hm.")] if has(dialect, "reasoning") else []
    calls = dialect.calls(CALL) if has(dialect, "tools") else []
    steps = [*dialect.begin(), *thoughts, dialect.piece("Yes."), *calls, *dialect.end("stop")]
    decoder = Decoder(format_of(dialect))
    items = decoder.feed(b"".join(steps))
    return [*items, *decoder.finish()]


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every place within a value: what holds it, and its key there."""
    keys = value.items() if isinstance(value, dict) else enumerate(value)
    found: list[tuple[Any, Any]] = []
    for key, inner in keys:
        found.append((value, key))
        if isinstance(inner, dict | list):
            found += places(inner)
    return found
