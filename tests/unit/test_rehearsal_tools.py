"""A rehearsing model calls the tools that it is told to use, and answers with what they gave."""

from __future__ import annotations

import json

import pytest

from actors.providers.port import ChatMessage, ChatRequest, Tool
from actors.providers.rehearsal_tools import Wish, wishes
from events.values import Parameters, ToolCall
from tests.unit.test_rehearsal import answer

PATH = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
TOOLS = (
    Tool("files__read_file", "Reads a file.", PATH),
    Tool("files__list", "Lists files.", {"type": "object"}),
    Tool("clock__now", "Tells the time.", {"type": "object"}),
)


async def round_of(*messages: ChatMessage, **more: object) -> tuple[str, tuple[ToolCall, ...]]:
    request = ChatRequest("instant", messages, tools=TOOLS, **more)  # type: ignore[arg-type]
    text, end = await answer(request)
    assert (end.finish_reason == "tool_calls") is bool(end.tool_calls)
    return text, end.tool_calls


def done(text: str, calls: tuple[ToolCall, ...], *results: str) -> tuple[ChatMessage, ...]:
    """An answer with calls, and what came of them."""
    told = zip(calls, results, strict=True)
    return (
        ChatMessage("assistant", text, tool_calls=calls),
        *(ChatMessage("tool", result, tool_call_id=call.id) for call, result in told),
    )


async def test_a_direction_is_one_call_with_its_arguments_and_its_result_is_the_answer() -> None:
    said = ChatMessage("user", 'Please use files__read_file {"path": "a }.txt"} and sum it up.')
    text, calls = await round_of(said)
    [call] = calls
    assert (call.name, call.arguments) == ("files__read_file", '{"path": "a }.txt"}')
    assert "rehearsal" in text
    text, calls = await round_of(said, *done(text, calls, "seven lines"))
    assert calls == ()
    assert "rehearsal" in text
    assert "files__read_file returned: seven lines" in text


async def test_directions_are_carried_out_at_once_and_what_follows_a_then_later() -> None:
    said = ChatMessage(
        "user", 'Use clock__now and use files__list {}. Then use files__read_file {"path": "b"}.'
    )
    text, first = await round_of(said)
    assert [call.name for call in first] == ["clock__now", "files__list"]
    assert len({call.id for call in first}) == 2
    so_far = (said, *done(text, first, "noon", "b"))
    text, second = await round_of(*so_far)
    assert [call.arguments for call in second] == ['{"path": "b"}']
    text, third = await round_of(*so_far, *done(text, second, "hello"))
    assert third == ()
    assert [line.partition(":")[2] for line in text.split("\n\n")[1:]] == [" noon", " b", " hello"]


async def test_without_a_direction_or_where_no_call_is_wanted_it_answers() -> None:
    for text in ("Which files are there?", "Do we use SQLite?", "use nothing", "use files__gone"):
        assert (await round_of(ChatMessage("user", text)))[1] == ()
    said = ChatMessage("user", "use clock__now")
    assert (await round_of(said, tool_choice="none"))[1] == ()
    assert len((await round_of(said))[1]) == 1


async def test_a_direction_of_an_earlier_message_is_not_carried_out_again() -> None:
    said = ChatMessage("user", "use clock__now")
    text, calls = await round_of(said)
    later = (said, *done(text, calls, "noon"), ChatMessage("assistant", "It is noon."))
    assert (await round_of(*later, ChatMessage("user", "Thank you.")))[1] == ()
    assert len((await round_of(*later, said))[1]) == 1


async def test_arguments_that_are_not_given_are_made_up_and_fit() -> None:
    [call] = (await round_of(ChatMessage("user", "use files__read_file on Friday")))[1]
    assert isinstance(json.loads(call.arguments)["path"], str)


async def test_a_schema_shapes_the_answer_after_the_calls() -> None:
    said = ChatMessage("user", "use clock__now")
    parameters = Parameters(schema_={"type": "integer", "minimum": 3, "maximum": 3})
    text, calls = await round_of(said, parameters=parameters)
    assert len(calls) == 1
    assert (await round_of(said, *done(text, calls, "noon"), parameters=parameters))[0] == "3"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("use `files:read_file` with {}", Wish("files__read_file", "{}")),
        ("Use the tool read_file {}", Wish("files__read_file", "{}")),
        ("use files__gone {}", Wish("files__gone", "{}")),
        ("use clock__now.", Wish("clock__now", None)),
        ('use clock__now {"a": \nand so on', Wish("clock__now", '{"a": ')),
    ],
)
def test_directions_are_read_as_people_write_them(text: str, wanted: Wish) -> None:
    assert wishes(text, TOOLS) == [[wanted]]


async def test_where_a_tool_has_to_be_called_the_first_not_called_yet_is() -> None:
    said = ChatMessage("user", "Hello.")
    so_far: tuple[ChatMessage, ...] = (said,)
    calls: tuple[ToolCall, ...] = ()
    for name in ("files__read_file", "files__list", "clock__now", "files__read_file"):
        text, calls = await round_of(*so_far, tool_choice="required")
        assert [call.name for call in calls] == [name]
        so_far = (*so_far, *done(text, calls, "done"))
    assert isinstance(json.loads(calls[0].arguments)["path"], str)
    assert (await round_of(*so_far))[1] == ()
    alone = ChatMessage("system", "Hello.")
    assert len((await round_of(alone, tool_choice="required"))[1]) == 1


async def test_what_a_direction_wants_comes_before_what_has_to_be_called() -> None:
    said = ChatMessage("user", "use clock__now")
    text, calls = await round_of(said, tool_choice="required")
    assert [call.name for call in calls] == ["clock__now"]
    _, again = await round_of(said, *done(text, calls, "noon"), tool_choice="required")
    assert [call.name for call in again] == ["files__read_file"]
