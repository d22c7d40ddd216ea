"""What a room answers to its clients: events, pieces of answers, results, and problems."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict

from events.errors import ControlRoomError

REFUSALS = {4404: (404, "Not found"), 4422: (422, "Invalid request")}
"""Codes with which the room closes a stream for good, and the HTTP status that fits each."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why the room did not do what it was asked (RFC 9457); `detail` says what to do."""

    status: int
    title: str
    detail: str
    type: str = "about:blank"
    errors: tuple[Mapping[str, Any], ...] = ()


class RoomError(ControlRoomError):
    """The room refused or failed; `status` is the HTTP status, 0 where nothing answered."""

    def __init__(self, status: int, problem: Problem) -> None:
        fields = [f"{each.get('field')}: {each.get('message')}" for each in problem.errors]
        detail = problem.detail or problem.title
        extra = [field for field in fields if field not in detail]
        super().__init__("; ".join([detail, *extra]), retryable=status in (0, 429, 503))
        self.status, self.problem = status, problem


class RoomUnreachable(RoomError):
    """Nothing answers at the room's address."""

    def __init__(self, url: str, why: str) -> None:
        detail = f"no room answers at {url} ({why}): start one with 'control-room serve'"
        super().__init__(0, Problem(0, "Not reachable", detail))


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a session.

    `payload` is what it says, by the fields of `events.types`; `tree` is the whole CloudEvent.
    """

    position: int
    type: str
    at: str
    by: str
    turn: str | None
    step: str | None
    payload: Mapping[str, Any]
    tree: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, tree: Mapping[str, Any]) -> Event:
        """The event that a CloudEvents JSON object of the room holds."""
        data = tree["data"]
        return cls(
            position=data["position"],
            type=tree["type"],
            at=tree["time"],
            by=data["by"],
            turn=data.get("turn"),
            step=data.get("step"),
            payload=data["payload"],
            tree=tree,
        )


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of an answer that is being written; `seq` is its offset in the channel's text."""

    turn: str
    step: str
    attempt: int
    participant: str
    channel: str
    seq: int
    text: str


class Posted(TypedDict, total=False):
    """What became of a message. After `wait`: also the answers, failures and decisions."""

    turn: str
    position: int
    status: str
    answer: str | None
    answers: list[dict[str, Any]]
    failures: list[dict[str, Any]]
    decisions: list[dict[str, Any]]
    problem: dict[str, Any] | None


class Replayed(TypedDict, total=False):
    """What a replay found; `divergence` has position, expected and actual."""

    identical: bool
    events: int
    head: str
    divergence: dict[str, Any] | None


def object_of(content: bytes) -> dict[str, Any]:
    """The JSON object of an answer; raises `RoomError` where it is none."""
    try:
        tree = json.loads(content)
    except ValueError:
        tree = None
    if not isinstance(tree, dict):
        detail = "what answered is no room: check the URL"
        raise RoomError(0, Problem(0, "Not a room", detail))
    return tree


def problem_of(status: int, content: bytes) -> RoomError:
    """The error that an answer of that status stands for."""
    try:
        tree = json.loads(content)
    except ValueError:
        tree = None
    if not isinstance(tree, dict):
        tree = {"detail": f"the room answered HTTP {status}"}
    problem = Problem(
        status=status,
        title=str(tree.get("title", f"HTTP {status}")),
        detail=str(tree.get("detail", "")),
        type=str(tree.get("type", "about:blank")),
        errors=tuple(each for each in tree.get("errors") or () if isinstance(each, dict)),
    )
    return RoomError(status, problem)


def messages_of(frame: str | bytes) -> Iterator[Event | Delta]:
    """What a frame of the stream says, a line each; kinds of a later release are left out."""
    text = frame if isinstance(frame, str) else frame.decode()
    for line in text.split("\n"):  # texts may hold what else separates lines
        tree = json.loads(line)
        match tree.get("type"):
            case "event":
                yield Event.of(tree["event"])
            case "delta":
                yield Delta(
                    turn=tree["turn"],
                    step=tree["step"],
                    attempt=tree["attempt"],
                    participant=tree["participant"],
                    channel=tree["channel"],
                    seq=tree["seq"],
                    text=tree["text"],
                )


def refusal_of(code: int, reason: str) -> RoomError:
    """The error that a stream closed with that code stands for."""
    status, title = REFUSALS[code]
    return RoomError(status, Problem(status, title, reason or title))


def reason_of(error: BaseException) -> str:
    """What went wrong with a connection, in a line."""
    text = str(error) or type(error).__name__
    return text.splitlines()[0][:200]
