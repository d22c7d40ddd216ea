"""What shows that an answer goes on, and what only keeps a connection alive."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from events.errors import BadResponse, ProviderUnavailable
from events.values import ToolCall
from tests.contract.every_provider import ASKED, serving, those_with
from tests.contract.provider_calls import Answered, listen
from tests.servers import chat
from tests.servers.dialects.anthropic import AnthropicDialect
from tests.servers.dialects.chat import ChatDialect
from tests.servers.dialects.responses import ResponsesDialect
from tests.servers.dialects.responses import event as response_event
from tests.servers.scripted import CUT, HANG, Step

CHAT, RESPONSES, CLAUDE = ChatDialect(), ResponsesDialect(), AnthropicDialect()
CALL = ToolCall(id="call_1", name="look_up", arguments='{"at": "a cat"}')


def paced(steps: Iterable[bytes], every: float) -> list[Step]:
    """The steps, each that many seconds after the one before."""
    loop = asyncio.get_running_loop()
    replies: list[Step] = []
    for index, step in enumerate(steps, 1):
        due = asyncio.Event()
        loop.call_later(index * every, due.set)
        replies += [due, step]
    return replies


def some_of_a_call(text: str) -> bytes:
    return chat.chunk(tool_calls=[{"index": 0, "function": {"arguments": text}}])


def thinking(**delta: Any) -> bytes:
    return CLAUDE.event("content_block_delta", index=1, delta=delta)


def item(kind: str) -> bytes:
    return response_event(
        f"response.output_item.{kind}",
        output_index=0,
        item={"type": "reasoning", "id": "rs_1", "summary": []},
    )


def argument(text: str) -> bytes:
    return response_event(
        "response.function_call_arguments.delta", item_id="fc_1", output_index=1, delta=text
    )


HIDDEN: dict[str, tuple[Any, list[bytes]]] = {
    "tool call of chat completions": (CHAT, [some_of_a_call("x")] * 6),
    "reasoning without summary": (RESPONSES, [item("added"), item("done")] * 3),
    "tool call of Responses": (RESPONSES, [argument("x")] * 6),
    "thinking that is omitted": (
        CLAUDE,
        [thinking(type="thinking_delta", thinking=""), thinking(type="signature_delta")] * 3,
    ),
}


@pytest.mark.parametrize(("dialect", "steps"), HIDDEN.values(), ids=HIDDEN.keys())
async def test_what_is_not_shown_is_progress_too(dialect: Any, steps: list[bytes]) -> None:
    """It takes longer altogether than a first piece may, and no pause in it does."""
    config = {"first_token_timeout": 1, "stall_timeout": 1}
    async with serving(dialect, *dialect.begin(), config=config) as (server, provider):
        server.replies.clear()
        shown = [dialect.piece("Yes."), *dialect.end()]
        server.reply(*dialect.begin(), *paced(steps, 0.25), *shown)
        assert (await listen(provider, ASKED)).text == "Yes."


KEPT_ALIVE: dict[str, tuple[Any, bytes]] = {
    "a comment": (CHAT, b": OPENROUTER PROCESSING\n\n"),
    "an empty piece": (CHAT, chat.chunk("")),
    "a ping": (CLAUDE, CLAUDE.event("ping")),
    "keepalive": (RESPONSES, response_event("keepalive")),
}


@pytest.mark.parametrize(("dialect", "sign"), KEPT_ALIVE.values(), ids=KEPT_ALIVE.keys())
@pytest.mark.parametrize("option", ["first_token_timeout", "stall_timeout"])
async def test_what_keeps_a_connection_alive_is_no_progress(
    dialect: Any, sign: bytes, option: str
) -> None:
    config = {"first_token_timeout": 30, "stall_timeout": 30, option: 0.4}
    begun = [dialect.piece("The ")] if option == "stall_timeout" else []
    async with serving(dialect, config=config) as (server, provider):
        server.replies.clear()
        server.reply(*begun, *paced([sign] * 300, 0.1), HANG)
        with pytest.raises(ProviderUnavailable, match=option):
            await asyncio.wait_for(listen(provider, ASKED), 20)


@those_with("tools")
async def test_a_tool_call_that_breaks_off_stalls_or_is_cut(dialect: Any) -> None:
    """Its server has worked on it, so that nobody asks again unasked."""
    config = {"first_token_timeout": 30, "stall_timeout": 0.3}
    begun = [*dialect.begin(), *dialect.calls(CALL)]
    async with serving(dialect, *begun, HANG, config=config) as (server, provider):
        answered = Answered()
        with pytest.raises(ProviderUnavailable, match="stall_timeout") as stalled:
            await asyncio.wait_for(listen(provider, ASKED, answered), 20)
        server.replies.clear()
        server.reply(*begun, CUT, content_type=dialect.content_type)
        with pytest.raises(BadResponse) as cut:
            await asyncio.wait_for(listen(provider, ASKED, answered), 20)
        assert stalled.value.accepted
        assert cut.value.accepted
        assert answered.deltas == []
