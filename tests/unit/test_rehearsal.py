"""The rehearsal does what its tempers promise, with the same words for the same seed."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from decimal import Decimal
from typing import Any

import jsonschema_rs
import pytest

from actors.providers.config import ProviderSpec, create
from actors.providers.port import ChatMessage, ChatRequest, Delta, Finished, Provider, Tool
from actors.providers.rehearsal import TEMPERS
from actors.routing.coordinator import plan_schema
from actors.routing.voting import ballot_schema
from events.errors import BadResponse, ConfigError, ModelNotFound, ProviderUnavailable
from events.values import Cost, Parameters, Usage

QUESTION = "Should we use SQLite or PostgreSQL for the event log of a small team?"


def provider(**config: Any) -> Provider:
    return create(ProviderSpec(id="r", type="rehearsal", config=config), {})


def request(
    model: str = "instant", *, said: str = QUESTION, role: str | None = None, **parameters: Any
) -> ChatRequest:
    return ChatRequest(model, (ChatMessage("user", said),), Parameters(**parameters), role=role)


async def answer(asked: ChatRequest, of: Provider | None = None) -> tuple[str, Finished]:
    text, last = "", None
    async for item in (of or provider()).stream(asked):
        assert last is None, "nothing comes after the finish"
        if isinstance(item, Delta):
            assert item.channel == "text"
            assert item.text
            text += item.text
        else:
            last = item
    assert last is not None
    return text, last


async def test_same_seed_same_words_and_another_seed_others() -> None:
    one, _ = await answer(request(seed=1))
    again, _ = await answer(request(seed=1))
    two, _ = await answer(request(seed=2))
    assert one == again
    assert one != two


def test_words_do_not_depend_on_the_process() -> None:
    program = (
        "import asyncio\n"
        "from actors.providers.config import ProviderSpec, create\n"
        "from actors.providers.port import ChatMessage, ChatRequest, Delta\n"
        "from events.values import Parameters\n"
        "async def main():\n"
        "    r = ChatRequest('instant', (ChatMessage('user', 'Hello'),), Parameters(seed=4))\n"
        "    async for item in create(ProviderSpec(id='r', type='rehearsal'), {}).stream(r):\n"
        "        if isinstance(item, Delta): print(item.text, end='')\n"
        "asyncio.run(main())\n"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(p for p in sys.path if p)},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(texts) == 1
    assert len(texts.pop()) > 200


@pytest.mark.parametrize("role", [None, "architect", "coder", "reviewer", "critic", "Poet", "SRE"])
async def test_every_answer_says_that_it_is_a_rehearsal(role: str | None) -> None:
    for seed in range(40):
        text, end = await answer(request(role=role, seed=seed))
        assert "rehears" in text.partition("\n\n")[0].lower()
        assert 60 <= len(text.split()) <= 200
        assert "{" not in text
        assert "  " not in text
        assert end.finish_reason == "stop"


async def test_roles_speak_differently_and_about_the_question() -> None:
    by_role = {role: (await answer(request(role=role, seed=1)))[0] for role in ("coder", "critic")}
    assert by_role["coder"] != by_role["critic"]
    for text in by_role.values():
        assert "event log" in text
        assert "SQLite" in text


async def test_it_quotes_what_the_others_said() -> None:
    remark = "A backup that was never restored is a hope and nothing else"
    said = f"{QUESTION}\n\n[operator (model_2)]: {remark}."
    text, _ = await answer(request(said=said, role="critic", seed=1))
    assert remark in text
    assert "the operator" in text.lower()


@pytest.mark.parametrize(
    "said", ["", "   ", "?", "{}{topic}", "ü" * 10_000, "\n\n[x]: ", "a or b or c", "🙂", "[a]: b"]
)
async def test_any_message_gets_an_answer(said: str) -> None:
    text, _ = await answer(request(said=said, seed=1))
    assert 60 <= len(text.split()) <= 200
    assert len(text) < 4000


async def test_usage_counts_words_and_costs_nothing() -> None:
    text, end = await answer(request(said="one two three four five six", seed=1))
    words = len(text.split())
    assert end.usage == Usage(input=8, output=-(-words * 4 // 3), estimated=False)
    prices = provider().prices("instant")
    assert prices is not None
    assert prices.cost(end.usage, 1.0) == Cost(amount=Decimal(0), prices="rehearsal")


async def test_max_tokens_and_stop_end_the_answer() -> None:
    whole, _ = await answer(request(seed=3))
    short, end = await answer(request(seed=3, max_tokens=20))
    assert end.finish_reason == "length"
    assert end.usage is not None
    assert end.usage.output <= 20
    assert whole.startswith(short)
    word = whole.split()[9]
    stopped, end = await answer(request(seed=3, stop=(word,)))
    assert stopped == whole[: whole.index(word)]
    assert end.finish_reason == "stop"


# --- forms -------------------------------------------------------------------------------------

SCHEMAS: tuple[dict[str, Any], ...] = (
    plan_schema(["a", "b", "c"]),
    ballot_schema(["a", "b"]),
    {"type": "integer", "minimum": 3, "maximum": 3},
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    {"type": "string", "minLength": 300},
    {"type": "string", "maxLength": 5},
    {"type": ["null", "boolean"]},
    {"type": "array", "items": {"type": "integer"}, "minItems": 7, "maxItems": 9},
    {"type": "array", "items": {"enum": [1, 2, 3]}, "minItems": 3, "uniqueItems": True},
    {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "minItems": 2},
    {
        "$defs": {
            "node": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                    "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                },
                "required": ["name", "next"],
                "additionalProperties": False,
            }
        },
        "$ref": "#/$defs/node",
    },
    {
        "allOf": [
            {"properties": {"a": {"const": 1}}, "required": ["a"]},
            {"properties": {"b": {"oneOf": [{"type": "string"}]}}, "required": ["b"]},
        ],
        "type": "object",
    },
)


@pytest.mark.parametrize("schema", SCHEMAS, ids=range(len(SCHEMAS)))
async def test_answers_satisfy_the_schema(schema: dict[str, Any]) -> None:
    for seed in range(20):
        text, _ = await answer(request(seed=seed, schema_=schema))
        jsonschema_rs.Draft202012Validator(schema).validate(json.loads(text))


async def test_plan_and_ballot_say_that_they_are_rehearsed() -> None:
    for schema in SCHEMAS[:2]:
        for seed in range(20):
            text, _ = await answer(request(seed=seed, schema_=schema))
            assert "rehears" in json.loads(text)["reason"].lower()


@pytest.mark.parametrize(("purpose", "key"), [("plan", "participants"), ("vote", "choice")])
async def test_without_a_schema_the_form_is_read_from_the_words(purpose: str, key: str) -> None:
    said = (
        f"{QUESTION}\n\nReply with JSON only. The ids are:\n- model_1: architect\n- model_2: coder"
    )
    asked = ChatRequest("instant", (ChatMessage("user", said),), purpose=purpose)
    value = json.loads((await answer(asked))[0])[key]
    assert set([value] if isinstance(value, str) else value) <= {"model_1", "model_2"}
    assert value


async def test_a_tool_is_called_when_asked_for_and_its_result_is_used() -> None:
    tool = Tool(
        "get_weather",
        "The weather of a town.",
        {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]},
    )
    said = ChatMessage("user", "Please get the weather in Lisbon.")
    text, end = await answer(ChatRequest("instant", (said,), tools=(tool,)))
    assert end.finish_reason == "tool_calls"
    assert "rehearsal" in text
    (call,) = end.tool_calls
    assert call.name == "get_weather"
    assert json.loads(call.arguments) == {"town": "Lisbon"}

    messages = (
        said,
        ChatMessage("assistant", text, tool_calls=(call,)),
        ChatMessage("tool", "Sunny and 21 degrees.", tool_call_id=call.id),
    )
    text, end = await answer(ChatRequest("instant", messages, tools=(tool,)))
    assert end.finish_reason == "stop"
    assert "Sunny and 21 degrees" in text

    _, end = await answer(ChatRequest("instant", (ChatMessage("user", "Hello"),), tools=(tool,)))
    assert end.tool_calls == ()


# --- tempers -----------------------------------------------------------------------------------


async def test_unknown_temper_lists_the_known_ones() -> None:
    with pytest.raises(ModelNotFound, match="steady, instant") as caught:
        await answer(request("angry"))
    assert not caught.value.retryable
    assert await provider().models() == tuple(TEMPERS)


async def test_flaky_fails_once_for_each_request_and_then_recovers() -> None:
    shared = provider(pace=1000)
    for seed in (1, 2):
        with pytest.raises(ProviderUnavailable) as caught:
            await answer(request("flaky", seed=seed), shared)
        assert caught.value.retryable
    for seed in (1, 2):
        text, _ = await answer(request("flaky", seed=seed), shared)
        assert text == (await answer(request(seed=seed)))[0]


async def test_failing_always_fails() -> None:
    shared = provider()
    for _ in range(3):
        with pytest.raises(ProviderUnavailable):
            await answer(request("failing"), shared)


@pytest.mark.parametrize(
    ("temper", "error"), [("cutting", BadResponse), ("stalling", ProviderUnavailable)]
)
async def test_cutting_and_stalling_fail_after_some_words(
    temper: str, error: type[Exception]
) -> None:
    got = ""

    async def listen() -> None:
        nonlocal got
        async for item in provider(pace=1000, stall_timeout=0.5).stream(request(temper, seed=1)):
            assert isinstance(item, Delta)
            got += item.text

    with pytest.raises(error):
        await asyncio.wait_for(listen(), 20)
    whole, _ = await answer(request(seed=1))
    assert whole.startswith(got)
    assert 10 < len(got) < len(whole)


async def test_late_waits_for_its_first_word_and_no_longer_than_it_may() -> None:
    clock = asyncio.get_running_loop().time
    start = clock()
    await answer(request("late", seed=1), provider(pace=100))
    assert clock() - start >= 0.08
    with pytest.raises(ProviderUnavailable, match="first_token_timeout"):
        await answer(request("late", seed=1), provider(first_token_timeout=0.01))


async def test_steady_takes_its_time() -> None:
    clock = asyncio.get_running_loop().time
    start = clock()
    text, _ = await answer(request("steady", seed=1), provider(pace=20))
    rate = len(text.split()) / (clock() - start)
    assert 30 < rate < 900  # 600 meant; a busy machine is slower, and none is much quicker


def test_unknown_options_are_named() -> None:
    with pytest.raises(ConfigError, match="'pase'"):
        provider(pase=2)
    with pytest.raises(ConfigError, match="pace"):
        provider(pace=0)
