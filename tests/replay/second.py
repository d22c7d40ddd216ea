"""Recorded sessions of later versions of engine and context: money, fallbacks, trimming, images."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from actors.routing import trimming
from events.types import (
    BudgetRefused,
    BudgetReserved,
    ModelDiscarded,
    ModelReasked,
)
from events.values import Attachment, Cost
from tests.session_logs import (
    SessionLog,
    answered,
    failed,
    reservation,
    session_config,
)


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


def blind() -> SessionLog:
    """Images for models that take them, take none, and may; a fallback that sees, one that not."""
    models = [one.model_dump(mode="json") for one in session_config().models]
    models[0] |= {"fallbacks": [{"provider": "spare", "model_name": "sees"}]}
    models[1] |= {"fallbacks": [{"provider": "spare", "model_name": "sees not"}], "window": 4}
    sees: dict[str, Any] = {"images": True}
    none: dict[str, Any] = {"images": False, "context_length": 2 * trimming.IMAGE}
    facts = {
        "ada": none | {"fallbacks": [sees]},
        "bob": none | {"fallbacks": [none]},
        "cyd": {"context_length": None},
    }
    log = SessionLog(session_config(models=models), facts=facts)
    blob = log.blobs.put(b"not much of a picture", "image/png")
    picture = Attachment(**dict(blob), name="ein Bild.png")
    log.post("What is this?", (picture, picture))
    log.outcome("ask:ada:1", failed("the model takes no pictures", error="ProviderError"))
    log.outcome("ask:bob:1", failed())
    log.play()
    log.post("And this?", (picture,))
    log.play()
    log.retry("t1", "bob")
    log.play()
    log.post("So?")
    log.play()
    return log
