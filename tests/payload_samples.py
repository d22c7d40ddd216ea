"""Payloads for the tests of the log: every type there is, with generated content."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from events.config import Fallback, Participant, SessionConfig
from events.grants import ToolGrant
from events.presets import PresetDeleted, PresetSaved
from events.runs import (
    RunAsked,
    RunCalled,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunMatched,
    RunRestarted,
    RunStarted,
)
from events.tools import (
    ApprovalDenied,
    ApprovalGranted,
    ApprovalRequested,
    ElicitationAnswered,
    ElicitationRequested,
    ToolCalled,
    ToolCancelled,
    ToolFailed,
    ToolRefused,
    ToolReturned,
    ToolUse,
)
from events.types import (
    BudgetOverrun,
    BudgetRefused,
    BudgetRequested,
    BudgetReserved,
    BudgetSettled,
    BudgetWarned,
    ChanceDrawn,
    ContextTrimmed,
    ModelAnswered,
    ModelAsked,
    ModelCancelled,
    ModelDiscarded,
    ModelFailed,
    ModelReasked,
    Payload,
    Retry,
    RouteDecided,
    SessionClosed,
    SessionCreated,
    SessionPaused,
    SessionReconfigured,
    SessionResumed,
    Tally,
    TimerFired,
    TimerSet,
    TurnCancelled,
    TurnCompleted,
    TurnFailed,
    TurnQueued,
    TurnStarted,
    VoteCast,
    VotesTallied,
)
from events.values import (
    Attachment,
    Blob,
    ContextRule,
    Cost,
    Message,
    Parameters,
    Semantics,
    ToolCall,
    Usage,
)

TEXT = st.text(max_size=40)
IDS = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
COUNTS = st.integers(0, 2**53 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
BLOBS = st.builds(Blob.of, st.binary(max_size=20))
TEXTS = TEXT | BLOBS
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | FLOATS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXT, JSON, max_size=4)


def maybe(strategy: SearchStrategy[Any]) -> SearchStrategy[Any]:
    return st.none() | strategy


USAGES = st.builds(Usage, input=COUNTS, cache_read=COUNTS, output=COUNTS, estimated=st.booleans())
AMOUNTS = st.decimals(min_value=0, max_value=10**6, places=9, allow_nan=False)
COSTS = st.builds(Cost, amount=AMOUNTS, prices=TEXT)
CONFIGS = st.builds(
    SessionConfig,
    session_id=IDS,
    models=st.builds(
        Participant,
        id=IDS,
        provider=IDS,
        model_name=IDS,
        system_prompt=maybe(TEXT),
        temperature=maybe(st.floats(0, 2)),
        seed=maybe(st.integers(-(2**70), 2**70)),
        stop_sequences=st.tuples(TEXT),
        fallbacks=st.tuples(st.builds(Fallback, provider=IDS, model_name=IDS)),
        extra=OBJECTS,
        tools=st.tuples(st.just(ToolGrant(server="files", tools=("ls",)))),
    ).map(lambda one: (one,)),
    deadline=st.floats(1, 86_400),
    title=maybe(TEXT),
)
ATTACHMENTS = st.builds(
    lambda blob, name: Attachment(**dict(blob), name=name),
    BLOBS,
    st.text("aé東 ./'\"[]", max_size=20),
)
MESSAGES = st.builds(
    Message, content=TEXTS, attachments=st.tuples(ATTACHMENTS), given=maybe(BLOBS),
    tools=maybe(BLOBS),
)  # fmt: skip
USES = st.builds(
    ToolUse, name=TEXT, arguments=TEXTS, participant=maybe(IDS), asked_in=maybe(TEXT), call_id=TEXT
)
PARAMETERS = st.builds(
    Parameters, temperature=maybe(FLOATS), stop=st.tuples(TEXT), schema=maybe(OBJECTS),
    extra=OBJECTS,
)  # fmt: skip

RESERVATION: dict[str, SearchStrategy[Any]] = {
    "account": TEXT,
    "session": IDS,
    "turn": IDS,
    "step": TEXT,
    "attempt": st.integers(1, 4),
    "amount": AMOUNTS,
    "limit": AMOUNTS,
    "spent": AMOUNTS,
    "held": AMOUNTS,
}

PAYLOAD_STRATEGIES: dict[type[Payload], SearchStrategy[Any]] = {
    SessionCreated: st.builds(SessionCreated, config=CONFIGS),
    SessionReconfigured: st.builds(SessionReconfigured, config=CONFIGS),
    SessionPaused: st.builds(SessionPaused),
    SessionResumed: st.builds(SessionResumed),
    SessionClosed: st.builds(SessionClosed),
    TurnQueued: st.builds(TurnQueued, message=MESSAGES),
    TurnStarted: st.builds(
        TurnStarted,
        message=maybe(MESSAGES),
        retry=maybe(st.builds(Retry, turn=IDS, participant=IDS)),
        facts=BLOBS,
        semantics=st.builds(Semantics, router=st.integers(1, 9), script=maybe(BLOBS)),
    ),
    TurnCompleted: st.builds(TurnCompleted, answer_from=maybe(TEXT), answer=maybe(TEXTS)),
    TurnFailed: st.builds(TurnFailed, reason=st.just("deadline"), message=TEXT),
    TurnCancelled: st.builds(TurnCancelled, reason=TEXT),
    TimerSet: st.builds(TimerSet, seconds=FLOATS),
    TimerFired: st.builds(TimerFired),
    ChanceDrawn: st.builds(ChanceDrawn, value=COUNTS),
    ModelAsked: st.builds(
        ModelAsked,
        participant=IDS,
        provider=TEXT,
        model=TEXT,
        purpose=TEXT,
        context=st.builds(ContextRule, upto=COUNTS, exclude=st.tuples(TEXT)),
        instruction=maybe(TEXTS),
        parameters=PARAMETERS,
        digest=st.just("ab" * 32),
        fallback=st.integers(0, 3),
        instead_of=maybe(TEXT),
        reserved=maybe(AMOUNTS),
        tools=maybe(BLOBS),
        tool_choice=maybe(st.sampled_from(["none", "required"])),
        continues=maybe(TEXT),
    ),
    ToolCalled: st.builds(ToolCalled, use=USES, server=st.just("files"), tool=TEXT),
    ToolRefused: st.builds(ToolRefused, use=USES, reason=TEXT),
    ToolCancelled: st.builds(ToolCancelled, reason=st.just("turn_ended")),
    ToolReturned: st.builds(
        ToolReturned,
        attempt=st.just(1),
        text=TEXTS,
        structured=maybe(TEXTS),
        attachments=st.tuples(ATTACHMENTS),
        is_error=st.booleans(),
        duration_ms=FLOATS,
        protocol=maybe(TEXT),
        notes=st.tuples(TEXT),
    ),
    ToolFailed: st.builds(
        ToolFailed, attempt=st.just(1), error=TEXT, message=TEXT, retryable=st.booleans()
    ),
    ApprovalRequested: st.builds(ApprovalRequested, use=USES, server=st.just("files"), tool=TEXT),
    ApprovalGranted: st.builds(ApprovalGranted, reason=TEXT),
    ApprovalDenied: st.builds(ApprovalDenied, reason=TEXT),
    ElicitationRequested: st.builds(
        ElicitationRequested, attempt=st.just(1), id=IDS, message=TEXT, form=maybe(OBJECTS)
    ),
    ElicitationAnswered: st.builds(
        ElicitationAnswered, id=IDS, action=st.just("accept"), content=maybe(OBJECTS)
    ),
    RunStarted: st.builds(RunStarted, framework=TEXT),
    RunRestarted: st.builds(RunRestarted, attempt=st.integers(2, 9), reason=TEXT),
    RunAsked: st.builds(
        RunAsked,
        attempt=st.just(1),
        participant=IDS,
        given=BLOBS,
        tools=maybe(BLOBS),
        tool_choice=maybe(st.just("required")),
        parameters=PARAMETERS,
        digest=st.just("cd" * 32),
    ),
    RunCalled: st.builds(
        RunCalled, attempt=st.just(1), name=TEXT, arguments=TEXTS, digest=st.just("cd" * 32)
    ),
    RunMatched: st.builds(RunMatched, attempt=st.just(2), digest=st.just("cd" * 32)),
    RunCompleted: st.builds(
        RunCompleted, attempt=st.just(1), output=TEXTS, result=TEXTS, duration_ms=FLOATS
    ),
    RunFailed: st.builds(
        RunFailed, attempt=st.just(1), error=TEXT, message=TEXT, retryable=st.booleans()
    ),
    RunCancelled: st.builds(RunCancelled, reason=st.just("turn_ended")),
    ContextTrimmed: st.builds(
        ContextTrimmed,
        participant=IDS,
        rule=TEXT,
        skipped=st.integers(1, 99),
        estimated=COUNTS,
        limit=COUNTS,
    ),
    ModelReasked: st.builds(ModelReasked, attempt=st.integers(2, 9), reason=TEXT),
    ModelCancelled: st.builds(ModelCancelled, reason=st.just("race_lost")),
    ModelAnswered: st.builds(
        ModelAnswered,
        attempt=st.just(1),
        text=TEXTS,
        reasoning=maybe(TEXTS),
        tool_calls=st.tuples(st.builds(ToolCall, id=TEXT, name=TEXT, arguments=TEXT)),
        finish_reason=TEXT,
        usage=USAGES,
        usage_raw=maybe(OBJECTS),
        cost=maybe(COSTS),
        first_token_ms=maybe(FLOATS),
        duration_ms=FLOATS,
        rhythm=st.lists(COUNTS, max_size=6).map(tuple),
    ),
    ModelFailed: st.builds(
        ModelFailed,
        attempt=st.just(1),
        error=TEXT,
        message=TEXT,
        retryable=st.booleans(),
        tries=st.integers(1, 9),
        usage=maybe(USAGES),
        cost=maybe(COSTS),
    ),
    ModelDiscarded: st.builds(
        ModelDiscarded, attempt=st.just(2), reason=st.just("duplicate"), partial=maybe(TEXTS)
    ),
    BudgetWarned: st.builds(
        BudgetWarned, participant=maybe(IDS), share=AMOUNTS, spent=AMOUNTS, limit=AMOUNTS
    ),
    BudgetRequested: st.builds(
        BudgetRequested, account=TEXT, participant=IDS, amount=AMOUNTS, limit=AMOUNTS
    ),
    BudgetReserved: st.builds(BudgetReserved, **RESERVATION),
    BudgetRefused: st.builds(BudgetRefused, **RESERVATION),
    BudgetSettled: st.builds(
        BudgetSettled, session=IDS, turn=IDS, step=TEXT, attempt=st.just(1), cost=AMOUNTS
    ),
    BudgetOverrun: st.builds(
        BudgetOverrun,
        scope=st.sampled_from(["session", "participant"]),
        participant=IDS,
        spent=AMOUNTS,
        held=AMOUNTS,
        needed=AMOUNTS,
        limit=AMOUNTS,
    ),
    RouteDecided: st.builds(
        RouteDecided, participants=st.tuples(IDS), reason=TEXT, fallback=maybe(TEXT)
    ),
    VoteCast: st.builds(VoteCast, voter=IDS, choice=maybe(IDS), reason=TEXT),
    PresetSaved: st.builds(
        PresetSaved, preset=st.sampled_from(["room", "toolchain"]), config=OBJECTS
    ),
    PresetDeleted: st.builds(PresetDeleted),
    VotesTallied: st.builds(
        VotesTallied,
        tallies=st.tuples(st.builds(Tally, participant=IDS, votes=COUNTS)),
        winner=IDS,
        tie_broken_by=maybe(TEXT),
    ),
}
