"""Puts one answer together from the items of its stream, or from the one body that it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar, Literal

from actors.providers.port import Delta, Finished
from events.errors import BadResponse, ContentFiltered, ProviderError

LONGEST_ANSWER = 16 * 1024 * 1024  # characters of text, reasoning and tool calls together

Channel = Literal["text", "reasoning"]
Piece = tuple[Channel, str]
Notes = tuple[str, ...]


class Assembly(ABC):
    """The answer so far; a subclass reads the items of one API.

    `done` says that the answer is complete, where its API says so by an item. `error` is what a
    server says in place of an item, `fault` what is wrong with the form of one; the pieces before
    it have been given out then, and no more will come.
    """

    FORM: ClassVar[str]
    """What the items should be, such as `chat completions`."""

    def __init__(self, provider: str) -> None:
        self.provider = provider
        self.done = False
        self.error: Any = None
        self.fault: ProviderError | None = None
        self.finish_reason: str | None = None
        self.filtered = ""
        """What a content filter found in the answer, where the server says it."""
        self.size = 0
        """Characters so far; a subclass adds those of tool calls."""
        self.grown = False
        """Whether the last items brought some of them."""
        self.at_work = False
        """Whether the last items told at least that the answer is worked on."""

    def take(self, items: list[dict[str, Any]]) -> list[Delta]:
        """The pieces that the items bring, those of one channel in a row joined."""
        deltas: list[Delta] = []
        texts: list[str] = []
        last: Channel = "text"
        before, self.at_work = self.size, False
        try:
            for item in items:
                for channel, text in self._pieces(item):
                    if channel != last:
                        _close(deltas, last, texts)
                        last = channel
                    texts.append(text)
                    self.size += len(text)
                if self.error or self.done:
                    break
        except (TypeError, AttributeError, KeyError, ValueError, IndexError) as error:
            self.fault = BadResponse(
                f"provider {self.provider!r} does not answer in the form of {self.FORM}"
                f" ({type(error).__name__}): check its type and address"
            )
        _close(deltas, last, texts)
        self.grown = self.size > before
        if self.size > LONGEST_ANSWER:
            self.fault = BadResponse(f"the answer has more than {LONGEST_ANSWER} characters")
        return deltas

    def mark_end(self) -> None:  # noqa: B027 - most APIs say more than that
        """Take note that the stream has ended with a mark of its own, `[DONE]`."""

    def finished(self, notes: Notes) -> Finished:
        """The end of the answer.

        Raises `BadResponse` where it is not complete, `ContentFiltered` where the server broke it
        off for what it says, with the usage that has to be paid for all the same.
        """
        if self.finish_reason is None:
            raise BadResponse("the stream ended before the answer was complete: ask again")
        if self.finish_reason == "content_filter":
            found = f" ({self.filtered})" if self.filtered else ""
            filtered = ContentFiltered(
                f"provider {self.provider!r} broke the answer off because of its content{found}:"
                " change what is asked"
            )
            filtered.usage = self._finished(self.finish_reason, notes).usage
            raise filtered
        return self._finished(self.finish_reason, notes)

    @abstractmethod
    def _pieces(self, item: dict[str, Any]) -> Iterable[Piece]:
        """What one item brings; sets `error`, `done` and `finish_reason`.

        It sets `at_work` where an item without characters shows that the server goes on with the
        answer, such as one of thinking that is not shown; what only keeps a connection alive does
        not show that.
        Where the item is not of the form that it should have, whatever it raises of `TypeError`,
        `KeyError`, `ValueError`, `AttributeError` and `IndexError` becomes a fault.
        """

    @abstractmethod
    def _finished(self, finish_reason: str, notes: Notes) -> Finished:
        """The end: its finish reason is one of OpenAI's, where there is one of that meaning."""


def text_of(value: Any) -> str:
    """The value, which has to be a text."""
    if not isinstance(value, str):
        raise TypeError
    return value


def _close(deltas: list[Delta], channel: Channel, texts: list[str]) -> None:
    if texts:
        deltas.append(Delta(channel, "".join(texts)))
        texts.clear()
