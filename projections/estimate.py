"""What a message would cost, before it is sent.

The turn is run through twice with answers that are made up (see `projections.dry_run`):

- **likely**: an answer has as many tokens as the median of the model's past answers for the same
  purpose, or `USUAL_ANSWER` where there is none, and no more than `max_tokens`; of what is sent,
  four characters are a token, and an image is `trimming.IMAGE` of them. A conversation that is too
  long for the model is trimmed as it would be;
- **most**: an answer has as many tokens as `max_tokens`, or else the model's context, allows. What
  is sent, whole, has at most a token a byte, `PER_MESSAGE` around each message and `PER_IMAGE` for
  each image, as under a budget; an answer within the turn is taken to be as long for its readers as
  for its writer. None where nothing bounds it.

Nobody fails in it: what is tried again, asked again or answered by a fallback comes on top.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from pydantic import Field

from actors.routing import context, spending, trimming
from events.config import Budget, Pattern, SessionConfig
from events.envelope import Event
from events.ledger import Ledger
from events.prices import Prices
from events.types import ModelAsked
from events.values import Message, Usage, Value
from projections.calls import Past
from projections.dry_run import DryRun, Question
from projections.money import Money, total

USUAL_ANSWER = 500
"""Tokens of an answer of a model that has not answered yet."""
USUAL_SECONDS = 10.0
"""Seconds of such an answer, which count where the price is by the hour."""
CHARACTERS = 4
"""Characters of a token, about."""

RULES: Mapping[Pattern, str] = {
    "broadcast": "everyone answers once",
    "coordinator": "the coordinator plans, those it names answer (likely all others, at most itself"
    " too), and it joins the answers",
    "round_robin": "the next in order answers; with 'rounds', everyone so often",
    "voting": "everyone proposes, and everyone votes",
    "script": "a script decides itself: everyone once is taken to be likely, nothing is a bound",
}
"""Who is taken to be asked."""


class Range(Value):
    """A number as it is likely, and its upper bound, None where there is none."""

    likely: int
    most: int | None


class CostRange(Value):
    """US dollars as they are likely, and the upper bound, None where there is none."""

    likely: Money
    most: Money | None


class BudgetLeft(Value):
    """What a budget leaves: its limit without what is spent and held for calls under way."""

    limit: Money
    spent: Money
    held: Money
    left: Money

    @classmethod
    def of(cls, limit: Decimal, spent: Decimal, held: Decimal) -> BudgetLeft:
        """What is left of `limit`; never less than nothing."""
        left = max(Decimal(0), limit - spent - held)
        return cls(limit=limit, spent=spent, held=held, left=left)


class _Sums(Value):
    calls: Range
    input_tokens: Range
    output_tokens: Range


class ParticipantEstimate(_Sums):
    """What one participant would be asked, and say. `cost` is None where no price is known."""

    participant: str
    provider: str
    model: str
    observations: int = Field(description="past answers that the likely length is the median of")
    prices: str | None = Field(description="the price table")
    cost: CostRange | None
    budget: BudgetLeft | None


class Estimate(_Sums):
    """What a message would cost. `cost` is without those participants who are `unpriced`."""

    pattern: Pattern
    rule: str = Field(description="who is taken to be asked under this pattern")
    position: int = Field(description="of the session's last event; 0 for one that is none yet")
    participants: tuple[ParticipantEstimate, ...] = Field(description="those who may be asked")
    cost: CostRange
    unpriced: tuple[str, ...]
    budget: BudgetLeft | None
    account: BudgetLeft | None = Field(
        default=None, description="of whoever asks, for today (UTC), where there is a daily budget"
    )


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a participant's model; `past` are its answers by purpose."""

    prices: Prices | None = None
    structured_output: bool = False
    images: bool = True
    context_length: int | None = None
    max_tokens: bool = True
    past: Mapping[str, Past] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Call:
    """One call in tokens and US dollars."""

    participant: str
    sent: int | None
    answer: int | None
    cost: Decimal | None


