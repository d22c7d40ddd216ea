"""The names of models at the door, and the rooms that they stand for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime

from pydantic import TypeAdapter, ValidationError

from api.doors import Doors
from api.new_session import CATALOGUE
from api.openai_door.backend import Card
from api.openai_door.faults import DoorError
from api.problems import ProblemError
from api.projected import all_caught_up
from api.saved import preset_of
from events.config import Participant, SessionConfig
from events.presets import PresetKind
from events.values import Id

LISTED = 50
"""Sessions that are listed, the latest; others can be named all the same."""
OWNER = "control-room"

_ID: TypeAdapter[str] = TypeAdapter(Id)
_ROOM: PresetKind = "room"


@dataclass(frozen=True, slots=True)
class Target:
    """What a name stands for.

    A message is posted to the session of that id; or else a new session is made of `config`, whose
    own id is still to be given. Of a participant, `apart_from` is its session, where that session
    has a budget, which a call apart from it would not be counted in.
    """

    session: str | None = None
    config: SessionConfig | None = None
    created: int = 0
    owner: str = OWNER
    apart_from: str | None = None


async def find(doors: Doors, name: str) -> Target:
    """What `name` stands for; raises a 404 `DoorError` where that is nothing."""
    first, _, rest = name.partition("/")
    second, third, participant = rest.partition("/")
    match first:
        case "room" if _is_id(rest):
            preset = await preset_of(doors, rest)
            if preset is not None and preset.kind == _ROOM:
                config = SessionConfig.model_validate({"session_id": rest} | preset.config)
                return Target(config=config, created=_seconds(preset.saved_at))
        case "session" if _is_id(second):
            try:
                session = await doors.states.get(second)
            except ProblemError:
                raise unknown(name) from None
            if not third:
                return Target(session=second)
            seat = session.config.participant(participant) if session.config else None
            if seat is not None and session.config is not None:
                budgets = (session.config.budget, seat.budget)
                limited = any(budget is not None for budget in budgets)
                return Target(
                    config=alone(seat, session.config.deadline),
                    apart_from=second if limited else None,
                )
        case _ if rest and first in doors.room.providers:
            seat = Participant(id="model", provider=first, model_name=rest[:512])
            return Target(config=alone(seat), owner=first)
        case _:
            pass
    raise unknown(name)


def alone(seat: Participant, deadline: float | None = None) -> SessionConfig:
    """A session of one participant."""
    limits = {} if deadline is None else {"deadline": deadline}
    return SessionConfig.model_validate({"session_id": "door", "models": (seat,), **limits})


def unknown(name: str) -> DoorError:
    """There is no such model."""
    return DoorError(
        404,
        f"there is no model {name!r:.200}: GET /openai/v1/models lists those there are; a session"
        " is session/ID, a saved room room/NAME, a provider's model PROVIDER/MODEL",
        code="model_not_found",
        param="model",
    )


async def listed(doors: Doors) -> tuple[Card, ...]:
    """Saved rooms, the latest sessions with their participants, and the providers' models.

    Of a provider that offers a whole catalogue none is listed.
    """
    await all_caught_up(doors)
    reader = doors.room.projections
    presets, sessions, told = await asyncio.gather(
        asyncio.to_thread(reader.presets, _ROOM),
        asyncio.to_thread(reader.sessions, LISTED, None, None, "active"),
        _told(doors),
    )
    cards = [Card(f"room/{one.name}", OWNER, _seconds(one.saved_at)) for one in presets.presets]
    for session in sessions.sessions:
        created = _seconds(session.created_at)
        cards.append(Card(f"session/{session.id}", OWNER, created))
        cards += (
            Card(f"session/{session.id}/{seat.id}", OWNER, created) for seat in session.participants
        )
    return (*cards, *told)


async def _told(doors: Doors) -> list[Card]:
    """The models of those providers that tell a few."""
    room = doors.room
    told = await doors.model_names.told(room.providers, room.settings.environment)
    few = {id: names for id, names in told.items() if len(names) <= CATALOGUE}
    return [Card(f"{id}/{name}", id) for id, names in few.items() for name in names]


def _is_id(text: str) -> bool:
    try:
        _ID.validate_python(text)
    except ValidationError:
        return False
    return True


def _seconds(at: datetime) -> int:
    return int(at.timestamp())
