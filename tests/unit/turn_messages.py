"""The messages of a session's stream, for tests of what shows them."""

from __future__ import annotations

from typing import Any

from api.client_messages import Delta, Event
from api.progress import TurnProgress

USAGE = {"input": 10, "cache_read": 0, "cache_write": 0, "output": 40, "reasoning": 2}


def config(*roles: str, pattern: str = "broadcast") -> dict[str, Any]:
    """A session of participants m0, m1, ... with these roles."""
    models = [
        {"id": f"m{n}", "provider": "rehearsal", "model_name": "steady", "role": role}
        for n, role in enumerate(roles)
    ]
    return {"routing_pattern": pattern, "models": models}


class Turn:
    """A turn `t1` whose messages are given one by one; positions count by themselves."""

    def __init__(self, *roles: str, pattern: str = "broadcast") -> None:
        self.progress = TurnProgress(config(*roles, pattern=pattern), "t1")
        self._position = 0
        self.event("turn.started")

    def event(self, type: str, step: str | None = None, **payload: Any) -> None:
        self._position += 1
        event = Event(self._position, type, "2026-03-01T12:00:00Z", "local", "t1", step, payload)
        self.progress.apply(event, now=float(self._position))

    def asked(self, participant: str, n: int = 1, **more: Any) -> str:
        step = f"ask:{participant}:{n}"
        asked = {
            "participant": participant,
            "provider": "rehearsal",
            "model": "steady",
            "purpose": "answer",
            "public": True,
        }
        self.event("model.asked", step, **asked | more)
        return step

    def delta(self, step: str, text: str, seq: int, **more: Any) -> None:
        attempt, channel = more.get("attempt", 1), more.get("channel", "text")
        participant = step.split(":")[1]
        self.progress.add(Delta("t1", step, attempt, participant, channel, seq, text))

    def answered(self, step: str, text: Any, **more: Any) -> None:
        answer = {
            "text": text,
            "finish_reason": "stop",
            "usage": USAGE,
            "cost": {"amount": "0.0001", "prices": "list-1"},
            "duration_ms": 2900.0,
        }
        self.event("model.answered", step, **answer | more)

    def failed(self, step: str, message: str = "ask again later") -> None:
        self.event("model.failed", step, error="ProviderUnavailable", message=message)
