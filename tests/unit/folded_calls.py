"""Sessions folded from events by hand, with calls of tools, and what a participant is shown."""

from __future__ import annotations

from typing import Any

from actors.routing import context
from actors.routing.digests import request_digest
from events.chat import WireMessage, written
from events.envelope import Event
from events.session import Session
from events.tools import (
    ApprovalDenied,
    ApprovalRequested,
    ToolCalled,
    ToolFailed,
    ToolRefused,
    ToolReturned,
    ToolUse,
)
from events.types import ModelAsked, Payload, SessionCreated, TurnStarted
from events.values import ContextRule, Message, Parameters, Semantics, Text, ToolCall
from tests.sessions import START, Blobs, answered, config

MODELS = [
    {"id": "a", "provider": "one", "model_name": "m", "system_prompt": "Be brief."},
    {"id": "b", "provider": "two", "model_name": "m"},
]


class Log:
    """A session folded from events by hand."""

    def __init__(self, message: Message | None = None) -> None:
        self.blobs = Blobs()
        self.session = Session("s1")
        self.give(SessionCreated(config=config(models=MODELS)))
        started = TurnStarted(
            message=message or Message(content="Where is the cat?"),
            facts=self.blobs.put(b"{}"),
            semantics=Semantics(engine=3, context=context.VERSION),
        )
        self.give(started, None)

    def give(self, data: Payload, step: str | None = None) -> None:
        position = self.session.position + 1
        turn = None if isinstance(data, SessionCreated) else "t1"
        self.session.apply(
            Event(stream="s1", position=position, at=START, by="x", turn=turn, step=step, data=data)
        )

    def ask(self, key: str = "ask:a:1", **changes: Any) -> ModelAsked:
        fields: dict[str, Any] = {
            "participant": "a",
            "provider": "one",
            "model": "m",
            "purpose": "answer",
            "context": ContextRule(mode="isolated", upto=2),
            "parameters": Parameters(),
            "digest": "0" * 64,
        }
        asked = ModelAsked(**fields | changes)
        self.give(asked, key)
        return asked

    def answer(self, key: str, *calls: tuple[str, str], text: Text = "", **rest: Any) -> None:
        wanted = tuple(ToolCall(id=id, name=name, arguments='{"at":1}') for id, name in calls)
        self.give(answered(text, tool_calls=wanted, finish_reason="tool_calls", **rest), key)

    def call(self, key: str, asked_in: str, id: str, outcome: Payload | None = None) -> None:
        use = ToolUse(
            name="cats__find", arguments="{}", participant="a", asked_in=asked_in, call_id=id
        )
        if isinstance(outcome, ToolRefused):
            self.give(outcome.model_copy(update={"use": use}), key)
            return
        if isinstance(outcome, ApprovalDenied):
            self.give(ApprovalRequested(use=use, server="cats", tool="find"), key)
        else:
            self.give(ToolCalled(use=use, server="cats", tool="find"), key)
        if outcome is not None:
            self.give(outcome, key)

    def said(self, asked: ModelAsked) -> list[context.Said]:
        parts = context.parts(self.session, self.session.turns["t1"], asked)
        return context.messages(parts, self.blobs.load)

    def digest(self, asked: ModelAsked) -> str:
        return request_digest(self.session, self.session.turns["t1"], asked)


def returned(text: Text = "on the mat", **rest: Any) -> ToolReturned:
    return ToolReturned(attempt=1, text=text, duration_ms=1, **rest)


def failed(message: str) -> ToolFailed:
    return ToolFailed(attempt=1, error="ToolError", message=message, retryable=False)


def refused(reason: str) -> ToolRefused:
    return ToolRefused(use=ToolUse(name="x", arguments="{}"), reason=reason)


def results(log: Log, asked: ModelAsked) -> list[str]:
    return [one.text for one in log.said(asked) if one.role == "tool"]


def conversation() -> tuple[WireMessage, ...]:
    call = ToolCall(id="c1", name="weather", arguments="{}")
    return (
        WireMessage(role="system", content="You are a pirate."),
        WireMessage(role="user", content="Hello"),
        WireMessage(role="assistant", content="", tool_calls=(call,)),
        WireMessage(role="tool", content="rain", tool_call_id="c1"),
        WireMessage(role="user", content="And now?"),
        WireMessage(role="user", content="Well?"),
    )


def brought(*messages: WireMessage) -> Log:
    content = written(messages)
    blobs = Blobs()
    given = blobs.put(content, "application/json")
    log = Log(Message(content="Well?", given=given))
    log.blobs.contents |= blobs.contents
    return log
