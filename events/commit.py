"""Decides what becomes of appends, and chains what is written to the heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from eventsourcing.persistence import IntegrityError, StoredEvent

from events.canonical import canonical
from events.chain import GENESIS, event_hash
from events.codec import Codec, Sealed, read_header
from events.envelope import Event, Head, open_after
from events.errors import Conflict, ControlRoomError, Tampered
from events.recorders.port import Advance, Recorder

KNOWN_HEADS = 20_000
"""Heads kept in memory, so that appending needs no reading."""

_ATTEMPTS = 10


@dataclass(eq=False, slots=True)
class Append:
    """One caller's batch, and what became of it once that is decided."""

    stream: str
    after: int
    events: Sequence[Event]
    sealed: Sequence[Sealed]
    outcome: Head | ControlRoomError | None = None

    @property
    def size(self) -> int:
        """Bytes that the batch will take in the store."""
        return sum(one.size for one in self.sealed)


@dataclass(slots=True)
class _Transaction:
    """What one transaction inserts; the heads follow from the events."""

    rows: list[StoredEvent] = field(default_factory=list)
    advances: dict[str, Advance] = field(default_factory=dict)

    def add(self, append: Append, head: Head) -> Head:
        """Chain the batch to `head`; returns the head that results."""
        previous, open_turn = head.hash, head.open_turn
        for sealed in append.sealed:
            form = sealed.after(previous)
            previous = event_hash(sealed.stream, sealed.position, sealed.type, form)
            open_turn = open_after(open_turn, sealed.type, sealed.turn)
            self.rows.append(StoredEvent(sealed.stream, sealed.position, sealed.type, form))
        result = Head(append.stream, append.after + len(append.sealed), previous, open_turn)
        earlier = self.advances.get(append.stream)
        after = head.position if earlier is None else earlier.after
        self.advances[append.stream] = Advance(after, result)
        return result


class Committer:
    """Writes groups of appends. Not for more than one thread."""

    def __init__(self, recorder: Recorder, codec: Codec) -> None:
        self._recorder = recorder
        self._codec = codec
        self._heads: dict[str, Head] = {}

    def together(self, group: Sequence[Append]) -> None:
        """Write in one transaction what fits onto the heads, and set its outcomes.

        An append without an outcome afterwards has not been written: `settle` decides on it.
        """
        self._learn({append.stream for append in group})
        transaction = _Transaction()
        taken: list[tuple[Append, Head]] = []
        for append in group:
            advance = transaction.advances.get(append.stream)
            head = self._heads[append.stream] if advance is None else advance.head
            if head.position == append.after:
                taken.append((append, transaction.add(append, head)))
        if not taken:
            return
        try:
            refused = self._insert(transaction)
        except IntegrityError:
            return
        for append, head in taken:
            if append.stream not in refused:
                append.outcome = head

    def settle(self, append: Append) -> None:
        """Decide on one append whose head was not where its caller, or this writer, believed."""
        append.outcome = self._settled(append)

    def forget(self) -> None:
        """Believe no head any more: whether a transaction was committed is not known."""
        self._heads.clear()

    def _insert(self, transaction: _Transaction) -> frozenset[str]:
        advances = list(transaction.advances.values())
        refused = self._recorder.insert(transaction.rows, advances)
        for _, head in advances:
            if head.stream not in refused:
                self._heads[head.stream] = head
        return refused

    def _learn(self, streams: set[str]) -> None:
        """Have the heads of `streams` in memory; another process may move them all the same."""
        unknown = [stream for stream in streams if stream not in self._heads]
        if not unknown:
            return
        if len(self._heads) + len(unknown) > KNOWN_HEADS:
            self._heads = {name: self._heads[name] for name in streams.difference(unknown)}
        found = {head.stream: head for head in self._recorder.heads(unknown)}
        for stream in unknown:
            self._heads[stream] = found.get(stream) or Head(stream, 0, GENESIS, None)

    def _settled(self, append: Append) -> Head | ControlRoomError:
        stream = append.stream
        for _ in range(_ATTEMPTS):
            self._heads.pop(stream, None)
            self._learn({stream})
            head = self._heads[stream]
            if head.position != append.after:
                return self._repeated(append, head)
            transaction = _Transaction()
            result = transaction.add(append, head)
            try:
                if not self._insert(transaction):
                    return result
            except IntegrityError:
                if self._recorder.heads([stream]) == ([head] if head.position else []):
                    what = "the position is taken, but the stream's head does not know of it"
                    return Tampered(stream, append.after + 1, what)
        return Conflict(f"{stream}: other writers were faster {_ATTEMPTS} times; try again")

    def _repeated(self, append: Append, head: Head) -> Head | ControlRoomError:
        """The head after an append that is there already, its reply having been lost."""
        try:
            stored = [
                self._codec.decode(row.stream, row.position, row.type, row.form)
                for row in self._recorder.rows(append.stream, append.after, len(append.events))
            ]
        except ControlRoomError as error:
            return error
        if [canonical(event) for event in stored] != [canonical(event) for event in append.events]:
            return Conflict(
                f"{append.stream} is at position {head.position}, not at {append.after}: "
                "read what was appended since and decide again"
            )
        upto = append.after + len(append.events)
        return head if head.position == upto else self._past_head(append.stream, upto)

    def _past_head(self, stream: str, upto: int) -> Head:
        """The head as it was at an earlier position."""
        open_turn, last = None, GENESIS
        for row in self._recorder.rows(stream, 0, upto):
            open_turn = open_after(open_turn, row.type, read_header(row.form).turn)
            last = event_hash(stream, row.position, row.type, row.form)
        return Head(stream, upto, last, open_turn)
