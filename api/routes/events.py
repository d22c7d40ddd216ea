"""Events by cursor: a page of them, or as they happen (`text/event-stream`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Header
from fastapi.responses import Response, StreamingResponse

from api.doors import Doors, Inside
from api.following import unknown_session, wrong_cursor
from api.openapi import problems
from api.shown import Committed
from api.views import After, EventPage, LastEventId, Limit, SessionId
from events.cloudevents import cloudevent_json

router = APIRouter(prefix="/v1", tags=["events"])

BEAT = 15.0  # seconds without an event after which a stream says that it is alive
_STREAM = "text/event-stream"
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "model": EventPage,
        "description": "Events; as text/event-stream, each with its cursor as id",
        "content": {_STREAM: {"schema": {"type": "string"}}},
    },
}

# A header that the OpenAPI document says by the media types of the answer.
Accept = Annotated[str, Header(include_in_schema=False)]


@router.get(
    "/sessions/{session_id}/events",
    operation_id="list_events",
    responses={**_ANSWERS, **problems(404)},
    response_model=None,
)
async def list_events(
    *,
    doors: Inside,
    session_id: SessionId,
    after: After = 0,
    limit: Limit = 100,
    accept: Accept = "application/json",
    last_event_id: LastEventId = None,
) -> Response:
    """A session's events beyond the cursor, in order and without gaps.

    With `Accept: text/event-stream` they come as they happen, without end; `limit` does not count.
    """
    if _STREAM in accept:
        after = after if last_event_id is None else last_event_id
        await _check_cursor(doors, session_id, after)
        return _stream(_session_stream(doors, session_id, after))
    events = await doors.room.store.read(session_id, after, limit)
    if not events:
        await _check_cursor(doors, session_id, after)
    last = events[-1].position if events else after
    return _page(map(cloudevent_json, events), last)


@router.get(
    "/events",
    operation_id="list_all_events",
    responses={**_ANSWERS, **problems()},
    response_model=None,
)
async def list_all_events(
    *,
    doors: Inside,
    after: After = 0,
    limit: Limit = 100,
    accept: Accept = "application/json",
    last_event_id: LastEventId = None,
) -> Response:
    """Events of all sessions in the order of their commits; the cursor is the store's own.

    Its numbers grow, but not by one. Each event says its own as `sequence`.
    """
    stream = _STREAM in accept
    if stream and last_event_id is not None:
        after = last_event_id
    last = await doors.room.store.last()
    if after > last:
        raise wrong_cursor(after, last)
    if stream:
        return _stream(_whole_stream(doors, after))
    page = await doors.room.store.read_all(after, limit)
    content = (cloudevent_json(recorded.event, recorded.sequence) for recorded in page)
    return _page(content, page[-1].sequence if page else after)


async def _check_cursor(doors: Doors, session: str, after: int) -> None:
    head = await doors.room.store.head(session)
    if head is None:
        raise unknown_session(session)
    if after > head.position:
        raise wrong_cursor(after, head.position)


def _page(events: Iterable[bytes], last: int) -> Response:
    content = b'{"events":[%b],"next":%d}' % (b",".join(events), last)
    return Response(content, media_type="application/json")


def _stream(content: AsyncIterator[str]) -> Response:
    return StreamingResponse(content, media_type=_STREAM, headers=_HEADERS)


async def _session_stream(doors: Doors, session: str, after: int) -> AsyncIterator[str]:
    async with doors.feeds.follow(session, after) as follower:
        yield "retry: 1000\n\n"
        while True:
            try:
                async with asyncio.timeout(BEAT):
                    items = await follower.next()
            except TimeoutError:
                yield ": alive\n\n"
                continue
            yield "".join(
                f"id: {item.position}\ndata: {item.json}\n\n"
                for item in items
                if isinstance(item, Committed)
            )


async def _whole_stream(doors: Doors, after: int) -> AsyncIterator[str]:
    yield "retry: 1000\n\n"
    async for page in doors.all_events.follow(after):
        yield (
            "".join(
                f"id: {one.sequence}\ndata: {cloudevent_json(one.event, one.sequence).decode()}\n\n"
                for one in page
            )
            or ": alive\n\n"
        )
