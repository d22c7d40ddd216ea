"""Recorded sessions of version 3 of the engine: tools, and people who allow them."""

from __future__ import annotations

from typing import Any, Literal

from events.tools import (
    ApprovalDenied,
    ApprovalGranted,
    ElicitationAnswered,
    ElicitationRequested,
)
from events.types import TimerFired
from events.values import SPILL, Attachment, Message
from tests.session_logs import SessionLog, answered, failed, session_config
from tests.tool_calls import ADD, FIND, RISK, broken, offered, returned, wants


def tooled(**changes: Any) -> SessionLog:
    """Three participants, of whom two have tools, and one of these a fallback."""
    models = [one.model_dump(mode="json") for one in session_config().models]
    models[0] |= {"tool_rounds": 2, "fallbacks": [{"provider": "spare", "model_name": "one"}]}
    log = SessionLog(session_config(models=models, **changes))
    known = {"tools": offered(log.blobs), "structured_output": True}
    log.use_facts({"ada": known | {"fallbacks": [{}]}, "bob": known, "cyd": {}})
    return log


def tools() -> SessionLog:
    """Calls at once, of what there is and is not; rounds used up, a fallback, a retry, a race."""
    log = tooled()
    log.post("How long is the report?")
    log.outcome("ask:ada:1", wants(ADD, FIND, "calc__sub", ADD, text="I look it up."))
    log.outcome("ask:bob:1", wants(FIND, ids={1: ""}))
    log.outcome("ask:cyd:1", answered("I cannot say."))
    picture = Attachment(**dict(log.blobs.put(b"a picture", "image/png")), name="plot.png")
    log.outcome("call:calc__add:2", returned("3", structured='{"sum": 3}', attachments=(picture,)))
    log.outcome("call:files__find:2", returned("nothing found", is_error=True))
    log.outcome("call:files__find:1", broken())
    log.outcome("ask:bob:2", answered("There is none."))
    long = log.blobs.put("Grüße 😀 ".encode() * (SPILL // 8))
    log.outcome("call:calc__add:1", returned(long))
    log.outcome("ask:ada:2", failed())
    log.outcome("ask:ada:3", wants(ADD))
    log.outcome("call:calc__add:3", returned("4"))
    log.outcome("ask:ada:4", wants(ADD, text="Four, I think."))
    log.post("And the others?")
    log.outcome("ask:ada:1", wants(ADD))
    log.outcome("ask:bob:1", wants(*[ADD] * 40))
    log.cancel("t2")
    log.retry("t1", "ada")
    log.outcome("ask:ada:1", wants(FIND))
    log.outcome("call:files__find:1", returned("report.txt"))
    log.play()
    log.reconfigure(routing_pattern="coordinator", coordinator="ada", max_steps=12)
    log.post("Who reads it?")
    log.play_step("ask:ada:1")
    log.outcome("ask:bob:1", wants(ADD, ADD, ADD, ADD, ADD, ADD, ADD, ADD))
    for key in [key for key in log.waiting if key.startswith("call:")]:
        log.outcome(key, returned(key))
    log.play()
    own = b'[{"name":"weather","parameters":{"type":"object"}}]'
    blob = log.blobs.put(own, "application/json")
    log.reconfigure(routing_pattern="round_robin")
    log.post_message(Message(content="And the weather?", tools=blob))
    log.outcome("ask:ada:1", wants("wether", FIND))
    log.outcome("call:files__find:1", returned("clouds.txt"))
    log.outcome("ask:ada:2", wants("weather", ADD, text="One moment."))
    return log


def forced() -> SessionLog:
    """A client's own tool has to be called: it is, is not, after a failure, and in a retry."""
    log = tooled()
    log.reconfigure(models=[log.config.models[0].model_dump(mode="json")])
    listed = b'[{"name":"weather","parameters":{"type":"object"}}]'
    own = log.blobs.put(listed, "application/json")

    def post(text: str, choice: Literal["required"] | None = "required") -> None:
        log.post_message(Message(content=text, tools=own, tool_choice=choice))

    log.post("Hello")
    log.play()
    post("And the weather?")
    log.outcome("ask:ada:1", failed())
    log.outcome("ask:ada:2", wants("weather", text="One moment."))
    post("And now?")
    log.outcome("ask:ada:1", wants("wether"))
    log.outcome("ask:ada:2", wants(FIND))
    log.outcome("call:files__find:1", returned("clouds.txt"))
    log.outcome("ask:ada:3", answered("Cloudy."))
    log.retry("t3", "ada")
    log.outcome("ask:ada:1", answered("I would rather not."))
    post("Thank you.", None)
    log.outcome("ask:ada:1", wants("weather", FIND))
    return log


def approvals() -> SessionLog:
    """Calls that a person allows, denies, or leaves; what a tool asks; pauses and a deadline."""
    log = tooled(deadline=20.0)
    log.post("Tidy up.")
    log.outcome("ask:ada:1", wants(RISK, ADD, RISK))
    log.outcome("ask:bob:1", wants(RISK))
    turn = "t1"
    log.give(ApprovalDenied(reason="it is needed"), turn, "call:files__delete:2")
    log.pause()
    log.give(ApprovalGranted(), turn, "call:files__delete:1")
    log.give(ApprovalGranted(reason="old enough"), turn, "call:files__delete:3")
    log.resume()
    asked = ElicitationRequested(attempt=1, id="e1", message="Really?", form={"type": "object"})
    log.give(asked, turn, "call:files__delete:1")
    log.give(
        ElicitationAnswered(id="e1", action="accept", content={"sure": True}),
        turn,
        "call:files__delete:1",
    )
    log.outcome("call:files__delete:3", returned("gone"))
    log.outcome("call:files__delete:1", returned("gone"))
    log.outcome("call:calc__add:1", returned("2"))
    log.play()
    log.post("More?")
    log.outcome("ask:ada:1", wants(RISK))
    log.outcome("ask:bob:1", wants(RISK, ADD))
    log.outcome("call:calc__add:1", returned("2"))
    log.give(ApprovalGranted(), "t2", "call:files__delete:1")
    log.give(asked, "t2", "call:files__delete:1")
    log.cancel("t2", "never mind")
    log.post("Then not.")
    log.outcome("ask:ada:1", wants(RISK))
    log.give(ApprovalGranted(), "t3", "call:files__delete:1")
    log.give(TimerFired(), "t3", "deadline")
    return log
