"""The scripted server is held honest by the vendor's own client."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.servers.chat import chat_server, error, event, whole


async def test_the_scripted_server_satisfies_the_vendor_s_own_client() -> None:
    async with (
        chat_server() as server,
        openai.AsyncOpenAI(base_url=server.base_url, api_key="none", max_retries=0) as vendor,
    ):

        async def ask() -> tuple[str, Any]:
            text, counted = "", None
            stream = await vendor.chat.completions.create(
                model="a-model",
                messages=[{"role": "user", "content": "Hello"}],
                stream=True,
                stream_options={"include_usage": True},
            )
            async for item in stream:
                counted = item.usage or counted
                for choice in item.choices:
                    text += choice.delta.content or ""
            return text, counted

        server.reply(*whole("The ", "log."))
        text, counted = await ask()
        assert text == "The log."
        assert counted.prompt_tokens == 10
        assert [model.id async for model in vendor.models.list()] == ["a-model"]
        for status, raised in (
            (401, openai.AuthenticationError),
            (404, openai.NotFoundError),
            (429, openai.RateLimitError),
            (500, openai.InternalServerError),
        ):
            server.replies.clear()
            server.reply(error("no"), status=status, content_type="application/json")
            with pytest.raises(raised):
                await ask()
        server.replies.clear()
        server.reply(event({"error": {"message": "in the stream"}}))
        with pytest.raises(openai.APIError, match="in the stream"):
            await ask()
