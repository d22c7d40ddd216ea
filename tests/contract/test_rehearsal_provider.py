"""The suite of every provider, for the one that asks no server: its tempers are its failures.

Each test has the name of the case that it is; those that do not apply are in `NOT_FOR_IT`.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final

import pytest

from actors.providers.port import ChatMessage, ChatRequest, Delta, Tool
from actors.providers.rehearsal import TEMPERS
from events.errors import BadResponse, ModelNotFound, ProviderError, ProviderUnavailable
from events.values import Parameters
from tests.contract.provider_calls import Answered, listen, made

NO_SERVER: Final = "no server answers that could send this"
NO_BYTES: Final = "no bytes arrive"

NOT_FOR_IT: Final = {
    "test_a_whole_answer_is_read_as_well": "it has no such option: `instant` is quick enough",
    "test_unicode_is_whole_however_the_bytes_are_cut": NO_BYTES,
    "test_a_complete_answer_is_one_though_its_connection_is_cut_then": "it has no connection",
    "test_a_long_answer_is_whole": "its own prose is short",
    "test_an_answer_without_end_is_broken_off": "its own prose ends",
    "test_a_whole_answer_without_end_is_broken_off": "its own prose ends",
    "test_reasoning_is_kept_apart": "it does not think",
    "test_a_picture_is_sent": "it does not see, and its capabilities say so",
    "test_a_picture_that_a_tool_returned_is_sent": "it does not see, and its capabilities say so",
    "test_extra_parameters_are_passed_through": "there is nobody to pass them to",
    "test_retry_after_is_obeyed": NO_SERVER,
    "test_a_whole_answer_has_a_time_limit_of_its_own": "it has no such option",
    "test_malformed_json_is_a_bad_response": NO_BYTES,
    "test_another_content_type_is_a_bad_response": NO_BYTES,
    "test_a_redirect_is_not_followed": NO_SERVER,
}

SCHEMA = {"type": "object", "properties": {"go": {"type": "boolean"}}, "required": ["go"]}
TOOL = Tool("look_up", "Looks something up.", {"type": "object", "properties": {}})


def asked(model: str = "instant", **parameters: Any) -> ChatRequest:
    said = ChatMessage("user", "Say something about the event log.")
    return ChatRequest(model, (said,), Parameters(seed=3, **parameters))


async def answered(request: ChatRequest, **config: Any) -> Answered:
    async with made("rehearsal", **config) as provider:
        return await listen(provider, request)


async def failing(request: ChatRequest, **config: Any) -> tuple[ProviderError, Answered]:
    """The error, and what came before it."""
    heard = Answered()
    async with made("rehearsal", pace=10_000, **config) as provider:
        with pytest.raises(ProviderError) as caught:
            await asyncio.wait_for(listen(provider, request, heard), 20)
    return caught.value, heard


async def test_an_answer_comes_in_pieces_with_its_usage() -> None:
    answer = await answered(asked("steady"), pace=10_000)
    assert len(answer.deltas) > 5
    assert "event log" in answer.text
    assert answer.end.finish_reason == "stop"
    assert answer.end.usage is not None
    assert answer.end.usage.input >= 8
    assert answer.end.usage.output >= len(answer.deltas)
    assert answer.end.notes == ("a rehearsal: no model was asked",)


async def test_a_piece_is_given_out_when_it_comes() -> None:
    async with made("rehearsal") as provider, aclosing(provider.stream(asked("slow"))) as stream:
        # The whole would take more than a minute.
        for _ in range(2):
            assert isinstance(await asyncio.wait_for(anext(stream), 20), Delta)


async def test_an_empty_answer_is_an_answer() -> None:
    first = (await answered(asked())).text.split()[0]
    answer = await answered(asked(stop=(first,)))
    assert answer.text == ""
    assert answer.end.finish_reason == "stop"


async def test_an_answer_that_was_too_long_says_so() -> None:
    answer = await answered(asked(max_tokens=8))
    assert answer.end.finish_reason == "length"
    assert answer.end.usage is not None
    assert 0 < answer.end.usage.output <= 8


async def test_a_tool_is_offered_and_its_calls_are_read() -> None:
    said = ChatMessage("user", "Please look up the event log.")
    answer = await answered(replace(asked(), messages=(said,), tools=(TOOL,)))
    assert answer.end.finish_reason == "tool_calls"
    [call] = answer.end.tool_calls
    assert call.name == "look_up"
    assert json.loads(call.arguments) == {}


async def test_what_a_tool_returned_goes_back_to_the_model() -> None:
    said = ChatMessage("user", "Please look up the event log.")
    called = await answered(replace(asked(), messages=(said,), tools=(TOOL,)))
    [call] = called.end.tool_calls
    asking = ChatMessage("assistant", called.text, tool_calls=(call,))
    result = ChatMessage("tool", "It is on the mat.", tool_call_id=call.id)
    request = replace(asked(), messages=(said, asking, result), tools=(TOOL,))
    assert "It is on the mat" in (await answered(request)).text


async def test_an_answer_with_calls_and_its_results_are_a_second_round() -> None:
    said = ChatMessage("user", "use look_up, and then use look_up {}")
    messages: tuple[ChatMessage, ...] = (said,)
    for result in ("on the mat", "gone"):
        called = await answered(replace(asked(), messages=messages, tools=(TOOL,)))
        [call] = called.end.tool_calls
        asking = ChatMessage("assistant", called.text, tool_calls=(call,))
        messages = (*messages, asking, ChatMessage("tool", result, tool_call_id=call.id))
    last = await answered(replace(asked(), messages=messages, tools=(TOOL,)))
    assert last.end.tool_calls == ()
    assert "on the mat" in last.text
    assert "gone" in last.text


async def test_where_no_further_call_is_wanted_none_can_be_made() -> None:
    said = ChatMessage("user", "use look_up")
    request = replace(asked(), messages=(said,), tools=(TOOL,), tool_choice="none")
    assert (await answered(request)).end.tool_calls == ()


async def test_a_schema_is_sent() -> None:
    answer = await answered(asked(schema_=SCHEMA))
    assert isinstance(json.loads(answer.text)["go"], bool)


async def test_parameters_are_sent_under_the_names_of_the_vendor() -> None:
    one, again = await answered(asked()), await answered(asked())
    assert one.text == again.text
    other = replace(asked(), parameters=Parameters(seed=4))
    assert (await answered(other)).text != one.text


@pytest.mark.parametrize("begun", [False, True], ids=["before", "in-between"])
async def test_cancel_reaches_the_server(begun: bool) -> None:
    async with made("rehearsal") as provider:
        heard, started = Answered(), asyncio.Event()

        async def listening() -> None:
            async with aclosing(provider.stream(asked("slow" if begun else "late"))) as stream:
                if not begun:
                    asyncio.get_running_loop().call_soon(started.set)
                async for item in stream:
                    assert isinstance(item, Delta)
                    heard.deltas.append(item)
                    started.set()

        task = asyncio.create_task(listening())
        await asyncio.wait_for(started.wait(), 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 20)
        assert bool(heard.deltas) is begun


async def test_the_models_are_listed() -> None:
    async with made("rehearsal") as provider:
        assert await provider.models() == tuple(TEMPERS)
        able = [provider.capabilities(model) for model in TEMPERS]
    assert all(one.tools and one.structured_output and not one.images for one in able)


async def test_a_stop_sequence_ends_the_answer() -> None:
    whole = (await answered(asked())).text
    third = whole.split()[2]
    answer = await answered(asked(stop=(third,)))
    assert answer.text == whole[: whole.index(third)]
    assert answer.end.finish_reason == "stop"


async def test_a_refusal_has_its_class_and_says_what_to_do() -> None:
    error, _ = await failing(asked("angry"))
    assert type(error) is ModelNotFound
    assert not error.retryable
    assert "use one of steady" in error.message


async def test_a_server_that_is_loading_is_unavailable_for_now() -> None:
    error, _ = await failing(asked("flaky"))
    assert type(error) is ProviderUnavailable
    assert error.retryable
    assert "ask again" in error.message
    assert not error.accepted


async def test_a_late_first_token_is_not_waited_for_without_end() -> None:
    # A model that needs eight seconds, ten thousand times as fast.
    error, heard = await failing(asked("late"), first_token_timeout=0.0005)
    assert type(error) is ProviderUnavailable
    assert error.retryable
    assert "first_token_timeout" in error.message
    assert error.accepted
    assert heard.deltas == []


async def test_a_stream_that_stalls_fails() -> None:
    error, heard = await failing(asked("stalling"), stall_timeout=0.5)
    assert type(error) is ProviderUnavailable
    assert error.retryable
    assert error.accepted
    assert heard.text


async def test_a_stream_without_its_end_is_no_answer() -> None:
    error, heard = await failing(asked("cutting"))
    assert type(error) is BadResponse
    assert error.retryable
    assert error.accepted
    assert heard.text


async def test_a_server_that_hangs_up_is_unavailable() -> None:
    error, heard = await failing(asked("failing"))
    assert type(error) is ProviderUnavailable
    assert error.retryable
    assert not error.accepted
    assert heard.deltas == []


async def test_after_a_failure_the_next_call_succeeds() -> None:
    async with made("rehearsal", pace=10_000) as provider:
        with pytest.raises(ProviderUnavailable):
            await listen(provider, asked("flaky"))
        assert (await listen(provider, asked("flaky"))).text
