"""Budgets within a session: what a call can cost at most, and whether it may be made.

All of it follows from the log: prices and limits are facts of the turn, what was spent is folded
from outcomes, so a replay refuses and warns where the live turn did.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Literal

import orjson

from actors.routing import context
from events.config import Budget, SessionConfig
from events.ledger import ZERO, Ledger
from events.prices import Prices
from events.session import Session
from events.turns import Turn
from events.types import BudgetOverrun, BudgetWarned, ModelAsked

PER_MESSAGE = 64
"""Tokens that a message may take besides its text: its role, and what the model sets around it."""

PER_TOOLS = 1000
"""Tokens that stand around the schemas of tools: instructions that some providers add to them."""

PER_IMAGE = 50_000
"""Tokens that an image may take: the most that any known model counts, which gpt-4o-mini does."""

HARMLESS = frozenset(
    {
        "chat_template_kwargs",
        "dynatemp_exponent",
        "dynatemp_range",
        "frequency_penalty",
        "keep_alive",
        "logit_bias",
        "metadata",
        "min_p",
        "mirostat",
        "mirostat_eta",
        "mirostat_tau",
        "num_ctx",
        "parallel_tool_calls",
        "presence_penalty",
        "reasoning_effort",
        "repeat_last_n",
        "repeat_penalty",
        "repetition_penalty",
        "stop",
        "temperature",
        "tfs_z",
        "think",
        "tool_choice",
        "top_k",
        "top_p",
        "typical_p",
        "user",
        "verbosity",
    }
)
"""What `extra` may hold under a budget: nothing of it lengthens, repeats or adds to a call."""

Scope = Literal["session", "participant"]


def unbounded(
    facts: Mapping[str, Any], max_tokens: int | None, extra: Mapping[str, Any]
) -> str | None:
    """Why nobody can say what a call can cost at most, and what to do; None where that is known.

    `facts` are those of the model that is asked: its prices, its context length, which bounds an
    answer where nothing else does, and whether its server is told `max_tokens`.
    """
    if facts.get("prices") is None:
        return "no price is known of its model: give it under 'prices' in the provider file"
    prices = Prices.model_validate(facts["prices"])
    priced = prices.most(1, 1, 0) > prices.request
    if priced and not longest(facts, max_tokens):
        return "nothing bounds its answer: set 'max_tokens', or 'context_length' of the provider"
    strange = sorted(extra.keys() - HARMLESS)
    if strange and prices.most(1, 1, 1):
        return f"'extra' holds {strange[0]!r}, which may change what a call costs: leave it out"
    return None


def longest(facts: Mapping[str, Any], max_tokens: int | None) -> int:
    """Tokens that the answer can have at most; 0 where nothing bounds it."""
    told = max_tokens if facts.get("max_tokens", True) else None
    return told or facts.get("context_length") or 0


def most(session: Session, turn: Turn, asked: ModelAsked, facts: Mapping[str, Any]) -> Decimal:
    """What the call can cost at most, where it is not `unbounded`."""
    prices = Prices.model_validate(facts["prices"])
    assert turn.config
    size = sent(context.parts(session, turn, asked), asked)
    length = longest(facts, asked.parameters.max_tokens)
    return prices.most(size, length, turn.config.deadline)


def sent(parts: Iterable[context.Part], asked: ModelAsked) -> int:
    """Tokens that the request can have at most, which shows these parts of the conversation.

    No tokenizer makes more tokens of a text than it has bytes; for images see `PER_IMAGE`.
    """
    size = sum(PER_MESSAGE + part.size + PER_IMAGE * len(part.images) for part in parts)
    if asked.tools is not None:
        size += PER_TOOLS + asked.tools.size
    if asked.parameters.schema_ is not None:
        size += len(orjson.dumps(asked.parameters.schema_))
    if asked.parameters.extra:
        size += len(orjson.dumps(asked.parameters.extra))
    return size


def limited(config: SessionConfig | None, participant: str) -> bool:
    """Whether a budget of the session's covers what the participant spends."""
    return any(True for _ in _budgets(config, participant))


def refusal(
    ledger: Ledger, config: SessionConfig | None, participant: str, why: str
) -> BudgetOverrun | None:
    """Why an unbounded call may not be made; None where no budget of the session covers it."""
    for scope, purse, budget in _budgets(config, participant):
        return BudgetOverrun(
            scope=scope,
            participant=participant,
            spent=ledger.spent(purse),
            held=ledger.held(purse),
            needed=ZERO,
            limit=budget.limit,
            unbounded=why,
        )
    return None


def overrun(
    ledger: Ledger, config: SessionConfig | None, participant: str, needed: Decimal
) -> BudgetOverrun | None:
    """Why a call that can cost so much may not be made; None where it may."""
    for scope, purse, budget in _budgets(config, participant):
        spent, held = ledger.spent(purse), ledger.held(purse)
        if spent + held + needed > budget.limit:
            return BudgetOverrun(
                scope=scope,
                participant=participant,
                spent=spent,
                held=held,
                needed=needed,
                limit=budget.limit,
            )
    return None


def explained(event: BudgetOverrun) -> str:
    """What the router, and whoever reads the log, is told of it."""
    whose = f"the {event.scope}'s budget"
    if event.unbounded is not None:
        return f"{whose} of ${event.limit} covers the call, but {event.unbounded}"
    under_way = f", calls under way can cost ${event.held}" if event.held else ""
    return (
        f"{whose} of ${event.limit} does not allow the call: ${event.spent} are spent{under_way},"
        f" and this one can cost ${event.needed}: raise the budget, or lower max_tokens"
    )


def warnings(
    ledger: Ledger, config: SessionConfig | None, participant: str
) -> Iterator[BudgetWarned]:
    """The shares of budgets that were reached and not warned of yet."""
    for _, purse, budget in _budgets(config, participant):
        for share in sorted(budget.warn_at):
            reached = ledger.spent(purse) >= share * budget.limit
            if reached and (purse, budget.limit, share) not in ledger.warned:
                yield BudgetWarned(
                    participant=purse,
                    share=share,
                    spent=ledger.spent(purse),
                    limit=budget.limit,
                )


def _budgets(
    config: SessionConfig | None, participant: str
) -> Iterator[tuple[Scope, str | None, Budget]]:
    if config is None:
        return
    if config.budget is not None:
        yield "session", None, config.budget
    one = config.participant(participant)
    if one is not None and one.budget is not None:
        yield "participant", participant, one.budget
