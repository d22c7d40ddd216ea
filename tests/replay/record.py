"""Writes the recorded sessions of this folder anew: `python -m tests.replay.record [NAME ...]`.

Not part of any test run. A session that is here replays for ever: where a change of the routers
makes it diverge, the change is a new version beside the old one, and new sessions are added here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from actors.routing import trimming
from actors.scripts import collect, load
from events.blobs import MemoryBlobs
from events.turns import DEADLINE
from events.types import (
    BudgetRefused,
    BudgetReserved,
    ModelAsked,
    ModelDiscarded,
    ModelReasked,
    TimerFired,
)
from events.values import SPILL, Attachment, Blob, Cost, Value
from tests.recorded import dumps
from tests.session_logs import (
    Outcome,
    SessionLog,
    answered,
    failed,
    reservation,
    session_config,
)

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


def fallbacks() -> SessionLog:
    """A fallback that answers, one that fails too, a race that one wins, and a pause between."""
    config = session_config(pattern="coordinator")
    spare = [{"provider": "spare", "model_name": name} for name in ("one", "two")]
    models = [one.model_dump(mode="json") | {"fallbacks": spare} for one in config.models[:2]]
    models.append(config.models[2].model_dump(mode="json"))
    log = SessionLog(session_config(pattern="coordinator", models=models))
    log.post("Design it.")
    log.outcome("ask:ada:1", failed())
    log.outcome("ask:ada:2", answered('{"participants": ["bob", "cyd"], "reason": "both"}'))
    log.pause()
    log.outcome("ask:bob:1", failed("the first is down"))
    log.resume()
    log.outcome("ask:bob:2", failed("the second is down"))
    log.outcome("ask:cyd:1", failed())
    log.play()
    log.post("Is anybody there?")
    log.play(lambda key, asked: failed())
    log.retry("t1", "bob")
    log.play()
    return log


def budgets() -> SessionLog:
    """A participant's budget, the session's, both warned of, and calls that neither allows."""
    rates = {"input": "1000", "output": "1000"}
    prices = {"table": "list-1", "rates": rates}
    three = session_config().models
    models = [one.model_dump(mode="json") | {"max_tokens": 200} for one in three]
    models[2]["budget"] = {"limit": "0.60", "warn_at": ["0.4"]}
    log = SessionLog(
        session_config(models=models, budget={"limit": "3", "warn_at": ["0.2", "0.5"]}),
        facts={one["id"]: {"prices": prices, "context_length": 8000} for one in models},
    )
    for text in ("one", "two", "three"):
        log.post(text)
        if text == "two":
            log.outcome("ask:bob:1", ModelReasked(attempt=2, reason="nothing was heard"))
            log.outcome("ask:bob:1", answered("at last", cost="0.30", attempt=2))
            paid = Cost(amount=Decimal("0.25"), prices="list-1")
            late = ModelDiscarded(attempt=1, reason="duplicate", cost=paid)
            log.give(late, "t2", "ask:bob:1")
        log.play(lambda key, asked: answered(f"{key} says so", cost="0.26"))
    log.reconfigure(budget="10")
    log.post("four")
    log.play()
    return log


def account() -> SessionLog:
    """A principal's account: what it has, what it has not, in a pause, in a race that is over."""
    prices = {"table": "list-1", "rates": {"input": "1000", "output": "1000"}}
    models = [one.model_dump(mode="json") | {"max_tokens": 200} for one in session_config().models]
    models[1]["fallbacks"] = [{"provider": "own", "model_name": "free"}]
    known = {"prices": prices, "context_length": 8000}
    facts = {one["id"]: known for one in models}
    facts["bob"] = known | {"fallbacks": [{"prices": {"table": "own machine"}}]}
    stream = "account:user:ada:2026-03-01"
    facts["@account"] = {"stream": stream, "limit": "5", "warn_at": ["0.8"]}
    log = SessionLog(session_config(models=models), facts=facts)
    log.post("one")
    log.play()
    log.post("two")
    turn = log.machine.session.open
    assert turn is not None
    log.outcome("ask:cyd:1", reservation(BudgetRefused, turn, "ask:cyd:1"))
    log.pause()
    log.outcome("ask:bob:1", reservation(BudgetReserved, turn, "ask:bob:1"))
    log.resume()
    log.outcome("ask:bob:1", failed())
    log.cancel("t2")
    log.post("three")
    log.play()
    return log


def trimmed() -> SessionLog:
    """A conversation that outgrows two of three models, one with a window, and a retry of that."""
    models = [one.model_dump(mode="json") for one in session_config().models]
    models[0] |= {"max_tokens": 100}
    models[1] |= {"window": 4}
    facts: dict[str, Any] = {
        "ada": {"context_length": 700},
        "bob": {"context_length": 400},
        "cyd": {"context_length": None},
    }
    log = SessionLog(session_config(models=models), facts=facts)
    for text in ("one", "two", "three"):
        log.post(f"{text}: {'word ' * 60}")
        log.play(lambda key, asked: answered(f"{asked.participant} says {'so ' * 60}"))
    log.retry("t2", "ada")
    log.play()
    log.post("A last one that is too long for bob by itself. " * 40)
    log.play()
    return log


def attachments() -> SessionLog:
    """Images and texts: in a queued message, a retry, beyond a window, and trimmed for one."""
    models = [one.model_dump(mode="json") for one in session_config().models]
    models[1] |= {"window": 3, "history": "isolated"}
    lengths = {"ada": 2 * trimming.IMAGE}
    facts = {one["id"]: {"context_length": lengths.get(one["id"])} for one in models}
    log = SessionLog(session_config(models=models), facts=facts)

    def file(name: str, content: str, media_type: str) -> Attachment:
        blob = log.blobs.put(content.encode(), media_type)
        return Attachment(**dict(blob), name=name)

    picture = file("ein Bild.png", "not much of a picture", "image/png")
    log.post("What is this?", (picture, file("Notizen.md", "# Grüße\n", "text/markdown")))
    log.post("And these?", (picture, file("b.gif", "GIF89a", "image/gif")))
    log.play()
    log.post("Is it long?", (file("long.txt", "word " * 2000, "text/plain"),))
    log.play()
    log.retry("t1", "cyd")
    log.play()
    log.post("So?")
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
