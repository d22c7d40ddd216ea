"""The dialects of Azure OpenAI are held honest by the vendor's own clients."""

from __future__ import annotations

import json

import openai
import pytest

from tests.contract.openai_client import hold_to_client
from tests.servers.dialects.azure_openai import (
    DEPLOYMENT,
    VERSION,
    AzureDialect,
    AzureV1Dialect,
    refused_prompt,
)
from tests.servers.dialects.dialect import KEY
from tests.servers.scripted import ScriptedServer, listening


def dated(url: str) -> openai.AsyncOpenAI:
    return openai.AsyncAzureOpenAI(
        azure_endpoint=url, api_key=KEY, api_version=VERSION, max_retries=0
    )


async def test_the_dated_surface_satisfies_the_vendor_s_client() -> None:
    dialect = AzureDialect()
    server = await hold_to_client(dialect, dated, DEPLOYMENT)
    for request in server.requests:
        assert dialect.authorised(request.headers)
        assert request.path == f"/openai/deployments/{DEPLOYMENT}/chat/completions"
        assert request.query == {"api-version": VERSION}


async def test_the_undated_surface_satisfies_the_vendor_s_client() -> None:
    def client(url: str) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=f"{url}/openai/v1", api_key=KEY, max_retries=0)

    server = await hold_to_client(AzureV1Dialect(), client, DEPLOYMENT)
    assert {request.path for request in server.requests} == {"/openai/v1/chat/completions"}


async def test_a_refused_prompt_is_read_by_the_vendor_s_client() -> None:
    server = ScriptedServer({})
    server.reply(refused_prompt(), status=400, content_type="application/json")
    async with listening(server), dated(server.url) as vendor:
        with pytest.raises(openai.BadRequestError) as caught:
            await vendor.chat.completions.create(
                model=DEPLOYMENT, messages=[{"role": "user", "content": "Hello"}]
            )
    assert caught.value.code == "content_filter"
    assert json.loads(refused_prompt())["error"] == caught.value.body
