"""Sessions behind the door: a message is posted, and its turn is followed to the end."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from hashlib import sha256
from typing import Any, NamedTuple

import anyio
import orjson

from actors.messages import Accepted, CancelTurn, CreateSession, PostTurn
from api.doors import Doors
from api.following import Follower
from api.idempotency import named, under
from api.openai_door import names
from api.openai_door.backend import Answering, Backend, Card, Completion, Said
from api.openai_door.bringing import Brought
from api.openai_door.completion import completion_of
from api.openai_door.composing import Composer
from api.openai_door.faults import DoorError
from api.problems import ProblemError
from api.routes.sessions import carried
from api.shown import Committed
from api.waiting import view_of
from events.config import Participant, SessionConfig
from events.types import TURN_ENDS
from events.values import Blob
from projections.sessions import DOOR

_ENDS = frozenset(kind.type for kind in TURN_ENDS)
_REPEATS = 8
"""Calls under one key that were all called off, before no further one is begun."""


class Rooms(Backend):
    """The sessions, saved rooms and models of the room."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors

    async def cards(self) -> tuple[Card, ...]:
        return await names.listed(self._doors)

    async def card(self, name: str) -> Card:
        target = await names.find(self._doors, name)
        return Card(name, target.owner, target.created)

    @asynccontextmanager
    async def answering(
        self, brought: Brought, key: str | None, *, pieces: bool
    ) -> AsyncIterator[Turn]:
        doors, target = self._doors, await names.find(self._doors, brought.model)
        blobs = doors.room.blobs
        if target.apart_from is not None:
            raise _counted(target.apart_from)
        if target.config is None:
            _refuse_changes(brought)
            message = await brought.last(blobs)
        else:
            message = await brought.whole(blobs)
        with under(key) as known:
            for number in range(_REPEATS):
                tried = sha256(f"{known}#{number}".encode()).hexdigest() if number else known
                if target.config is None:
                    assert target.session
                    session = target.session
                else:
                    config = _with(target.config, brought)
                    session = await _created(doors, config, brought.model, tried)
                async with AsyncExitStack() as stack:
                    once = target.config is not None
                    follow = doors.feeds.follow(session, None, pieces=pieces, once=once)
                    follower = await stack.enter_async_context(follow)
                    leave = stack.enter_context(doors.callers.one(session, tried))
                    command = PostTurn(
                        session=session, by=doors.principal, id=tried, message=message
                    )
                    accepted = await _posted(doors, command, leave)
                    assert accepted.turn
                    if accepted.repeated:
                        begun = await _begun(doors, session, accepted.turn)
                        if begun is None:
                            continue  # nobody has its answer, so this is another call
                        follow = doors.feeds.follow(session, begun, pieces=pieces)
                        follower = await stack.enter_async_context(follow)
                    yield Turn(
                        doors,
                        session,
                        accepted.turn,
                        follower,
                        own=brought.names,
                        leave=leave,
                    )
                    return
            raise DoorError(
                409,
                f"{_REPEATS} requests under this Idempotency-Key were broken off: use another",
                code="conflict",
            )


class Happened(NamedTuple):
    """An event of a turn: its type, and whom its step is about."""

    type: str
    about: str


class Turn(Answering):
    """A turn that is under way."""

    def __init__(
        self,
        doors: Doors,
        session: str,
        turn: str,
        follower: Follower,
        *,
        own: frozenset[str],
        leave: Callable[[], bool],
    ) -> None:
        """`leave` says whether nobody else waits for it."""
        self._doors, self._session, self._turn = doors, session, turn
        self._follower = follower
        self._own = own
        self._leave = leave

    @property
    def id(self) -> str:
        return f"chatcmpl-{self._session}-{self._turn}"

    async def pieces(self) -> AsyncIterator[Said | Completion]:
        config = await self._config()
        composer = Composer(config)
        while True:
            for item in await self._follower.next():
                if not isinstance(item, Committed):
                    turn, step = item.key
                    if turn == self._turn:
                        piece = orjson.loads(item.frame)
                        for said in composer.piece(
                            step, piece["attempt"], piece["channel"], piece["seq"], piece["text"]
                        ):
                            yield said
                elif item.turn == self._turn:
                    for said in await self._told(composer, item):
                        yield said
                    if item.type in _ENDS:
                        completion = await self._completion()
                        for said in composer.rest(completion.text):
                            yield said
                        if composer.broken:
                            raise self._broken()
                        yield completion
                        return

    async def completion(self) -> Completion:
        async for happened in self.happenings():
            if isinstance(happened, Completion):
                return happened
        raise AssertionError("unreachable")

    async def happenings(self) -> AsyncIterator[Happened | Completion]:
        """What happens in the turn, and at last the whole answer; raises as `completion` does."""
        while True:
            for item in await self._follower.next():
                if not isinstance(item, Committed) or item.turn != self._turn:
                    continue
                if item.type in _ENDS:
                    yield await self._completion()
                    return
                about = item.step.split(":")[1] if item.step and ":" in item.step else ""
                yield Happened(item.type, about)

    async def cancel(self) -> None:
        if self._leave():
            await _call_off(self._doors, self._session, self._turn)

    async def _config(self) -> SessionConfig:
        state = await self._doors.states.get(self._session)
        turn = state.turns.get(self._turn)
        config = turn.config if turn and turn.config else state.config
        assert config
        return config

    async def _told(self, composer: Composer, item: Committed) -> list[Said]:
        step = item.step or ""
        match item.type:
            case "model.asked":
                composer.asked(step, _payload(item))
            case "model.reasked":
                composer.reasked(step, _payload(item)["attempt"])
            case "model.answered":
                text = _payload(item)["text"]
                if not isinstance(text, str):
                    blob = Blob.model_validate(text)
                    text = await asyncio.to_thread(self._doors.room.load, blob)
                return list(composer.answered(step, text))
            case "model.failed" | "model.cancelled":
                return list(composer.ended(step))
            case _:
                pass
        return []

    async def _completion(self) -> Completion:
        view = await view_of(self._doors, self._session, self._turn)
        events = await self._doors.states.turn_events(self._session, self._turn)
        place = {"session": self._session, "turn": self._turn}
        return completion_of(view, events, await self._config(), place, self._own)

    def _broken(self) -> DoorError:
        return DoorError(
            502,
            "what was streamed broke off and was said anew: the whole answer is at"
            f" GET /v1/sessions/{self._session}/turns/{self._turn}",
            code="broken_off",
        )


