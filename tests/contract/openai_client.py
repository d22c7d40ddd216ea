"""What the client of OpenAI must get from any dialect of chat completions."""

from __future__ import annotations

from collections.abc import Callable

import openai
import pytest

from events.values import ToolCall
from tests.servers.dialects.dialect import COMPLETION, PROMPT, SERVED, Dialect
from tests.servers.scripted import ScriptedServer, listening

REFUSALS: list[tuple[int, type[openai.APIStatusError]]] = [
    (400, openai.BadRequestError),
    (401, openai.AuthenticationError),
    (404, openai.NotFoundError),
    (422, openai.UnprocessableEntityError),
    (429, openai.RateLimitError),
    (500, openai.InternalServerError),
    (503, openai.InternalServerError),
]


async def hold_to_client(
    dialect: Dialect, client: Callable[[str], openai.AsyncOpenAI], model: str
) -> ScriptedServer:
    """A whole answer, a stream with its usage, a tool call, the refusals, an error in a stream.

    `client` makes the vendor's client for an address.
    """
    server = ScriptedServer(dialect.pages())
    async with listening(server), client(server.url) as vendor:
        server.reply(dialect.body("The event log."), content_type="application/json")
        whole = await vendor.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "Hello"}]
        )
        assert whole.choices[0].message.content == "The event log."
        assert whole.choices[0].finish_reason == "stop"
        assert whole.usage is not None
        assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (PROMPT, COMPLETION)

        call = ToolCall(id="call_1", name="look_up", arguments='{"at":"Zürich"}')
        pieces = [dialect.piece("The "), dialect.piece("log.")]
        server.replies.clear()
        server.reply(*dialect.begin(), *pieces, *dialect.calls(call), *dialect.end("tool_calls"))
        text, name, arguments, finish, counted, served = "", "", "", "", None, ""
        stream = await vendor.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": "Hello"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        async for item in stream:
            counted, served = item.usage or counted, item.model or served
            for choice in item.choices:
                finish = choice.finish_reason or finish
                # Azure leaves it out where the filter speaks later.
                delta = getattr(choice, "delta", None)
                if delta is None:
                    continue
                text += delta.content or ""
                for part in delta.tool_calls or ():
                    assert part.function is not None
                    name += part.function.name or ""
                    arguments += part.function.arguments or ""
        assert (text, name, arguments) == ("The log.", call.name, call.arguments)
        assert (finish, served) == ("tool_calls", SERVED)
        assert counted is not None
        assert (counted.prompt_tokens, counted.completion_tokens) == (PROMPT, COMPLETION)

        for status, raised in REFUSALS:
            server.replies.clear()
            body = dialect.failure(status, "it says why")
            server.reply(body, status=status, content_type="application/json")
            with pytest.raises(raised) as caught:
                await vendor.chat.completions.create(
                    model=model, messages=[{"role": "user", "content": "Hello"}]
                )
            assert "it says why" in str(caught.value.body)
    return server
