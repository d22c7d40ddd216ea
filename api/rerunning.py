"""Replays a workflow's run: it starts again, and all that it asks is answered from the log.

No model, no tool server and no account is needed for it, only the framework. What is compared is
every call, in its content and its place, and the result.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass

from pydantic import Field

from actors import subjects
from actors.addresses import WorkflowAddress
from actors.bus import Msg
from actors.frameworks.registry import repeatable
from actors.messages import Outcome, Receipt, RunWorkflow
from actors.run_tokens import RunToken
from api.doors import Doors
from api.problems import ProblemError
from api.run_calls import REPLAY, RecordedCalls
from api.run_key import run_key
from api.services import ensure
from events.errors import ControlRoomError
from events.runs import RunCompleted, RunFailed
from events.turns import Turn
from events.values import Value
from projections.rerun import RecordedRun, RunDiverged, compare_end

SILENCE = 15.0
"""Seconds without a heartbeat after which nobody works on a replay any more."""
LOOK = 0.5
"""Seconds between two looks at how far a run has come that does not end by itself."""
LONGEST = 3600.0
"""Seconds that a replay may take."""


class Divergence(Value):
    """Where a replayed run did not do what the log holds."""

    message: str
    calls_left: tuple[str, ...] = Field(
        default=(), description="recorded calls that were not made, in their order"
    )


class RerunReport(Value):
    """Whether a run did again what the log holds, call by call, and gave the same result."""

    identical: bool
    calls: int = Field(description="that the log has")
    divergence: Divergence | None = None


@dataclass(slots=True)
class _Ended:
    """How the run that was started again has ended, and when it was heard of last."""

    end: asyncio.Future[RunCompleted | RunFailed]
    heard: float

    async def outcome(self, msg: Msg) -> None:
        """Take its outcome."""
        outcome = Outcome.model_validate_json(msg.data)
        end = outcome.completed or outcome.run_failed
        if end is not None and not self.end.done():
            self.end.set_result(end)
        await msg.respond(Receipt(status="committed"))

    async def beat(self, _: Msg) -> None:
        """Take a heartbeat."""
        self.heard = asyncio.get_running_loop().time()


async def rerun(doors: Doors, session: str, turn: str) -> RerunReport:
    """Run the workflow of that turn again, against the log alone.

    Raises a `ProblemError` where there is no such run, it has not ended, or its framework cannot be
    had.
    """
    state = (await doors.states.get(session)).turns.get(turn)
    if state is None or state.run is None:
        raise ProblemError("not-found", f"session {session!r} has no run {turn!r}")
    if not repeatable(state.run.framework):
        raise ProblemError(
            "refused",
            f"a run of {state.run.framework} is not replayed: it would start the workflow on its"
            " server again, with all that this does there",
        )
    if state.status not in ("completed", "failed"):
        raise ProblemError("refused", f"the run is {state.status}: replay what has ended by itself")
    recorded = RecordedRun.of(await doors.states.turn_events(session, turn), turn)
    calls = RecordedCalls(recorded)
    run = RunToken(session, turn, REPLAY + secrets.randbelow(10**8))
    with doors.runs.replaying(run, calls):
        end = await _run(doors, state, run, calls if recorded.end is None else None)
    try:
        if calls.diverged is not None:
            raise calls.diverged
        if end is not None:
            compare_end(recorded.end, end)
        if calls.left:
            raise RunDiverged(f"the run ended without a call that the log has: {calls.left[0]}")
    except RunDiverged as error:
        divergence = Divergence(message=error.message, calls_left=calls.left)
        return RerunReport(identical=False, calls=len(recorded.calls), divergence=divergence)
    return RerunReport(identical=True, calls=len(recorded.calls))


async def _run(
    doors: Doors, turn: Turn, run: RunToken, endless: RecordedCalls | None
) -> RunCompleted | RunFailed | None:
    """Have the workflow run under that token; returns how it ended.

    A run that something else ended, such as its deadline, is `endless`: it is over (None) when it
    has done all that the log has.
    """
    assert turn.run
    assert turn.config
    assert turn.message
    bus, address = doors.room.bus, WorkflowAddress(turn.run.framework)
    try:
        await ensure(bus, address)
    except ControlRoomError as error:
        raise ProblemError("unavailable", f"the run cannot be replayed: {error.message}") from None
    step = f"replay:{turn.run.framework}:{secrets.token_hex(6)}"
    wanted = RunWorkflow.of(
        turn.config,
        turn.message.content,
        session=run.session,
        turn=run.turn,
        step=step,
        attempt=1,
        reply=f"{subjects.REPLAY}{secrets.token_hex(12)}",
        url=doors.room.settings.url if doors.room.settings.port else "",
        token=run.signed(run_key(doors.room.settings.home)),
    )
    loop = asyncio.get_running_loop()
    ended = _Ended(loop.create_future(), loop.time())
    heartbeats = subjects.call(run.session, run.turn, step)
    outcomes = await bus.subscribe(wanted.reply, ended.outcome)
    beats = await bus.subscribe(heartbeats, ended.beat)
    try:
        await bus.publish(address.subject, wanted)
        async with asyncio.timeout(LONGEST):
            while True:
                done, _ = await asyncio.wait({ended.end}, timeout=LOOK if endless else SILENCE / 3)
                if done:
                    return ended.end.result()
                if endless is not None and endless.exhausted.is_set():
                    return None
                if loop.time() - ended.heard > SILENCE:
                    raise ProblemError(
                        "unavailable", "nothing is heard of the replayed run: try again"
                    )
    except TimeoutError:
        raise ProblemError("unavailable", "the replayed run did not end in time") from None
    finally:
        if not ended.end.done():
            await bus.publish(subjects.cancel(run.session, run.turn, step), b"{}")
        await outcomes.unsubscribe()
        await beats.unsubscribe()