def _payload(item: Committed) -> dict[str, Any]:
    payload: dict[str, Any] = orjson.loads(item.json)["data"]["payload"]
    return payload


def _refuse_changes(brought: Brought) -> None:
    """Refuse what a session cannot be asked for, because its own configuration says it."""
    if brought.tools is not None:
        _refuse("tools", "a session calls tools of its own only")
    if brought.parameters.schema_ is not None:
        _refuse("response_format", "a session answers as its participants are configured")


def _refuse(what: str, why: str) -> None:
    raise DoorError(
        400,
        f"{why}: leave {what!r} out, or ask one participant, as session/ID/PARTICIPANT",
        code="unsupported_parameter",
        param=what,
    )


def _counted(session: str) -> DoorError:
    return DoorError(
        400,
        f"session {session!r} has a budget, in which a call of one participant apart from it would"
        f" not be counted: ask session/{session}",
        code="budgeted_session",
        param="model",
    )


def _with(config: SessionConfig, brought: Brought) -> SessionConfig:
    """The configuration with what the client wants otherwise, which is one participant's to do.

    Of a room of several each has parameters of its own, which count.
    """
    if len(config.models) > 1:
        _refuse_changes(brought)
        return config
    wanted = brought.parameters
    changes: dict[str, Any] = {
        name: value
        for name, value in (
            ("temperature", wanted.temperature),
            ("top_p", wanted.top_p),
            ("max_tokens", wanted.max_tokens),
            ("seed", wanted.seed),
            ("stop_sequences", wanted.stop or None),
            ("answer_schema", wanted.schema_),
        )
        if value is not None
    }
    seat: Participant = config.models[0].model_copy(update=changes)
    return config.model_copy(update={"models": (seat,)})


async def _created(doors: Doors, config: SessionConfig, model: str, key: str) -> str:
    """The session that the call is made in; the same key gives the same one."""
    id = named(doors.principal, key)[:24]
    tags = tuple(dict.fromkeys((*config.tags, DOOR)))
    changes = {"session_id": f"door_{id}", "tags": tags, "title": config.title or model[:512]}
    made = config.model_copy(update=changes)
    command = CreateSession(
        session=made.session_id,
        by=doors.principal,
        id=f"door {id}",
        config=await carried(doors, made),
    )
    return (await doors.commands.send(command)).session


async def _posted(doors: Doors, command: PostTurn, leave: Callable[[], bool]) -> Accepted:
    """Post it. Of a client that goes away meanwhile, the turn is called off."""
    posting = asyncio.ensure_future(doors.commands.send(command))
    try:
        return await asyncio.shield(posting)
    except asyncio.CancelledError:
        leave()
        with anyio.CancelScope(shield=True), suppress(ProblemError):
            accepted = await posting
            if accepted.turn and leave():
                await _call_off(doors, command.session, accepted.turn)
        raise


async def _call_off(doors: Doors, session: str, turn: str) -> None:
    command = CancelTurn(
        session=session,
        by=doors.principal,
        id=secrets.token_hex(16),
        turn=turn,
        reason="the client at the door went away",
    )
    await doors.commands.send(command)


async def _begun(doors: Doors, session: str, turn: str) -> int | None:
    """The position before a turn that was begun earlier under the same key.

    None where that turn was called off.
    """
    found = (await doors.states.get(session)).turns[turn]
    if found.status == "cancelled":
        return None
    return (found.queued_at or found.started_at or 1) - 1
