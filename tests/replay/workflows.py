"""Recorded sessions of workflows: runs whose calls come from outside."""

from __future__ import annotations

from events.chat import WireMessage, written
from events.runs import RunAsked, RunCalled, RunCompleted, RunFailed, RunMatched, RunRestarted
from events.tools import ApprovalGranted
from events.values import Parameters
from tests.session_logs import SessionLog, answered, failed, session_config
from tests.tool_calls import ADD, RISK, offered, returned

RUN = "run:langchain:1"


def workflow() -> SessionLog:
    """Runs that ask and call, begin again, get what they got, fail, wait, and are called off."""
    models = [one.model_dump(mode="json") for one in session_config().models]
    models[1] |= {"fallbacks": [{"provider": "spare", "model_name": "one"}], "max_tokens": 300}
    config = session_config(
        pattern="workflow",
        models=models,
        workflow={"framework": "langchain", "config": {"chain_type": "sequential"}},
    )
    log = SessionLog(config)
    log.use_facts({"@workflow": {"tools": offered(log.blobs)}, "ada": {}, "bob": {}, "cyd": {}})
    given = log.blobs.put(written([WireMessage(role="user", content="Why?")]), "application/json")
    tools = log.blobs.put(b'[{"name":"own","parameters":{}}]', "application/json")

    def asks(turn: str, step: str, attempt: int = 1, digest: str = "a" * 64) -> None:
        data = RunAsked(
            attempt=attempt,
            participant=step.split(":")[1],
            given=given,
            tools=tools if step.endswith(":2") else None,
            parameters=Parameters(temperature=0.2, extra={"n": 1}),
            digest=digest,
        )
        log.give(data, turn, step)

    def calls(turn: str, step: str, attempt: int = 1) -> None:
        name = step.split(":")[1]
        called = RunCalled(attempt=attempt, name=name, arguments="{}", digest="b" * 64)
        log.give(called, turn, step)

    log.post('{"topic": "tea"}')
    for step in ("ask:ada:1", "ask:ada:2", "ask:bob:1"):
        asks("t1", step)
    calls("t1", f"call:{ADD}:1")
    log.outcome("ask:ada:2", answered("The second was faster."))
    log.outcome("ask:bob:1", failed())
    log.give(RunRestarted(attempt=2, reason="nothing was heard of the run"), "t1", RUN)
    for step in ("ask:ada:1", "ask:ada:2"):
        log.give(RunMatched(attempt=2, digest="a" * 64), "t1", step)
    log.outcome("ask:bob:2", answered("Instead."))
    log.outcome(f"call:{ADD}:1", returned("4"))
    log.pause()
    log.outcome("ask:ada:1", answered("Late."))
    log.resume()
    asks("t1", "ask:cyd:1", 2, "c" * 64)
    log.outcome("ask:cyd:1", answered("New."))
    done = RunCompleted(attempt=2, output="Tea.", result='{"output":"Tea."}', duration_ms=80.5)
    log.give(done, "t1", RUN)
    log.post("coffee")
    calls("t2", f"call:{RISK}:1")
    log.give(ApprovalGranted(), "t2", f"call:{RISK}:1")
    log.outcome(f"call:{RISK}:1", returned("gone"))
    calls("t2", "call:no_such__tool:1")
    broken = RunFailed(attempt=1, error="WorkflowFailed", message="no agent", retryable=False)
    log.give(broken, "t2", RUN)
    log.post("water")
    asks("t3", "ask:ada:1")
    calls("t3", f"call:{RISK}:1")
    log.cancel("t3", "never mind")
    return log
