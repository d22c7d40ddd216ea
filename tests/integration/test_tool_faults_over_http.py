"""What a tool server over HTTP does wrong harms nothing but its own call."""

from __future__ import annotations

from typing import Any

import pytest

from actors.tools.attempt import Attempt
from tests.integration.tool_calls import calling, configured
from tests.servers.mcp_over_http import over_http
from tests.waiting import eventually


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


async def test_a_flood_of_notifications_is_thinned(
    module_nats_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reached: list[float] = []

    async def progressed(attempt: Attempt, progress: float, *rest: Any) -> None:
        reached.append(progress)

    monkeypatch.setattr(Attempt, "_progressed", progressed)
    monkeypatch.setattr("actors.tools.flood.EACH_SECOND", 20)
    with over_http() as server:
        async with calling(module_nats_url, configured("z", {"url": server.url})) as caller:
            assert await caller.text("progress", times=5000) == "done"
    assert 20 <= len(reached) <= 2000  # 20 in each second that it took
    assert "z sends notifications without end" in caplog.text


async def test_that_all_is_done_is_shown_once(module_nats_url: str) -> None:
    with over_http() as server:
        async with calling(module_nats_url, configured("z", {"url": server.url})) as caller:
            assert await caller.text("progress", times=100) == "done"
            await eventually(lambda: caller.deltas, within=10, what="what is shown")
            shown = "".join(delta["text"] for delta in caller.deltas)
            assert shown.count("1 of 1") <= 20
