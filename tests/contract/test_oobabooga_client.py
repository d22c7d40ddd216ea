"""The dialect of text-generation-webui is held honest by the client that its docs name."""

from __future__ import annotations

import openai

from tests.contract.openai_client import hold_to_client
from tests.servers.dialects.dialect import MODEL
from tests.servers.dialects.oobabooga import OobaboogaDialect


def vendor(url: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)


async def test_the_dialect_satisfies_the_vendor_s_client() -> None:
    server = await hold_to_client(OobaboogaDialect(), vendor, MODEL)
    assert {request.path for request in server.requests} == {"/v1/chat/completions"}
