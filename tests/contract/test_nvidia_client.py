"""The dialect of NIM is held honest by the client that NVIDIA's documentation uses."""

from __future__ import annotations

import openai

from tests.contract.openai_client import hold_to_client
from tests.servers.dialects.dialect import KEY, MODEL
from tests.servers.dialects.nvidia import NvidiaDialect


async def test_the_dialect_satisfies_the_client() -> None:
    def client(url: str) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0)

    dialect = NvidiaDialect()
    server = await hold_to_client(dialect, client, MODEL)
    assert all(dialect.authorised(request.headers) for request in server.requests)