def estimate(
    begin: SessionConfig | Sequence[Event],
    message: Message,
    known: Mapping[str, Known],
    load: context.Load,
) -> Estimate:
    """What `message` would cost in the session that has these events, or that begins so.

    `known` is by participant. Where a turn is open, the message would wait for its end: what is
    still said until then is not counted. Raises `Refused` for a session that is closed.
    """
    able = {
        id: {"structured_output": one.structured_output, "images": one.images}
        for id, one in known.items()
    }
    facts = {id: able[id] | {"context_length": one.context_length} for id, one in known.items()}

    def usual(asked: ModelAsked) -> int:
        return CHARACTERS * _usual(asked, known[asked.participant])

    def longest(asked: ModelAsked) -> int | None:
        return _longest(asked, known[asked.participant])

    likely = DryRun(begin, message, load, length=usual, facts=facts)
    most = DryRun(begin, message, load, length=longest, facts=able, everyone=True)
    config, ledger = likely.config, likely.session.ledger
    bounded = config.routing_pattern != "script"
    expected = [_expected(one, known[one.asked.participant]) for one in likely.questions]
    bounds = [_bound(one, known[one.asked.participant], config.deadline) for one in most.questions]
    participants = []
    for one in config.models:
        its = [call for call in expected if call.participant == one.id]
        other = [call for call in bounds if call.participant == one.id]
        if not other:
            continue
        prices = known[one.id].prices
        purposes = {q.asked.purpose for q in likely.questions if q.asked.participant == one.id}
        past = known[one.id].past
        participants.append(
            ParticipantEstimate(
                participant=one.id,
                provider=one.provider,
                model=one.model_name,
                observations=sum(past[name].observations for name in purposes if name in past),
                prices=None if prices is None else prices.table,
                cost=None if prices is None else _cost(its, other, bounded),
                budget=_left(one.budget, ledger, one.id),
                **_sums(its, other, bounded),
            )
        )
    unpriced = tuple(one.participant for one in participants if one.prices is None)
    return Estimate(
        pattern=config.routing_pattern,
        rule=RULES[config.routing_pattern],
        position=0 if isinstance(begin, SessionConfig) else begin[-1].position,
        participants=tuple(participants),
        cost=_cost(
            [call for call in expected if call.participant not in unpriced],
            [call for call in bounds if call.participant not in unpriced],
            bounded,
        ),
        unpriced=unpriced,
        budget=_left(config.budget, ledger, None),
        account=None,
        **_sums(expected, bounds, bounded),
    )


def _left(budget: Budget | None, ledger: Ledger, purse: str | None) -> BudgetLeft | None:
    if budget is None:
        return None
    return BudgetLeft.of(budget.limit, ledger.spent(purse), ledger.held(purse))


def _usual(asked: ModelAsked, known: Known) -> int:
    """Tokens of a likely answer."""
    past = known.past.get(asked.purpose)
    tokens = USUAL_ANSWER if past is None else past.tokens
    return min(tokens, asked.parameters.max_tokens or tokens)


def _longest(asked: ModelAsked, known: Known) -> int | None:
    """Tokens of the longest possible answer."""
    facts = {"context_length": known.context_length, "max_tokens": known.max_tokens}
    return spending.longest(facts, asked.parameters.max_tokens) or None


def _expected(question: Question, known: Known) -> _Call:
    sent = -(-question.characters // CHARACTERS) + trimming.IMAGE * question.images
    answer = _usual(question.asked, known)
    past = known.past.get(question.asked.purpose)
    seconds = USUAL_SECONDS if past is None else past.seconds
    cost = None
    if known.prices is not None:
        cost = known.prices.cost(Usage(input=sent, output=answer), seconds).amount
    return _Call(question.asked.participant, sent, answer, cost)


def _bound(question: Question, known: Known, deadline: float) -> _Call:
    sent, answer = question.tokens, _longest(question.asked, known)
    cost = None
    if known.prices is not None and sent is not None and answer is not None:
        cost = known.prices.most(sent, answer, deadline)
    return _Call(question.asked.participant, sent, answer, cost)


def _sums(likely: Sequence[_Call], most: Sequence[_Call], bounded: bool) -> dict[str, Range]:
    def tokens(of: Callable[[_Call], int | None]) -> Range:
        return Range(
            likely=sum(of(call) or 0 for call in likely),
            most=_whole(map(of, most)) if bounded else None,
        )

    return {
        "calls": Range(likely=len(likely), most=len(most) if bounded else None),
        "input_tokens": tokens(lambda call: call.sent),
        "output_tokens": tokens(lambda call: call.answer),
    }


def _cost(likely: Sequence[_Call], most: Sequence[_Call], bounded: bool) -> CostRange:
    bounds = [call.cost for call in most]
    known = [cost for cost in bounds if cost is not None]
    return CostRange(
        likely=total(call.cost or Decimal(0) for call in likely),
        most=total(known) if bounded and len(known) == len(bounds) else None,
    )


def _whole(values: Iterable[int | None]) -> int | None:
    """The sum, None where a part of it has no bound."""
    given = list(values)
    known = [value for value in given if value is not None]
    return sum(known) if len(known) == len(given) else None
