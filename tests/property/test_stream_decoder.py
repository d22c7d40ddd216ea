"""However the bytes of a stream are cut, and whatever they are, the same comes out."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from actors.providers.chat_completions import ChatAnswer
from actors.providers.port import Finished
from actors.providers.sse import Decoder, Format
from events.errors import BadResponse

Result = tuple[list[dict[str, Any]], bool, str | None]

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
objects = st.dictionaries(st.text(max_size=5), values, max_size=4)
ends = st.sampled_from([b"\n", b"\r\n", b"\r"])
formats = st.sampled_from(["sse", "ndjson"])

# Pieces that mean something to a decoder, between bytes that mean nothing.
fragments = st.sampled_from(
    [
        b"data:", b"data: ", b"error:", b"event: x", b": comment", b"id: 1", b"\n", b"\n\n",
        b"\r", b"\r\n", b"\r\n\r\n", b"[DONE]", b'{"a":1}', b'{"a":', b'"\xc3\xa9"}',
        b"\xef\xbb\xbf",
        b'{"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}',
        b'{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}', b'{"error":"no"}',
        b'"\\ud83d"', b"\xff", b"null",
    ]
)  # fmt: skip
garbage = st.lists(fragments | st.binary(max_size=4), max_size=30).map(b"".join)


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    at = sorted({place % (len(stream) + 1) for place in places})
    return [stream[a:b] for a, b in zip([0, *at], [*at, len(stream)], strict=True)]


def decode(chunks: list[bytes], format: Format) -> Result:
    decoder = Decoder(format)
    items = [item for chunk in chunks if chunk for item in decoder.feed(chunk)]
    items += decoder.finish()
    return items, decoder.done, decoder.fault.message if decoder.fault else None


def answer(chunks: list[bytes]) -> tuple[str, str, object]:
    """What a provider makes of a stream: its text, its reasoning, and how it ended."""
    decoder, chat = Decoder(), ChatAnswer("the-provider")
    said = {"text": "", "reasoning": ""}
    for chunk in [*chunks, b""]:
        for delta in chat.take(decoder.feed(chunk) if chunk else decoder.finish()):
            assert delta.text
            said[delta.channel] += delta.text
        if chat.error or decoder.fault or chat.fault:
            fault = decoder.fault or chat.fault
            return said["text"], said["reasoning"], fault.message if fault else "an error inside"
    try:
        end: Finished | str = chat.finished(())
    except BadResponse as error:
        end = error.message
    return said["text"], said["reasoning"], end


@given(st.lists(objects, max_size=6), st.lists(st.integers(0), max_size=20), ends, st.booleans())
def test_events_come_out_as_they_went_in(
    items: list[dict[str, Any]], places: list[int], end: bytes, ascii: bool
) -> None:
    written = [json.dumps(item, ensure_ascii=ascii).encode("utf-8", "replace") for item in items]
    stream = b"".join(b"data: " + item + end + end for item in written)
    assert decode(cut(stream, places), "sse") == ([json.loads(w) for w in written], False, None)


@given(st.lists(objects, max_size=6), st.lists(st.integers(0), max_size=20), st.booleans())
def test_lines_come_out_as_they_went_in(
    items: list[dict[str, Any]], places: list[int], crlf: bool
) -> None:
    written = [json.dumps(item).encode() for item in items]
    stream = (b"\r\n" if crlf else b"\n").join(written)
    assert decode(cut(stream, places), "ndjson") == ([json.loads(w) for w in written], False, None)


@given(garbage, st.lists(st.integers(0), max_size=30), formats)
@example(b"\xef\xbb\xbfdata: {}\n\n", [1, 2], "sse")
@example(b"\xef\xbb", [1], "sse")
@example(b'data: {"a":1}\r\n\r\n', [14, 15], "sse")
def test_any_cut_of_any_bytes_gives_the_same(
    stream: bytes, places: list[int], format: Format
) -> None:
    whole = decode([stream], format)
    assert decode(cut(stream, places), format) == whole
    assert decode([bytes([byte]) for byte in stream], format) == whole


@given(garbage, st.lists(st.integers(0), max_size=30))
def test_any_cut_of_any_bytes_gives_the_same_answer(stream: bytes, places: list[int]) -> None:
    assert answer(cut(stream, places)) == answer([stream])


@given(st.lists(values, max_size=5))
def test_any_json_is_an_answer_or_a_bad_response(chunks: list[Any]) -> None:
    stream = b"".join(
        b"data: "
        + json.dumps({"choices": [{"delta": chunk}, chunk], "usage": chunk}).encode()
        + b"\n\n"
        for chunk in chunks
    )
    answer([stream])
