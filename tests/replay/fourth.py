"""Recorded sessions of version 4 of the engine: arguments that cannot fit, steps that are owed."""

from __future__ import annotations

from events.tools import ApprovalDenied, ApprovalGranted
from events.types import ModelAnswered
from events.values import ToolCall
from tests.session_logs import SessionLog, answered, failed, session_config
from tests.tool_calls import ADD, FIND, RISK, facts, offered, returned, wants

_SIZE = {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}]}
SCHEMA = {
    "type": "object",
    "properties": {
        "path": {"type": "string", "pattern": "^/"},
        "how": {"enum": ["gently", "at once"]},
        "sizes": {"type": "array", "items": {"$ref": "#/$defs/Size"}},
    },
    "required": ["path"],
    "additionalProperties": False,
    "$defs": {"Size": _SIZE},
}


def _calls(*arguments: str, name: str = RISK) -> ModelAnswered:
    calls = tuple(
        ToolCall(id=f"c{n}", name=name, arguments=text) for n, text in enumerate(arguments)
    )
    return answered("", tool_calls=calls, finish_reason="tool_calls")


def refused() -> SessionLog:
    """Arguments of every kind that cannot fit, for a tool with approval and for one without."""
    log = SessionLog(session_config(participants=["ada", "bob"]))
    tools = offered(log.blobs, approve=(RISK, FIND), schemas={RISK: SCHEMA, ADD: SCHEMA})
    log.use_facts({"ada": {"tools": tools}, "bob": {"tools": tools}})
    log.post("Tidy up.")
    wrong = (
        "{",
        "[]",
        "",
        '{"path": 1, "how": "rudely", "where": "here", "more": 1}',
        '{"path": "/a", "sizes": [1, null, -1, "x"]}',
    )
    log.outcome("ask:ada:1", _calls(*wrong))
    log.outcome("ask:bob:1", _calls("{}", name=ADD))
    log.outcome("call:calc__add:1", returned("nothing was added", is_error=True))
    log.outcome("ask:ada:2", _calls('{"path": "a"}', '{"path": "/a", "sizes": [1, null]}'))
    log.give(ApprovalDenied(), "t1", "call:files__delete:6")
    log.give(ApprovalGranted(), "t1", "call:files__delete:7")
    log.outcome("call:files__delete:7", returned("gone"))
    log.outcome("ask:ada:3", _calls('{"anything": 1}', name=FIND))
    log.give(ApprovalGranted(), "t1", "call:files__find:1")
    log.outcome("call:files__find:1", returned("found"))
    log.play()
    return log


def spared() -> SessionLog:
    """Fallbacks where the steps run short, beside another participant's calls, and without them."""
    spare = [{"provider": "spare", "model_name": f"m{number}"} for number in range(4)]
    two = session_config(participants=["ada", "bob"]).models
    models = [one.model_dump(mode="json") | {"fallbacks": spare} for one in two]
    log = SessionLog(session_config(models=models, max_steps=6))
    log.use_facts(facts(log.blobs, ["ada", "bob"]))
    log.post("Add up.")
    for number in (1, 2, 3):
        log.outcome(f"ask:ada:{number}", failed())
    log.outcome("ask:bob:1", wants(ADD))
    log.play()
    log.use_facts({})
    log.post("Is anybody there?")
    log.play(lambda key, asked: failed())
    return log
