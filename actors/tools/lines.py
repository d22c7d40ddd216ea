"""Lines of a program's output, of which none is kept that is too long."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import mcp_types as types

LONGEST_LINE: Final = 96 * 1024 * 1024
"""Bytes of a message: a result of 32 MB, twice where it is structured too, and as JSON."""
ENDS: Final = 200
"""Bytes at either end of a longer line, in which its id is looked for."""

_ID = re.compile(rb'"id"\s*:\s*(\d{1,15})\s*[,}]')


@dataclass(frozen=True, slots=True)
class TooLong:
    """A line that was not kept."""

    size: int
    begin: bytes
    end: bytes

    def refused(self) -> types.JSONRPCError | None:
        """What stands for the answer that it is, so that whoever waits for it is told."""
        found = _ID.search(self.begin) or _ID.search(self.end)
        if found is None:
            return None
        what = f"it has {self.size} bytes, more than can be kept: ask for less at a time"
        error = types.ErrorData(code=types.PARSE_ERROR, message=what)
        return types.JSONRPCError(jsonrpc="2.0", id=int(found[1]), error=error)


class Lines:
    """Puts lines together from pieces of them. `size` is that of the one that goes on."""

    def __init__(self) -> None:
        self.size = 0
        self._line = bytearray()
        self._begin = b""

    def taken(self, chunk: bytes) -> Iterator[bytes | TooLong]:
        """The lines that end in this piece."""
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            self._add(end)
            yield self._ended()
        self._add(rest)

    def _add(self, piece: bytes) -> None:
        self.size += len(piece)
        self._line += piece
        if self.size > LONGEST_LINE:
            self._begin = self._begin or bytes(self._line[:ENDS])
            del self._line[:-ENDS]

    def _ended(self) -> bytes | TooLong:
        line, size, begin = bytes(self._line), self.size, self._begin
        self._line.clear()
        self.size, self._begin = 0, b""
        return TooLong(size, begin, line) if size > LONGEST_LINE else line
