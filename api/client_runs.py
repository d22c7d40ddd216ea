"""What a client asks of a room's runs of workflows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import quote
from uuid import uuid4

TIMEOUT = 20.0
"""Seconds in which the room has to answer, besides what it was asked to wait."""
CHECKED_WITHIN = 60.0
"""Further seconds in which a framework may have to be imported, for what a run is checked by."""
REPLAYED_WITHIN = 3600.0
"""Further seconds for a replay, which runs the workflow again."""


class _Caller(Protocol):
    """What the calls are made with."""

    async def _call(
        self, method: str, path: str, *, safe: bool = False, **more: Any
    ) -> dict[str, Any]:
        """The answer's JSON. `safe`: doing it twice is the same as doing it once."""
        ...


class Runs:
    """The part of a `RoomClient` that is about runs."""

    async def start_run(
        self: _Caller,
        envelope: Mapping[str, Any],
        *,
        wait: float | None = None,
        key: str | None = None,
    ) -> dict[str, Any]:
        """Run a workflow: returns when it is committed, or, with `wait`, when it has ended.

        `wait` is in seconds; the run's `status` says whether it ended within them.
        """
        return await self._call(
            "POST",
            "/v1/runs",
            json=dict(envelope),
            params={} if wait is None else {"wait": wait},
            headers={"Idempotency-Key": key or uuid4().hex},
            timeout=TIMEOUT + CHECKED_WITHIN + (wait or 0),
            safe=True,
        )

    async def runs(self: _Caller, limit: int = 50, cursor: str | None = None) -> dict[str, Any]:
        """A page of runs, the latest first: `{"runs": [...], "next": cursor}`."""
        query = {"limit": limit} | ({"cursor": cursor} if cursor else {})
        return await self._call("GET", "/v1/runs", params=query)

    async def run(self: _Caller, run: str, turn: str | None = None) -> dict[str, Any]:
        """A run as of now: its status, its calls, its output, what it cost."""
        return await self._call("GET", _path(run), params=_turn(turn))

    async def cancel_run(self: _Caller, run: str) -> dict[str, Any]:
        """Call it off."""
        return await self._call("POST", _path(run, "cancel"), safe=True)

    async def replay_run(self: _Caller, run: str, turn: str | None = None) -> dict[str, Any]:
        """Run it again against its log: `{"identical", "calls", "divergence"}`."""
        return await self._call(
            "POST",
            _path(run, "replay"),
            params=_turn(turn),
            timeout=TIMEOUT + REPLAYED_WITHIN,
            safe=True,
        )

    async def frameworks(self: _Caller) -> dict[str, Any]:
        """The frameworks whose workflows can be run, and the schemas of their configuration."""
        return await self._call("GET", "/v1/frameworks", timeout=TIMEOUT + CHECKED_WITHIN)


def _path(run: str, *parts: str) -> str:
    return "/".join(["/v1/runs", *(quote(part, safe="") for part in (run, *parts))])


def _turn(turn: str | None) -> dict[str, str]:
    return {} if turn is None else {"turn": turn}
