"""What a tool server over HTTP does wrong harms nothing but its own call."""

from __future__ import annotations

import pytest

from tests.integration.tool_calls import calling, configured
from tests.servers.mcp_over_http import over_http


@pytest.mark.parametrize("tool", ["packed", "packed_stream"])
async def test_an_answer_that_is_packed_is_not_unpacked(module_nats_url: str, tool: str) -> None:
    with over_http() as server:
        spec = configured("z", {"url": server.url, "headers": {"Accept-Encoding": "gzip"}})
        async with calling(module_nats_url, spec) as caller:
            error, message = await caller.failure(tool, bytes=1000)
            assert error == "BadResult"
            assert "its answer is encoded as 'gzip'" in message
            assert await caller.text("echo") == "x"
        assert server.encodings == {"identity"}


async def test_an_answer_that_is_too_long_harms_only_its_call(
    module_nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.tools.http.LONGEST_LINE", 2_000_000)
    with over_http() as server:
        async with calling(module_nats_url, configured("z", {"url": server.url})) as caller:
            error, message = await caller.failure("echo", bytes=3_000_000)
            assert error == "BadResult"
            assert "more than 2000000 bytes" in message
            assert await caller.text("echo") == "x"
            assert all(listing.up or not listing.problem for listing in caller.listings)
