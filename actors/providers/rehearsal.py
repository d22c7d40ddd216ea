"""The provider `rehearsal`: no model, but everything that one does to those who wait for it.

Its `model_name` chooses a temper. What it says is made from the request and the seed alone, says
that it is a rehearsal, and costs nothing. It calls the tools that it is told to use (see
`rehearsal_tools`).
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from hashlib import sha256
from random import Random
from typing import Any, Final

import orjson
from pydantic import Field

from actors.prices import given_for
from actors.providers import rehearsal_prose as prose
from actors.providers import rehearsal_tools
from actors.providers.options import Options
from actors.providers.port import (
    Capabilities,
    ChatRequest,
    Delta,
    Finished,
    Limits,
    Tool,
)
from actors.providers.rehearsal_schema import Composer
from events.errors import BadResponse, ConfigError, ModelNotFound, ProviderUnavailable
from events.prices import Prices
from events.values import ToolCall, Usage


@dataclass(frozen=True, slots=True)
class Temper:
    """How a rehearsing model behaves.

    `rate` is in words a second (0: all at once), `wait` in seconds before the first word.
    """

    rate: float = 30.0
    wait: float = 0.0
    fails: str = ""


TEMPERS: Final = {
    "steady": Temper(),
    "instant": Temper(rate=0),
    "slow": Temper(rate=5),
    "late": Temper(wait=8),
    "flaky": Temper(fails="first"),
    "failing": Temper(fails="always"),
    "stalling": Temper(fails="stall"),
    "cutting": Temper(fails="cut"),
}
REMEMBERED: Final = 4096  # requests that a flaky model has failed and not answered yet
NOTE: Final = "a rehearsal: no model was asked"

_PIECE = re.compile(r"\s*\S+\s*")
_CANDIDATE = re.compile(r"^- ([A-Za-z0-9_-]{1,64}):", re.MULTILINE)
_PROSE_NAMES = ("reason", "why", "text", "answer", "content", "summary", "description", "comment")


class RehearsalOptions(Options):
    """Options of type `rehearsal`: `pace` 10 is ten times as fast; time-outs are in seconds."""

    pace: float = Field(default=1.0, gt=0, le=10_000)
    first_token_timeout: float = Field(default=60.0, gt=0)
    stall_timeout: float = Field(default=30.0, gt=0)


class RehearsalProvider:
    """See the module; implements `actors.providers.port.Provider`."""

    Options = RehearsalOptions

    def __init__(self, id: str, options: RehearsalOptions) -> None:
        self.id = id
        self._options = options
        self._failed: OrderedDict[bytes, None] = OrderedDict()

    @property
    def limits(self) -> Limits:
        return self._options.limits

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Delta | Finished, None]:
        temper = TEMPERS.get(request.model)
        if temper is None:
            raise ModelNotFound(
                f"provider {self.id!r} rehearses no model {request.model!r}:"
                f" use one of {', '.join(TEMPERS)}"
            )
        digest = _digest(request)
        self._fail(temper, digest)
        await self._wait(temper.wait)
        text, finish, calls = _compose(request, digest)
        pieces = _PIECE.findall(text)
        chance = Random(digest)
        if temper.fails in ("stall", "cut"):
            pieces = pieces[: max(1, len(pieces) // 3)]
        start, due = asyncio.get_running_loop().time(), 0.0
        for piece in pieces:
            yield Delta("text", piece)
            if temper.rate:
                due += chance.uniform(0.5, 1.5) / (temper.rate * self._options.pace)
                await self._until(start + due)
        if temper.fails == "stall":
            await asyncio.sleep(self._options.stall_timeout)
            raise ProviderUnavailable(
                f"no further word came for {self._options.stall_timeout:g} s: ask again, or choose"
                f" another model than {request.model!r}, which rehearses just that"
            ).after_work()
        if temper.fails == "cut":
            raise BadResponse(
                "the stream ended before the answer was complete: ask again, or choose another"
                f" model than {request.model!r}, which rehearses just that"
            ).after_work()
        yield Finished(
            finish,
            usage=Usage(
                input=sum(_tokens(message.content) for message in request.messages),
                output=_tokens(text) + sum(_tokens(call.arguments) for call in calls),
            ),
            served_model=request.model,
            tool_calls=calls,
            notes=(NOTE,),
        )

    async def models(self) -> tuple[str, ...]:
        return tuple(TEMPERS)

    def capabilities(self, model: str) -> Capabilities:
        if model not in TEMPERS:
            raise ConfigError(
                f"provider {self.id!r} rehearses no model {model[:100]!r}:"
                f" use one of {', '.join(TEMPERS)}"
            )
        return Capabilities(structured_output=True, tools=True)

    def prices(self, model: str) -> Prices | None:
        return given_for(model, self._options.prices) or Prices(table="rehearsal")

    async def close(self) -> None:
        self._failed.clear()

    def _fail(self, temper: Temper, digest: bytes) -> None:
        """Raises where the temper fails at once; a flaky one answers when it is asked again."""
        if temper.fails == "always":
            raise ProviderUnavailable(
                "this model rehearses an outage: choose another one, such as 'steady'"
            )
        if temper.fails == "first":
            if digest in self._failed:
                del self._failed[digest]
                return
            self._failed[digest] = None
            if len(self._failed) > REMEMBERED:
                self._failed.popitem(last=False)
            raise ProviderUnavailable("this model rehearses a short outage: ask again")

    async def _wait(self, seconds: float) -> None:
        """The time before the first word; at least lets others run."""
        seconds /= self._options.pace
        patience = self._options.first_token_timeout
        await asyncio.sleep(min(seconds, patience))
        if seconds > patience:
            raise ProviderUnavailable(
                f"no word came within {patience:g} s: ask again, or raise first_token_timeout"
            ).after_work()

    async def _until(self, due: float) -> None:
        # Against the clock and not word by word, so that what a timer is late does not add up.
        left = due - asyncio.get_running_loop().time()
        if left > 0.0005:
            await asyncio.sleep(left)


def _compose(request: ChatRequest, digest: bytes) -> tuple[str, str, tuple[ToolCall, ...]]:
    """The whole answer, why it ends, and the calls it asks for."""
    chance = Random(digest)
    scene = prose.scene_of(request.messages, request.purpose)
    id = f"call_{digest.hex()[:12]}"

    def filled(tool: Tool) -> str:
        return _filled(tool.parameters, request, scene, chance)

    if calls := rehearsal_tools.calls_of(request, scene.asked, id, filled):
        names = " and ".join(call.name for call in calls)
        return f"In this rehearsal I call {names}.", "tool_calls", calls
    schema = request.parameters.schema_ or _form(request.purpose, scene.task)
    if schema is not None:
        text = _filled(schema, request, scene, chance)
    elif (reported := rehearsal_tools.report(request, scene.asked)) is not None:
        text = reported
    else:
        text = prose.answer(scene, request.role, request.purpose, chance)
    return *_bounded(text, request), ()


def _bounded(text: str, request: ChatRequest) -> tuple[str, str]:
    """The text as far as stop sequences and `max_tokens` let it go."""
    finish = "stop"
    ends = [text.find(stop) for stop in request.parameters.stop if stop]
    text = text[: min((end for end in ends if end >= 0), default=len(text))]
    most = request.parameters.max_tokens
    if most is not None and _tokens(text) > most:
        finish = "length"
        pieces = _PIECE.findall(text)[: max(1, most * 3 // 4)]
        text = "".join(pieces).rstrip()
    return text, finish


def _form(purpose: str, task: str) -> dict[str, Any] | None:
    """The form that a plan or a ballot has, where the task tells it in words alone."""
    ids = _CANDIDATE.findall(task)
    if purpose not in ("plan", "vote") or not ids:
        return None
    name = {"type": "string", "enum": ids}
    if purpose == "vote":
        return {"properties": {"choice": name, "reason": {"type": "string"}}}
    several = {"type": "array", "items": name, "minItems": 1}
    return {"properties": {"participants": several, "reason": {"type": "string"}}}


def _filled(
    schema: dict[str, Any], request: ChatRequest, scene: prose.Scene, chance: Random
) -> str:
    """The JSON text of a value that satisfies `schema`."""
    names = prose.keywords(scene.asked)

    def words(name: str, chosen: list[str]) -> str:
        if name.casefold().startswith(_PROSE_NAMES) or not names:
            return prose.reason(scene, request.role, " and ".join(chosen[-3:]), chance)
        return names.pop(0) if len(names) > 1 else names[0]

    return orjson.dumps(Composer(schema, chance, words).compose()).decode()


def _tokens(text: str) -> int:
    """Four thirds of a token a word: a rehearsal's own measure, and therefore exact."""
    return -(-prose.word_count(text) * 4 // 3)


def _digest(request: ChatRequest) -> bytes:
    """What the answer depends on: everything but the temper."""
    parameters = request.parameters
    said = [(message.role, message.content) for message in request.messages]
    key = (parameters.seed, request.role, request.purpose, parameters.schema_, said)
    return sha256(repr(key).encode("utf-8", "backslashreplace")).digest()
