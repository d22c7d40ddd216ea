"""Single parts of a turn, each alone in this process: processor time, without any waiting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from actors.messages import Ask, Outcome
from actors.providers.chat_completions import ChatAnswer
from actors.providers.sse import Decoder
from actors.routing.batch import Given
from actors.routing.machine import SessionMachine
from api.shown import Committed
from benchmarks import recorded
from benchmarks.load import ANSWER_TOKENS, MESSAGE, MODELS
from benchmarks.machine import cores, on_core
from benchmarks.provider_server import Form
from benchmarks.report import Report, median, number
from events.blobs import MemoryBlobs
from events.chat import WireMessage
from events.codec import Codec
from events.envelope import Event, now
from events.open import open_store
from events.types import ModelAnswered
from events.values import Parameters

ROUNDS = 5


async def measured_parts(*, quick: bool) -> Report:
    """Medians of some rounds, in microseconds."""
    times = 200 if quick else 1000
    with on_core(cores()[1]):
        rows = [(what, number(_each(call, times))) for what, call in _calls().items()]
        rows += [
            await _appends(1, times // 5, "one after the other"),
            await _appends(100, times, "of 100 sessions at once"),
        ]
    return Report("stages: single parts, alone", ("", "CPU us"), rows)


def _each(call: Callable[[], object], times: int) -> float:
    """Microseconds of processor time of one call."""
    found = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(times):
            call()
        found.append((time.process_time() - began) / times * 1e6)
    return median(found)


def _calls() -> dict[str, Callable[[], object]]:
    blobs = MemoryBlobs()
    (session,) = recorded.sessions(1, 2, blobs)
    started, answered = session[1], session[2]
    outcome = _outcome(answered[0])
    ask = _ask()
    body = _answer_body()
    codec = Codec()
    event = answered[0]
    form = codec.encode(event, bytes(32))
    turns = partial(_turn, session, blobs)
    return {
        f"decide and advance a whole turn: {len(MODELS)} questions, {len(MODELS)} answers": turns,
        f"seal the message and its {len(MODELS)} questions": lambda: [*map(codec.seal, started)],
        "seal one answer": partial(codec.seal, event),
        "decode one answer": partial(codec.decode, event.stream, event.position, event.type, form),
        "one answer as the frame of a WebSocket": lambda: Committed.of(event).frame,
        "question: to JSON and back": lambda: Ask.model_validate_json(ask.model_dump_json()),
        "outcome: to JSON and back": lambda: Outcome.model_validate_json(outcome.model_dump_json()),
        f"read a provider's stream of {ANSWER_TOKENS} tokens": partial(_read, body),
    }


def _turn(session: list[list[Event]], blobs: MemoryBlobs) -> int:
    """One broadcast turn from its first input to its end, in a new session."""
    machine = SessionMachine(session[0][0].stream, lambda blob: blobs.get(blob).decode())
    at = now()
    return sum(len(machine.advance(Given.of(batch[0]), at)) for batch in session[:7])


def _outcome(event: Event) -> Outcome:
    assert event.turn
    assert event.step
    assert isinstance(event.data, ModelAnswered)
    return Outcome(
        session=event.stream, turn=event.turn, step=event.step, attempt=1, answered=event.data
    )


def _ask() -> Ask:
    return Ask(
        session="bench_0",
        turn="t1",
        step="ask:model_0:1",
        attempt=1,
        reply="room.router.1.outcome",
        model=MODELS[0],
        provider="bench",
        purpose="answer",
        messages=(WireMessage(role="user", content=MESSAGE),),
        parameters=Parameters(max_tokens=ANSWER_TOKENS),
    )


def _answer_body() -> bytes:
    """What comes of an answer once HTTP is taken off."""
    return b"".join(Form(MODELS[0]).events(ANSWER_TOKENS))


def _read(body: bytes) -> object:
    decoder, answer = Decoder("sse"), ChatAnswer("bench")
    deltas = answer.take(decoder.feed(body))
    return deltas, answer.finished(())


async def _appends(sessions: int, batches: int, what: str) -> tuple[str, str]:
    """Appends to SQLite, each synced to disk before its session makes the next one."""
    turns = max(1, batches // sessions // 6)
    made = recorded.sessions(sessions, turns, MemoryBlobs())
    count = sum(map(len, made))
    with TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{Path(folder)}/room.db")

        async def one(session: list[list[Event]]) -> None:
            for batch in session:
                await store.append(batch[0].stream, batch[0].position - 1, batch)

        cpu, wall = time.process_time(), time.perf_counter()
        await asyncio.gather(*map(one, made))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        await store.close()
    clock = number(wall / count * 1e6)
    return f"append one batch, {what} ({clock} us by the clock)", number(cpu / count * 1e6)
