"""Answers of any JSON API: JSONPaths say where the text and all else stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from actors.providers.assembly import Assembly, Channel, Notes, Piece
from actors.providers.port import Finished
from actors.providers.tool_calls import ToolCalls
from events.errors import BadResponse
from events.values import Usage

if TYPE_CHECKING:
    from jsonpath import JSONPath

_REASONS: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "complete": "stop",
    "completed": "stop",
    "finished": "stop",
    "max_tokens": "length",
    "max_length": "length",
    "max_output_tokens": "length",
    "safety": "content_filter",
    "tool_use": "tool_calls",
}


def compiled(path: str) -> JSONPath:
    """The path; a `ValueError` says what is wrong with it."""
    import re

    import jsonpath

    try:
        found = jsonpath.compile(path)
    except (jsonpath.JSONPathError, re.error) as error:
        raise ValueError(f"it is no JSONPath: {str(error).splitlines()[0]}") from None
    if not isinstance(found, jsonpath.JSONPath):
        raise ValueError("it has to be one JSONPath, not several joined")
    return found


def found(path: JSONPath | None, item: Any) -> Any:
    """The first value at the path; None where there is none."""
    import jsonpath

    if path is None:
        return None
    try:
        match = path.match(item)
    except (jsonpath.JSONPathError, RecursionError) as error:
        raise ValueError(str(error)) from None
    return None if match is None else match.obj


@dataclass(frozen=True)
class Places:
    """Where things stand in a body, or in each item of a stream; `done` is then its end mark."""

    text: JSONPath
    streamed: bool
    reasoning: JSONPath | None = None
    calls: JSONPath | None = None
    finish: JSONPath | None = None
    error: JSONPath | None = None
    done: JSONPath | None = None
    done_value: Any = None
    usage: Mapping[str, JSONPath] = field(default_factory=dict)


class GenericAnswer(Assembly):
    """An answer in the form that the paths describe."""

    FORM = "its paths, response_path or stream.text_path first"

    def __init__(self, provider: str, places: Places) -> None:
        super().__init__(provider)
        self._places = places
        self._usage: dict[str, int] = {}
        self._calls = ToolCalls()

    def mark_end(self) -> None:
        if self.finish_reason is None:
            self.finish_reason = "stop"

    def _pieces(self, item: dict[str, Any]) -> list[Piece]:
        places = self._places
        if error := found(places.error, item):
            self.error = error
            return []
        pieces: list[Piece] = []
        paths: tuple[tuple[Channel, JSONPath | None], ...] = (
            ("reasoning", places.reasoning),
            ("text", places.text),
        )
        for channel, path in paths:
            if text := _text(found(path, item)):
                pieces.append((channel, text))
        if calls := found(places.calls, item):
            self.size += self._calls.take(calls)
        for name, path in places.usage.items():
            if (count := found(path, item)) is not None:
                self._usage[name] = int(count)
        if (reason := found(places.finish, item)) is not None:
            self.finish_reason = _REASONS.get(str(reason).lower(), str(reason).lower())
        if places.streamed:
            self._look_for_end(item)
        elif found(places.text, item) is None and not calls:
            raise KeyError
        else:
            self.mark_end()
        return pieces

    def _look_for_end(self, item: dict[str, Any]) -> None:
        mark = found(self._places.done, item)
        wanted = self._places.done_value
        if mark == wanted if wanted is not None else mark not in (None, False, "", 0):
            self.done = True
            self.mark_end()

    def _finished(self, finish_reason: str, notes: Notes) -> Finished:
        calls = self._calls.complete()
        if finish_reason == "tool_calls" and not calls:
            raise BadResponse(
                f"provider {self.provider!r} says that it calls tools, and no call stands where its"
                " tool_calls_path says: correct that"
            )
        return Finished(
            # Some say no more than that they stop.
            "tool_calls" if calls and finish_reason == "stop" else finish_reason,
            usage=normalised(self._usage),
            usage_raw=dict(self._usage) or None,
            tool_calls=calls,
            notes=notes,
        )


def _text(value: Any) -> str:
    if isinstance(value, bool | list | dict):
        raise TypeError
    return "" if value is None else str(value)


def normalised(raw: Mapping[str, int]) -> Usage | None:
    """The five disjoint parts of a usage; None where it is missing or makes no sense.

    `input` counts the cached tokens too, and `output` those of the reasoning.
    """
    if "input" not in raw and "output" not in raw:
        return None
    whole, written = raw.get("input", 0), raw.get("output", 0)
    read = min(raw.get("cache_read", 0), whole)
    stored = min(raw.get("cache_write", 0), whole - read)
    reasoning = min(raw.get("reasoning", 0), written)
    try:
        return Usage(
            input=whole - read - stored,
            cache_read=read,
            cache_write=stored,
            output=written - reasoning,
            reasoning=reasoning,
        )
    except ValueError:
        return None
