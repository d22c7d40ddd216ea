"""Providers that make a text of a conversation by the participant's template themselves.

That takes processor time, up to the bound of the sandbox, so it is done in a thread: the loop goes
on with all other answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from actors.providers.chat_template import rendered
from actors.providers.http_provider import HttpProvider
from actors.providers.port import ChatRequest, Delta, Finished


class TemplatedProvider(HttpProvider):
    """See the module; stands before the class whose requests are to be rendered so."""

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Delta | Finished, None]:
        if request.chat_template:
            request = await asyncio.to_thread(rendered, request)
        async with aclosing(super().stream(request)) as items:
            async for item in items:
                yield item
