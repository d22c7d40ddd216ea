"""Finds the first place of a stream where the log is not what was written.

Works on stored bytes alone, without keys, one page of rows at a time.
"""

from __future__ import annotations

from events.chain import GENESIS, event_hash
from events.codec import Header, read_header
from events.envelope import Head, open_after
from events.errors import UnknownEvent
from events.recorders.port import Recorder, Row
from events.store import Fault


def first_fault(recorder: Recorder, stream: str) -> Fault | None:
    """The first fault of `stream`, or None where chain, positions and head agree."""
    with recorder.snapshot(stream) as snapshot:
        walk = _Walk(stream)
        for row in snapshot.rows:
            if fault := walk.step(row, snapshot.head):
                return fault
        return walk.end(snapshot.head)


class _Walk:
    """One pass over a stream.

    A broken link between two events does not say which of them was changed. The event behind them
    does: where it confirms the hash of the second, the first was changed. So a broken link is held
    until the next event, or the head, has been seen.
    """

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._position = 0
        self._sequences = (0, 0)  # of the last two events
        self._hash = GENESIS
        self._open_turn: str | None = None
        self._stray: Fault | None = None
        self._broken = False  # the last event does not name the hash of the one before it

    def step(self, row: Row, head: Head | None) -> Fault | None:
        """Take the next event by position."""
        position: object = row.position
        if isinstance(position, int) and position < 1:
            # Most likely taken from a place that will be found empty: that is the fault to report.
            self._stray = self._fault(position, "the event stands before the first position")
            return None
        if fault := self._misplaced(row, head):
            return self._held(confirmed=False) or fault
        header = _header(row)
        if isinstance(header, str):
            return self._held(confirmed=False) or self._fault(row.position, header)
        linked = header.previous == self._hash
        if self._broken:
            return self._held(confirmed=linked)
        self._position, self._sequences = row.position, (self._sequences[1], row.sequence)
        self._hash = event_hash(self._stream, row.position, row.type, row.form)
        self._open_turn = open_after(self._open_turn, row.type, header.turn)
        self._broken = not linked
        return None

    def end(self, head: Head | None) -> Fault | None:
        """Compare with the head, which is the only witness of the last event."""
        at = self._position
        if head is None:
            return self._held(confirmed=False) or (
                self._fault(at, "the stream has no head: it was removed") if at else None
            )
        position: object = head.position
        if position != at:
            missing = isinstance(position, int) and position > at
            what = "the event is missing" if missing else "the stream's head was changed"
            return self._held(confirmed=False) or self._fault(at + missing, what)
        confirmed = head.hash == self._hash
        if fault := self._held(confirmed=confirmed):
            return fault
        if not confirmed:
            return self._fault(at, "the event or the stream's head was changed")
        if head.open_turn != self._open_turn:
            return self._fault(
                at,
                f"the head says that turn {head.open_turn} is open, the events {self._open_turn}",
            )
        return self._stray

    def _misplaced(self, row: Row, head: Head | None) -> Fault | None:
        expected = self._position + 1
        if row.position == self._position:
            return self._fault(self._position, "the position is taken twice")
        if row.position != expected:
            return self._fault(expected, "the event is missing")
        if head is not None and head.position == self._position:
            return self._fault(expected, "the event stands beyond the stream's head")
        before, last = self._sequences
        if row.sequence <= last:
            # Either this one was moved to the front, or the one before it to the back.
            moved = expected if row.sequence <= before else self._position
            return self._fault(moved, "the event was moved in the store's own order")
        return None

    def _held(self, *, confirmed: bool) -> Fault | None:
        """The fault of a broken link held back, now that a witness was heard."""
        if not self._broken:
            return None
        if confirmed and self._position > 1:
            return self._fault(self._position - 1, "the event was changed")
        return self._fault(self._position, "the event was changed, moved or put in")

    def _fault(self, position: int, what: str) -> Fault:
        return Fault(self._stream, position, what)


def _header(row: Row) -> Header | str:
    """The clear header, or what is wrong with the row."""
    # A database file changed by hand may hold anything in any column.
    columns: tuple[object, object] = (row.type, row.form)
    if not isinstance(columns[0], str) or not isinstance(columns[1], bytes):
        return "a column holds another kind of value"
    try:
        return read_header(row.form)
    except (ValueError, UnknownEvent) as error:
        return f"not a stored event: {error}"
