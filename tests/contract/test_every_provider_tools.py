"""Tools with every type of provider: offered, called, answered, and called no more."""

from __future__ import annotations

import json
from dataclasses import replace

from actors.providers.port import ChatMessage, Tool
from events.values import Parameters, ToolCall
from tests.contract.every_provider import ASKED, answer, serving, those_with
from tests.contract.provider_calls import listen
from tests.servers.dialects.dialect import PICTURE, Dialect, Round, has

TOOL = Tool(
    "look_up",
    "Looks something up.",
    {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]},
)
CAT = ToolCall(id="call_1", name="look_up", arguments='{"at":"cat"}')
DOG = ToolCall(id="call_2", name="look_up", arguments='{"at":"Zürich"}')
BIRD = ToolCall(id="call_3", name="look_up", arguments='{"at":"bird"}')
CHAIN = (
    ChatMessage("user", "Where?"),
    ChatMessage("assistant", "Let me look.", tool_calls=(CAT, DOG)),
    ChatMessage("tool", "On the mat.", tool_call_id="call_1"),
    ChatMessage("tool", "Error: no such place", tool_call_id="call_2", is_error=True),
    ChatMessage("assistant", "", tool_calls=(BIRD,)),
    ChatMessage("tool", "Gone.", tool_call_id="call_3"),
)
ROUNDS = [
    Round(
        "Let me look.",
        (("look_up", {"at": "cat"}), ("look_up", {"at": "Zürich"})),
        ("On the mat.", "Error: no such place"),
    ),
    Round("", (("look_up", {"at": "bird"}),), ("Gone.",)),
]


@those_with("tools")
async def test_a_tool_is_offered_and_its_calls_are_read(dialect: Dialect) -> None:
    calls = (
        ToolCall(id="call_1", name="look_up", arguments='{"at":"cat"}'),
        ToolCall(id="call_2", name="look_up", arguments='{"at":"Zürich"}'),
    )
    steps = [*dialect.begin(), *dialect.calls(*calls), *dialect.end("tool_calls")]
    async with serving(dialect, *steps) as (server, provider):
        answered = await listen(provider, replace(ASKED, tools=(TOOL,)))
        assert answered.end.finish_reason == "tool_calls"
        read = answered.end.tool_calls
        assert [call.name for call in read] == ["look_up", "look_up"]
        assert [json.loads(call.arguments)["at"] for call in read] == ["cat", "Zürich"]
        assert len({call.id for call in read}) == 2
        offered = dialect.tool_of(server.requests[0].body)
        assert (offered.name, offered.description) == (TOOL.name, TOOL.description)
        assert offered.parameters["required"] == ["at"]


@those_with("tools")
async def test_what_a_tool_returned_goes_back_to_the_model(dialect: Dialect) -> None:
    asked = replace(ASKED, messages=CHAIN, tools=(TOOL,))
    async with serving(dialect, *answer(dialect, "On the mat.")) as (server, provider):
        assert (await listen(provider, asked)).text == "On the mat."
        body = server.requests[0].body
        assert dialect.rounds(body) == ROUNDS
        assert dialect.may_call(body)


@those_with("tools")
async def test_an_answer_with_calls_and_its_results_are_a_second_round(dialect: Dialect) -> None:
    thought = [dialect.thought("Hm.")] if has(dialect, "reasoning") else []
    calls = [*thought, dialect.piece("Let me look."), *dialect.calls(CAT, DOG)]
    first = [*dialect.begin(), *calls, *dialect.end("tool_calls")]
    async with serving(dialect, *first) as (server, provider):
        server.reply(*answer(dialect, "There."), content_type=dialect.content_type)
        asked = replace(ASKED, tools=(TOOL,))
        called = await listen(provider, asked)
        said = ChatMessage(
            "assistant",
            called.text,
            tool_calls=called.end.tool_calls,
            carried=called.end.carried,
        )
        results = [
            ChatMessage("tool", text, tool_call_id=call.id, is_error=text.startswith("Error"))
            for call, text in zip(said.tool_calls, ROUNDS[0].results, strict=True)
        ]
        again = replace(asked, messages=(*asked.messages, said, *results))
        assert (await listen(provider, again)).text == "There."
        assert dialect.rounds(server.requests[0].body) == []
        assert dialect.rounds(server.requests[1].body) == ROUNDS[:1]


@those_with("tools")
async def test_where_no_further_call_is_wanted_none_can_be_made(dialect: Dialect) -> None:
    forced = Parameters(extra={"tool_choice": "required"})  # which is not for the last round
    asked = replace(ASKED, messages=CHAIN, tools=(TOOL,), tool_choice="none", parameters=forced)
    async with serving(dialect, *answer(dialect, "On the mat.")) as (server, provider):
        await listen(provider, asked)
        body = server.requests[0].body
        assert not dialect.may_call(body)
        assert dialect.rounds(body) == ROUNDS


@those_with("images")
async def test_a_picture_that_a_tool_returned_is_sent(dialect: Dialect) -> None:
    seen = replace(CHAIN[2], images=(PICTURE,))
    asked = replace(ASKED, messages=(*CHAIN[:2], seen, *CHAIN[3:]), tools=(TOOL,))
    async with serving(dialect, *answer(dialect, "A cat.")) as (server, provider):
        await listen(provider, asked)
        body = server.requests[0].body
        assert json.dumps(body).count(PICTURE.base64) == 1
        assert dialect.rounds(body) == ROUNDS
