"""Logs of sessions in which everything happens that a room lets happen, in any order."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from random import Random

from events.tools import (
    ApprovalDenied,
    ApprovalGranted,
    ElicitationAnswered,
    ElicitationRequested,
)
from events.turns import Step
from events.types import Input, ModelAsked, ModelDiscarded, ModelReasked
from events.values import Cost, Usage
from tests.session_logs import Outcome, SessionLog, answered, failed, polite, session_config
from tests.tool_calls import ADD, FIND, RISK, facts, wants


def eventful_log(id: str, random: Random, actions: int = 40) -> SessionLog:
    """A session in which everything happens that a room lets happen, in any order."""
    pattern = random.choice(["broadcast", "coordinator", "round_robin", "voting"])
    names = ["ada", "bob", "cyd"][: random.randint(2, 3)]
    tags = random.sample(["red", "green", "blue"], random.randint(0, 3))
    log = SessionLog(session_config(id, pattern, names, tags=tags))
    able = facts(log.blobs, random.sample(names, random.randint(0, 2)))
    log.use_facts({name: {"structured_output": True} | able.get(name, {}) for name in names})
    for _ in range(actions):
        _act(log, random, names)
    return log


def _act(log: SessionLog, random: Random, names: Sequence[str]) -> None:
    """Do one thing that is possible now."""
    session = log.machine.session
    ended = [
        turn.id
        for turn in session.turns.values()
        if turn.status not in ("open", "queued") and turn.last_ask(names[0])
    ]
    asked = [key for key in log.waiting if key.startswith("ask:")]
    free = session.open is None and not session.queue and session.status == "active"
    match random.randrange(20):
        case 0 | 1 | 16 | 17 | 18 if len(session.queue) < session.config.queue:  # type: ignore[union-attr]
            log.post(f"message {random.random()}")
        case 2 | 19 if ended and free:
            log.retry(random.choice(ended), names[0])
        case 4 if session.queue or session.open:
            turns = [*session.queue, *([session.open.id] if session.open else [])]
            log.cancel(random.choice(turns), random.choice(["", "never mind"]))
        case 5 if session.status == "active":
            log.pause()
        case 3 | 5 | 10 | 11 | 12 if session.status == "paused":
            log.resume()
        case 6:
            models = [model.model_dump() for model in log.config.models]
            models[0]["role"] = random.choice(["judge", "jury", None])
            log.reconfigure(models=models, title=random.choice(["one", "two", None]))
        case 7:
            log.reconfigure(tags=random.sample(["red", "green", "blue"], random.randint(0, 3)))
        case 8 if asked:
            log.outcome(asked[0], ModelReasked(attempt=2, reason="nothing was heard"))
        case 9 if session.turns:
            _discard(log, random)
        case _ if log.waiting:
            _go_on(log, random, random.choice(log.waiting))
        case _:
            log.play(partial(_whatever, random), random)


def _discard(log: SessionLog, random: Random) -> None:
    turn = random.choice(list(log.machine.session.turns.values()))
    keys = [step.key for step in turn.steps.values() if step.asked and step.outcome]
    if keys:
        usage = Usage(input=random.randrange(100), cache_read=1, estimated=random.random() < 0.5)
        cost = Cost(amount=Decimal(random.randrange(1000)).scaleb(-6), prices="list-1")
        data = ModelDiscarded(attempt=9, reason="cancelled", usage=usage, cost=cost)
        log.give(data, turn.id, random.choice(keys))


def _go_on(log: SessionLog, random: Random, key: str) -> None:
    """Something of step `key`, which may be its outcome."""
    turn = log.machine.session.open
    assert turn is not None
    said = _of_call(random, turn.steps[key]) if key in turn.steps else None
    if said is None:
        log.play_step(key, partial(_whatever, random))
    else:
        log.give(said, turn.id, key)


def _of_call(random: Random, step: Step) -> Input | None:
    """What may happen to a call of a tool; None where the step is none."""
    if step.called is None and step.wanted is None:
        return None
    if step.questions and random.random() < 0.7:
        if id := step.questions[0]:
            return ElicitationAnswered(id=id, action="decline")
        return random.choice([ApprovalGranted(), ApprovalDenied(reason="not that")])
    if step.called is not None and random.random() < 0.5:
        id = f"e{len(step.elicited)}"
        return ElicitationRequested(attempt=1, id=id, message="Which?", form={"type": "object"})
    return None


def _whatever(random: Random, key: str, asked: ModelAsked) -> Outcome:
    """A good answer, a bad one, none, or a failure."""
    cost = random.choice([None, "0.1", "0.00007", "1E-9", "3"])
    if asked.tools is not None and asked.tool_choice is None and random.random() < 0.6:
        return wants(*random.choices([ADD, FIND, RISK, "calc__none"], k=random.randint(1, 3)))
    match random.randrange(6):
        case 0:
            return failed(partial=random.choice([None, "so"]), usage=Usage(input=3))
        case 1:
            return answered("", cost=cost)
        case 2:
            return answered(f"nonsense {random.random()}", cost=cost)
        case _:
            return polite(key, asked)
