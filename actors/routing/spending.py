"""Budgets within a session: what a call can cost at most, and whether it may be made.

All of it follows from the log: prices and limits are facts of the turn, what was spent is folded
from outcomes, so a replay refuses and warns where the live turn did.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Literal

import orjson

from actors.routing import context
from events.config import Budget, SessionConfig
from events.ledger import Ledger
from events.prices import Prices
from events.session import Session
from events.turns import Turn, shown_size, text_size
from events.types import BudgetOverrun, BudgetWarned, ModelAsked

PER_MESSAGE = 64
"""Tokens that a message may take besides its text: its role, and what the model sets around it."""

PER_IMAGE = 50_000
"""Tokens that an image may take: the most that any known model counts, which gpt-4o-mini does."""

Scope = Literal["session", "participant"]


def most(
    session: Session, turn: Turn, asked: ModelAsked, facts: Mapping[str, Any], account: bool
) -> Decimal | None:
    """What the call can cost at most; None where no budget (nor `account`) wants to know it.

    No tokenizer makes more tokens of a text than it has bytes; for images see `PER_IMAGE`. `facts`
    are those of the model that is asked: its prices, and its context length, which bounds the
    answer where nothing else does.
    """
    wanted = account or limited(turn.config, asked.participant)
    if not wanted or facts.get("prices") is None:
        return None
    prices = Prices.model_validate(facts["prices"])
    assert turn.config
    size = sum(
        PER_MESSAGE
        + len(part.label.encode())
        + text_size(part.content)
        + shown_size(part.attachments)
        + PER_IMAGE * sum(one.is_image for one in part.attachments)
        for part in context.parts(session, turn, asked)
    )
    if asked.parameters.schema_ is not None:
        size += len(orjson.dumps(asked.parameters.schema_))
    length = asked.parameters.max_tokens or facts.get("context_length") or 0
    return prices.most(size, length, turn.config.deadline)


def limited(config: SessionConfig | None, participant: str) -> bool:
    """Whether a budget of the session's covers what the participant spends."""
    return any(True for _ in _budgets(config, participant))


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
