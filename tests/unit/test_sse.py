"""The decoder reads what the standard and the servers in the field write."""

from __future__ import annotations

from typing import Any

import pytest

from actors.providers.sse import Decoder, Format


def read(*chunks: bytes, format: Format = "sse") -> tuple[list[dict[str, Any]], Decoder]:
    decoder = Decoder(format)
    items = [item for chunk in chunks for item in decoder.feed(chunk)]
    return items + decoder.finish(), decoder


@pytest.mark.parametrize(
    "stream",
    [
        b'data: {"a": 1}\n\ndata: {"a": 2}\n\n',
        b'data:{"a": 1}\n\ndata:{"a": 2}\n\n',
        b'data: {"a": 1}\r\n\r\ndata: {"a": 2}\r\n\r\n',
        b'data: {"a": 1}\r\rdata: {"a": 2}\r\r',
        b'\xef\xbb\xbfdata: {"a": 1}\n\ndata: {"a": 2}\n\n',
        b': a comment\n\ndata: {"a": 1}\n\n:\n\nid: 7\nretry: 5\nevent: x\ndata: {"a": 2}\n\n',
        b'data: {"a":\ndata:  1}\n\ndata: {"a": 2}\n\n',
        b'data: {"a": 1}\n\ndata: {"a": 2}\n',
        b'data: {"a": 1}\n\ndata: {"a": 2}',
        b'data: {"a": 1}\n\nerror: {"a": 2}\n\n',
        b'data: {"a": 1}\n\n\n\ndata: {"a": 2}\n\n',
    ],
)
def test_events(stream: bytes) -> None:
    items, decoder = read(stream)
    assert items == [{"a": 1}, {"a": 2}]
    assert not decoder.done
    assert decoder.fault is None


@pytest.mark.parametrize(
    "stream",
    [
        b'{"a": 1}\n{"a": 2}\n',
        b'{"a": 1}\r\n{"a": 2}\r\n',
        b'{"a": 1}\n\n{"a": 2}',
        b'{"a":\r1}\n{"a":2}',
    ],
)
def test_lines(stream: bytes) -> None:
    items, _ = read(stream, format="ndjson")
    assert items == [{"a": 1}, {"a": 2}]


def test_nothing_counts_after_done() -> None:
    items, decoder = read(b'data: {"a": 1}\n\ndata: [DONE]\n\ndata: {broken\n\n', b"data: {\n\n")
    assert items == [{"a": 1}]
    assert decoder.done
    assert decoder.fault is None


@pytest.mark.parametrize(
    "bad",
    [b"{broken", b"[1]", b"7", b"null", b'"[DONE]"', b"\xff", b'{"a": NaN}', b"[" * 99_999, b"\\u"],
)
def test_what_is_no_object_is_a_fault_and_ends_the_items(bad: bytes) -> None:
    items, decoder = read(b'data: {"a": 1}\n\ndata: ' + bad + b'\n\ndata: {"a": 2}\n\n')
    assert items == [{"a": 1}]
    assert decoder.fault is not None
    assert decoder.fault.retryable


@pytest.mark.parametrize("written", [b'"\\ud83d"', b'"\\ude00"', b'"x\\ud83dy"'])
def test_half_a_surrogate_pair_becomes_text(written: bytes) -> None:
    items, _ = read(b'data: {"a": ' + written + b"}\n\n")
    assert items[0]["a"].encode()


def test_a_line_or_event_without_end_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.providers.sse.LONGEST_ITEM", 100)
    for piece in (b"data: xxxxx", b"data: xxxxx\n"):
        decoder = Decoder()
        for _ in range(30):
            assert decoder.feed(piece) == []
        assert decoder.fault is not None
        assert "more than 100 bytes" in decoder.fault.message
