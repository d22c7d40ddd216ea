"""The actor of one framework: runs its workflows, and reports what came of each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

import orjson
from pydantic import ValidationError
from pydantic_core import from_json

from actors import subjects
from actors.bus import Bus, Msg, Subscription
from actors.deltas import DeltaPublisher, DeltaStream
from actors.frameworks.execution import Reply, Request
from actors.frameworks.port import Doors
from actors.messages import Outcome, RunWorkflow
from actors.serving import HEARTBEAT, Call, Key, Serving
from events.errors import ControlRoomError
from events.runs import RunCompleted, RunFailed
from events.store import BlobStore
from events.values import SPILL, Blob, Text

_log = logging.getLogger(__name__)

Runner = Callable[[Request], Awaitable[Reply]]
"""Runs a workflow in whatever interpreter its framework needs."""

LONGEST_MESSAGE = 4000
DOOR_WITHIN = 5.0
"""Seconds in which the room has to answer, to be there."""


@dataclass(frozen=True, slots=True)
class _Job:
    """A run that is wanted."""

    wanted: RunWorkflow
    began: float


class WorkflowActor:
    """One framework. A plain class: what runs it is another's affair.

    The same run is taken once; its outcome is repeated until a router has it. A run that is
    cancelled, or whose actor is stopped, asks nothing more at the doors: its token is good only as
    long as its turn is open, and only for its attempt.
    """

    def __init__(
        self,
        bus: Bus,
        blobs: BlobStore,
        framework: str,
        run: Runner,
        *,
        url: str,
        heartbeat: float = HEARTBEAT,
    ) -> None:
        self._bus = bus
        self._blobs = blobs
        self._framework = framework
        self._run = run
        self._url = url
        self._publisher = DeltaPublisher(bus)
        self._calls: Serving[_Job] = Serving(
            bus, f"workflows of {framework}", self._outcome, heartbeat=heartbeat
        )
        self._taking: Subscription | None = None
        self._completed = self._failed = 0

    async def start(self) -> None:
        """Returns when runs are taken."""
        self._publisher.start()
        await self._calls.start()
        subject = subjects.workflow(self._framework)
        self._taking = await self._bus.subscribe(subject, self._on_run, queue="workflow")

    async def stop(self, within: float = 5.0) -> None:
        """Take no further run; those that do not end in time are abandoned, and run again."""
        if self._taking is not None:
            await self._taking.unsubscribe()
        await self._calls.stop(within)
        await self._publisher.stop()

    async def health(self) -> dict[str, Any]:
        """What it is doing."""
        return {
            "framework": self._framework,
            "connected": self._bus.connected,
            "running": sum(call.working for call in self._calls),
            "completed": self._completed,
            "failed": self._failed,
        }

    def _on_run(self, msg: Msg) -> Awaitable[None] | None:
        try:
            wanted = RunWorkflow.model_validate_json(msg.data)
        except ValidationError as error:
            _log.error("%s: a run is malformed: %s", self._framework, error.errors()[0]["msg"])
            return None
        if not self._calls.takes(wanted.step) or wanted.framework != self._framework:
            _log.error("%s: step %.100r is not for this framework", self._framework, wanted.step)
            return None

        def begin(key: Key) -> tuple[_Job, DeltaStream]:
            now = asyncio.get_running_loop().time()
            return _Job(wanted, now), self._publisher.open(*key)

        return self._calls.take(wanted, begin, msg)

    async def _outcome(self, key: Key, call: Call[_Job]) -> Outcome | None:
        """What came of the run; None where it is not wanted any more."""
        session, turn, step, attempt = key
        update: dict[str, Any]
        try:
            update = await self._result(call.job)
        except asyncio.CancelledError:
            if not call.cancelling():
                raise
            return None
        except ControlRoomError as error:
            update = {"run_failed": _failure(attempt, type(error).__name__, error.message, True)}
        except Exception as error:
            _log.exception("%s: a run failed", self._framework)
            what = f"the workflow's actor failed ({type(error).__name__}): see its log"
            update = {"run_failed": _failure(attempt, "ControlRoomError", what)}
        self._completed += "completed" in update
        self._failed += "run_failed" in update
        return Outcome(session=session, turn=turn, step=step, attempt=attempt, **update)

    async def _result(self, job: _Job) -> dict[str, Any]:
        wanted = job.wanted
        config, inputs = wanted.config, wanted.inputs
        if isinstance(config, Blob):
            config = orjson.loads(await asyncio.to_thread(self._blobs.get, config))
        if isinstance(inputs, Blob):
            inputs = (await asyncio.to_thread(self._blobs.get, inputs)).decode()
        url = wanted.url or self._url
        doors = Doors(
            base_url=f"{url}/openai/v1",
            mcp_url=f"{url}/mcp",
            token=wanted.token,
            invoke_url=url,
        )
        reply = await self._run(
            Request(
                framework=wanted.framework,
                config=config,
                inputs=inputs_of(inputs),
                models=wanted.models,
                doors=asdict(doors),
            )
        )
        if "fault" in reply:
            fault = reply["fault"]
            kind = "ConfigError" if fault["configuration"] else "WorkflowFailed"
            again = not fault["configuration"] and not await self._room_answers()
            return {"run_failed": _failure(wanted.attempt, kind, fault["message"], again)}
        result = reply["result"]
        duration = asyncio.get_running_loop().time() - job.began
        return {
            "completed": RunCompleted(
                attempt=wanted.attempt,
                output=await self._text(result["output"]),
                result=await self._text(orjson.dumps(result, option=orjson.OPT_SORT_KEYS).decode()),
                duration_ms=round(duration * 1000, 3),
                versions=reply.get("versions", {}),
            )
        }

    async def _room_answers(self) -> bool:
        """Whether the room's doors are there: where not, that is what the run failed of."""
        import httpx2

        try:
            async with httpx2.AsyncClient(trust_env=False, timeout=DOOR_WITHIN) as client:
                return (await client.get(f"{self._url}/healthz")).is_success
        except httpx2.HTTPError:
            return False

    async def _text(self, text: str) -> Text:
        content = text.encode("utf-8", "surrogatepass")
        if len(content) <= SPILL:
            return text
        return await asyncio.to_thread(self._blobs.put, content)


def inputs_of(text: str) -> dict[str, Any]:
    """A workflow's inputs from what was posted: a JSON object, or any text as `input`."""
    try:
        inputs = from_json(text, allow_inf_nan=False)  # integers of any size
    except ValueError:
        inputs = None
    return inputs if isinstance(inputs, dict) else {"input": text}


def _failure(attempt: int, error: str, message: str, retryable: bool = False) -> RunFailed:
    return RunFailed(
        attempt=attempt, error=error, message=message[:LONGEST_MESSAGE], retryable=retryable
    )
