"""Writes the recorded sessions of this folder anew: `python -m tests.replay.record [NAME ...]`.

Not part of any test run. A session that is here replays for ever: where a change of the routers
makes it diverge, the change is a new version beside the old one, and new sessions are added here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from actors.scripts import collect, load
from events.blobs import MemoryBlobs
from events.tools import ApprovalDenied, ApprovalGranted
from events.turns import DEADLINE
from events.types import (
    ModelAsked,
    ModelDiscarded,
    ModelReasked,
    TimerFired,
)
from events.values import SPILL, Blob, Value
from tests.recorded import dumps
from tests.replay.fourth import refused, spared
from tests.replay.second import account, attachments, blind, budgets, fallbacks, trimmed
from tests.replay.third import approvals, forced, tools
from tests.replay.workflows import workflow
from tests.session_logs import (
    Outcome,
    SessionLog,
    answered,
    failed,
    session_config,
)
from tests.tool_calls import ADD, RISK, offered, returned, wants

FOLDER = Path(__file__).parent / "sessions"
SCRIPTS = Path(__file__).parent / "scripts"
EXAMPLES = Path(__file__).parents[2] / "examples" / "scripts"


def broadcast() -> SessionLog:
    """Three at once: in any order, with one failing, with long texts, and all failing."""
    log = SessionLog(session_config())
    log.post("Which database?")
    for name in ("cyd", "ada", "bob"):
        log.outcome(f"ask:{name}:1", answered(f"{name} says PostgreSQL", cost="0.0012"))
    log.post("Why?")
    log.outcome("ask:bob:1", failed("the key of acme is missing", error="AuthenticationFailed"))
    log.play()
    log.post(log.blobs.put("Grüße 😀 ".encode() * (SPILL // 8)))
    log.outcome("ask:ada:1", answered(log.blobs.put(b"long " * (SPILL // 4))))
    log.play()
    log.post("Is anybody there?")
    log.play(lambda key, asked: failed())
    return log


def coordinator() -> SessionLog:
    """A plan, a plan in a sentence, nonsense, a failing coordinator, and one answer only."""
    log = SessionLog(session_config(pattern="coordinator"))
    log.post("Design it.")
    log.play()
    plans = (
        answered('I think:\n```json\n{"participants": ["CYD\'S ROLE"], "reason": "he knows"}\n```'),
        answered("Everybody, please!"),
        answered('{"participants": ["nobody"], "reason": "none"}'),
        failed(),
    )
    for plan in plans:
        log.post("And now?")
        log.outcome("ask:ada:1", plan)
        log.play()
    log.post("Once more.")
    log.outcome("ask:ada:1", answered('{"participants": ["bob", "cyd", "ada"], "reason": "all"}'))
    log.outcome("ask:bob:1", failed())
    log.outcome("ask:cyd:1", failed())
    log.play()
    return log


def round_robin() -> SessionLog:
    """One speaker a message; a speaker that fails; nobody; an order that changes."""
    log = SessionLog(session_config(pattern="round_robin"))
    for text in ("one", "two", "three", "four"):
        log.post(text)
        log.play()
    log.post("five")
    log.outcome("ask:bob:1", failed())
    log.play()
    log.post("six")
    log.play(lambda key, asked: failed())
    log.reconfigure(models=[model.model_dump(mode="json") for model in log.config.models[::-1]])
    log.post("seven")
    log.play()
    return log


def debate() -> SessionLog:
    """Two rounds in a narrow window, with a failure, and a third that the step limit stops."""
    log = SessionLog(session_config(pattern="round_robin", rounds=2, window=3, max_steps=9))
    log.post("Tabs or spaces?")
    log.play()
    log.post("Are you sure?")
    log.outcome("ask:ada:1", failed())
    log.play()
    log.reconfigure(rounds=4)
    log.post("Really?")
    log.play()
    return log


def voting() -> SessionLog:
    """A winner, a tie, ballots of every bad kind, one candidate, and none."""
    log = SessionLog(session_config(pattern="voting"))
    for votes in (("bob", "cyd", "bob"), ("bob", "cyd", "ada")):
        log.post("Name it.")
        for name in ("ada", "bob", "cyd"):
            log.outcome(f"ask:{name}:1", answered(f"{name}'s name"))
        for name, vote in zip(("ada", "bob", "cyd"), votes, strict=True):
            ballot = f'{{"choice": "{vote}", "reason": "it is short"}}'
            log.outcome(f"ask:{name}:2", answered(ballot))
    log.post("Again.")
    for name in ("ada", "bob", "cyd"):
        log.outcome(f"ask:{name}:1", answered(f"{name}'s other name"))
    log.outcome("ask:bob:2", answered('{"choice": "bob", "reason": "me"}'))
    log.outcome("ask:ada:2", answered("bob, of course"))
    log.outcome("ask:cyd:2", failed())
    log.post("And again.")
    log.play(lambda key, asked: answered("mine") if asked.participant == "bob" else failed())
    log.post("And again.")
    log.play(lambda key, asked: failed())
    return log


def paused() -> SessionLog:
    """Pauses with outcomes held back, a queue, and a configuration that changes meanwhile."""
    log = SessionLog(session_config(pattern="coordinator", deadline=90.0))
    log.post("one")
    log.post("two")
    log.pause()
    log.outcome("ask:ada:1", answered('{"participants": ["bob", "cyd"], "reason": "both"}'))
    log.post("three")
    log.reconfigure(routing_pattern="broadcast", history="isolated")
    log.resume()
    log.outcome("ask:cyd:1", answered("c"))
    log.pause()
    log.outcome("ask:bob:1", answered("b"))
    log.resume()
    log.play()
    log.pause()
    log.post("four")
    log.resume()
    log.play()
    return log


def cancelled() -> SessionLog:
    """Turns called off open, queued and in a pause; a deadline; what came too late."""
    log = SessionLog(session_config(deadline=30.0))
    log.post("one")
    log.post("two")
    log.post("three")
    log.outcome("ask:bob:1", answered("b"))
    log.outcome("ask:ada:1", ModelReasked(attempt=2, reason="nothing was heard of the call"))
    log.cancel("t2")
    log.cancel("t1", "changed my mind")
    late = ModelDiscarded(attempt=1, reason="cancelled", partial="half an ans", usage=None)
    log.give(late, "t1", "ask:cyd:1")
    log.play()
    log.post("four")
    log.pause()
    log.outcome("ask:cyd:1", answered("c"))
    log.cancel("t4")
    log.resume()
    log.post("five")
    log.outcome("ask:ada:1", answered("a"))
    log.give(TimerFired(), "t5", DEADLINE)
    log.post("six")
    log.post("seven")
    log.close()
    return log


def retried() -> SessionLog:
    """An answer asked for again, and again; one that had failed; one that fails again."""
    log = SessionLog(session_config(window=6))
    log.post("one")
    log.outcome("ask:cyd:1", failed())
    log.play()
    log.post("two")
    log.play()
    again = log.retry("t1", "ada")
    log.play()
    log.retry(again, "ada")
    log.play(lambda key, asked: answered("better"))
    log.retry("t1", "cyd")
    log.play(lambda key, asked: failed())
    log.retry("t1", "cyd")
    log.play(lambda key, asked: answered("at last"))
    log.post("three")
    log.play()
    return log


def _scripted(folder: Path, entry: str) -> SessionLog:
    blobs = MemoryBlobs()
    source = blobs.put(collect(folder, entry), "application/json")
    return SessionLog(
        session_config(pattern="script", script=entry, participants=("ada", "bob", "cyd", "dan")),
        blobs=blobs,
        script=source,
        scripts=lambda blob, name: load(blobs.get(blob), name),
    )


def critic() -> SessionLog:
    """The example script: content at once, content later, never content, failures."""
    log = _scripted(EXAMPLES, "critic:route")
    for verdicts in (("GOOD",), ("shorter", "good."), ("no", "no", "no"), ("",)):
        log.post("Write.")
        log.play(partial(_criticised, iter(verdicts)))
    return log


def _criticised(verdicts: Iterator[str], key: str, asked: ModelAsked) -> Outcome:
    if asked.purpose != "criticism":
        return answered(f"draft of {key}")
    verdict = next(verdicts)
    return answered(verdict) if verdict else failed()


def lottery() -> SessionLog:
    """A script with chance, timers, races within races, and a module of its own."""
    log = _scripted(SCRIPTS, "lottery:route")
    log.post("one")
    log.play()
    log.post("two")
    log.play_step("draw:lot:1")
    log.give(TimerFired(), "t2", "timer:patience:1")
    log.play()
    log.post("three")
    log.play_step("draw:lot:1")
    first, second = (key for key in log.waiting if key.startswith("ask:"))
    log.outcome(first, failed())
    log.pause()
    log.outcome(second, answered("in time"))
    log.give(TimerFired(), "t3", "timer:patience:1")
    log.resume()
    log.play()
    return log


def errand() -> SessionLog:
    """A script that calls tools itself, waits for a person, and has participants race."""
    log = _scripted(SCRIPTS, "errand:route")
    known = {"tools": offered(log.blobs)}
    log.use_facts(dict.fromkeys(("ada", "bob"), known))
    for denied in (True, False):
        log.post("Run!")
        turn = "t1" if denied else "t2"
        log.outcome("call:calc__add:1", returned("3.5"))
        log.give(ApprovalDenied() if denied else ApprovalGranted(), turn, "call:files__delete:1")
        if not denied:
            log.outcome("call:files__delete:1", returned("gone", structured="{}"))
        log.outcome("ask:ada:1", wants(ADD, RISK))
        log.outcome("ask:bob:1", answered("I am quick."))
        log.play()
    return log


RECORDED: tuple[Callable[[], SessionLog], ...] = (
    broadcast,
    coordinator,
    round_robin,
    debate,
    voting,
    paused,
    cancelled,
    retried,
    critic,
    lottery,
    fallbacks,
    budgets,
    account,
    trimmed,
    attachments,
    blind,
    tools,
    approvals,
    forced,
    errand,
    workflow,
    refused,
    spared,
)


def lines(session: Callable[[], SessionLog]) -> bytes:
    """A session as its file holds it."""
    log = session()
    return dumps(session.__doc__ or "", log.events, _contents(log))


def _contents(log: SessionLog) -> dict[str, bytes]:
    """The blobs that the log names."""
    blobs = {blob for event in log.events for blob in _named(event.data)}
    return {blob.sha256: log.blobs.get(blob) for blob in blobs}


def _named(value: object) -> Iterator[Blob]:
    if isinstance(value, Blob):
        yield value
    elif isinstance(value, Value):
        for _, part in value:
            yield from _named(part)
    elif isinstance(value, tuple):
        for part in value:
            yield from _named(part)


def main(names: list[str]) -> None:
    """Write the sessions of those names, or all."""
    FOLDER.mkdir(exist_ok=True)
    for session in RECORDED:
        if not names or session.__name__ in names:
            (FOLDER / f"{session.__name__}.jsonl").write_bytes(lines(session))


if __name__ == "__main__":
    main(sys.argv[1:])
