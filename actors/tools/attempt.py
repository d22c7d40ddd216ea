"""One call of a tool: checked, made, and what came of it; what it asks the person meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from secrets import token_hex
from typing import Any, Final

import mcp_types as types
import orjson
from pydantic import ValidationError

from actors.bus import Bus, Unreachable
from actors.deltas import DeltaStream, Status
from actors.forms import MOST_QUESTIONS, unfit
from actors.messages import CallTool, Outcome, Receipt
from actors.providers.http_errors import Secrets
from actors.tools.arguments import parsed
from actors.tools.checking import Checker
from actors.tools.connection import Connection
from actors.tools.content import kept
from events.errors import BadArguments, BadResult, ControlRoomError, ToolError, ToolTimeout
from events.store import BlobStore
from events.tools import ElicitationAnswered, ElicitationRequested, ToolFailed, ToolReturned
from events.values import Blob

_log = logging.getLogger(__name__)

LONGEST_ERROR: Final = 4000  # characters
LONGEST_STATUS: Final = 300
LONGEST_SAID: Final = 64 * 1024  # of which that is the beginning
LONGEST_FORM: Final = 32 * 1024  # bytes of JSON
EACH_PROGRESS: Final = 0.1  # seconds between two reports of progress that are shown
RECEIPT_WITHIN: Final = 4.0  # seconds for the router to take a question before it is sent again
AGAIN: Final = 15.0  # seconds after which a question is asked again that is not answered


class Attempt:
    """Makes one call. Await `returned` once; where it raises, `failed` tells of it."""

    def __init__(
        self,
        bus: Bus,
        blobs: BlobStore,
        connection: Connection,
        call: CallTool,
        deltas: DeltaStream,
        *,
        checker: Checker,
        secrets: Secrets,
        timeout: float,
    ) -> None:
        self.place = (call.session, call.turn, call.step)
        self._bus = bus
        self._blobs = blobs
        self._connection = connection
        self._checker = checker
        self._secrets = secrets
        self._call = call
        self._deltas = deltas
        self._timeout = timeout
        self._began = asyncio.get_running_loop().time()
        self._shown = 0.0
        self._complete = False  # and shown so
        self._clock: asyncio.Timeout | None = None
        self._asking = 0
        self._left = timeout
        self._answers: dict[str, asyncio.Future[ElicitationAnswered]] = {}
        self._asked_before = 0
        self._turns = asyncio.Lock()

    # --- the call --------------------------------------------------------------------------------

    async def returned(self) -> ToolReturned:
        """What the tool gave back, stored as far as it is long. Cancel it and the server is told.

        Raises a `ToolError`; of arguments that do not fit before anything is called.
        """
        arguments = parsed(await self._text())
        await self._connection.ready()
        await self._check(arguments)
        loop = asyncio.get_running_loop()
        self._began = loop.time()
        try:
            async with asyncio.timeout(self._timeout) as self._clock:
                result = await self._connection.call(
                    self._call.tool, arguments, self._progressed, self._elicited
                )
        except TimeoutError:
            raise ToolTimeout(
                f"tool server {self._call.server!r} gave no answer in {self._timeout:g} s, and was"
                " told that none is wanted any more: ask for less, or raise `timeout` in its"
                " configuration"
            ) from None
        finally:
            self._clock = None
        duration = loop.time() - self._began
        unchecked = await self._unchecked(result)
        content = await kept(result, self._blobs, self._secrets)
        return ToolReturned(
            attempt=self._call.attempt,
            text=content.text,
            structured=content.structured,
            attachments=content.attachments,
            is_error=result.is_error,
            duration_ms=round(duration * 1000, 3),
            protocol=self._connection.protocol,
            implementation=self._connection.implementation,
            notes=(*content.notes, *unchecked),
        )

    def failed(self, error: ControlRoomError) -> ToolFailed:
        """The failure."""
        duration = asyncio.get_running_loop().time() - self._began
        return ToolFailed(
            attempt=self._call.attempt,
            error=type(error).__name__,
            message=self._secrets.hidden(error.message)[:LONGEST_ERROR],
            retryable=error.retryable,
            duration_ms=round(duration * 1000, 3),
        )

    async def _text(self) -> str:
        text = self._call.arguments
        if isinstance(text, Blob):
            return (await asyncio.to_thread(self._blobs.get, text)).decode("utf-8", "replace")
        return text

    async def _check(self, arguments: dict[str, Any]) -> None:
        tool = self._tool()
        if tool is not None:  # else the server says that it has none
            await self._checker.check(tool.name, tool.input_schema, arguments)

    async def _unchecked(self, result: types.CallToolResult) -> tuple[str, ...]:
        """Notes of what could not be checked; `BadResult` for what does not fit its own schema."""
        tool = self._tool()
        if tool is None or tool.output_schema is None or result.is_error:
            return ()
        if "structured_content" not in result.model_fields_set:
            raise BadResult(f"{tool.name!r} gave no structured content, though its schema says so")
        try:
            await self._checker.check(tool.name, tool.output_schema, result.structured_content)
        except BadArguments as error:
            what = error.message.replace("the arguments do", "the structured content does")
            raise BadResult(f"the result cannot be used: {what}") from None
        except ToolError:
            return ("the structured content could not be checked against its schema",)
        return ()

    def _tool(self) -> types.Tool | None:
        tools = self._connection.tools or ()
        return next((tool for tool in tools if tool.name == self._call.tool), None)

    async def _progressed(self, progress: float, total: float | None, message: str | None) -> None:
        """Show how far it is, to whoever watches."""
        now = asyncio.get_running_loop().time()
        ends = total is not None and progress >= total and not self._complete
        if now - self._shown < EACH_PROGRESS and not ends:
            return
        self._shown, self._complete = now, self._complete or ends
        share = f"{progress:g} of {total:g}" if total else f"{progress:g}"
        said = f"{share}: {message}" if message else share
        said = self._secrets.hidden(said[:LONGEST_SAID])
        self._deltas.add(Status(" ".join(said.split())[:LONGEST_STATUS] + "\n"))

    # --- what it asks the person -----------------------------------------------------------------

    async def _elicited(self, params: types.ElicitRequestParams) -> types.ElicitResult:
        """Ask the person, however long that takes: the time of the call stands still meanwhile."""
        id = f"e{token_hex(8)}"
        form = (
            params.requested_schema if isinstance(params, types.ElicitRequestFormParams) else None
        )
        url = params.url if isinstance(params, types.ElicitRequestURLParams) else None
        if url is not None and self._secrets.hidden(url) != url:
            raise ToolError("the tool sends the person to an address that holds a secret")
        try:
            requested = ElicitationRequested(
                attempt=self._call.attempt,
                id=id,
                message=self._secrets.hidden(params.message)[:16_000],
                form=_bounded(self._secrets.hidden_within(form)),
                url=url,
            )
        except ValidationError:
            raise ToolError("the tool asks the person for what cannot be shown") from None
        if self._asked_before == MOST_QUESTIONS:
            raise ToolError(f"the tool asks the person more than {MOST_QUESTIONS} questions")
        self._asked_before += 1
        with self._standing_still():
            async with self._turns:  # one at a time
                answer = self._answers[id] = asyncio.get_running_loop().create_future()
                try:
                    said = await self._asked(requested, answer)
                finally:
                    del self._answers[id]
        if said is None:
            return types.ElicitResult(action="cancel")
        return types.ElicitResult(
            action=said.action, content=said.content if said.action == "accept" else None
        )

    def answer(self, said: ElicitationAnswered) -> None:
        """The person has answered what the tool asked."""
        waiting = self._answers.get(said.id)
        if waiting is not None and not waiting.done():
            waiting.set_result(said)

    async def _asked(
        self, requested: ElicitationRequested, answer: asyncio.Future[ElicitationAnswered]
    ) -> ElicitationAnswered | None:
        """The answer; None where nobody is there to give one, because the turn is over."""
        session, turn, step = self.place
        question = Outcome(
            session=session,
            turn=turn,
            step=step,
            attempt=self._call.attempt,
            elicited=requested,
        )
        while True:
            try:
                reply = await self._bus.request(self._call.reply, question, RECEIPT_WITHIN)
                if Receipt.model_validate_json(reply).status == "discarded":
                    return None
                pause = AGAIN  # the answer may be lost on its way, and comes again then
            except (Unreachable, ValidationError) as error:
                _log.info("what a tool asks is not delivered yet: %s", error)
                pause = 1.0
            done, _ = await asyncio.wait({answer}, timeout=pause)
            if done:
                return answer.result()

    @contextmanager
    def _standing_still(self) -> Iterator[None]:
        """The call's time does not pass."""
        clock, loop = self._clock, asyncio.get_running_loop()
        self._asking += 1
        if clock is not None and self._asking == 1 and (due := clock.when()) is not None:
            self._left = due - loop.time()
            clock.reschedule(None)
        try:
            yield
        finally:
            self._asking -= 1
            if clock is not None and self._asking == 0 and clock is self._clock:
                clock.reschedule(loop.time() + self._left)


def _bounded(form: dict[str, Any] | None) -> dict[str, Any] | None:
    if form is not None and len(orjson.dumps(form)) > LONGEST_FORM:
        raise ToolError("the tool asks the person for more than can be shown")
    if form is not None and (fault := unfit(form)) is not None:
        raise ToolError(f"the form that the tool asks the person to fill in is refused: {fault}")
    return form
