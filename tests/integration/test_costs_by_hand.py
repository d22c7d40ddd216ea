"""Five types of providers under every router: each cost is what a calculation by hand gives."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from actors.providers.config import ProviderSpec
from events.values import Usage
from tests.rooms import LocalRoom, local_room
from tests.servers.dialects.anthropic import AnthropicDialect
from tests.servers.dialects.azure_openai import AzureDialect
from tests.servers.dialects.chat import ChatDialect
from tests.servers.dialects.dialect import MODEL, Dialect
from tests.servers.dialects.nvidia import NvidiaDialect
from tests.servers.dialects.ollama import OllamaDialect
from tests.servers.scripted import ScriptedServer, listening


class Seat(NamedTuple):
    """A participant on a provider of its own: what each answer uses, and what that costs."""

    dialect: Dialect
    prices: dict[str, Any]
    usage: Usage
    cost: Decimal | None
    """US dollars of one answer, by hand; None where it depends on how long the answer took."""


SEATS = {
    # 1000 x 3.00 + 400 x 0.30 + 100 x 3.75 + 50 x 15.00 = 4245 for a million
    "ann": Seat(
        AnthropicDialect(),
        {"input": "3", "cache_read": "0.3", "cache_write": "3.75", "output": "15"},
        Usage(input=1000, cache_read=400, cache_write=100, output=50),
        Decimal("0.004245"),
    ),
    # 800 x 2.50 + 200 x 1.25 + (70 + 30) x 10.00 = 3250 for a million
    "ben": Seat(
        ChatDialect(),
        {"input": "2.5", "cache_read": "1.25", "output": "10"},
        Usage(input=800, cache_read=200, output=70, reasoning=30),
        Decimal("0.00325"),
    ),
    # 700 x 1.00 + 40 x 2.00 = 780 for a million, and 0.001 for the request
    "cyd": Seat(
        AzureDialect(),
        {"input": "1", "output": "2", "request": "0.001"},
        Usage(input=700, output=40),
        Decimal("0.00178"),
    ),
    # (333 + 111) x 0.07 = 31.08 for a million
    "dan": Seat(
        NvidiaDialect(),
        {"input": "0.07", "output": "0.07"},
        Usage(input=333, output=111),
        Decimal("0.00003108"),
    ),
    # 0.36 an hour is 0.0001 a second
    "eve": Seat(OllamaDialect(), {"hour": "0.36"}, Usage(input=20, output=9), None),
}
IDS = tuple(SEATS)

PLAN = json.dumps({"participants": ["ben", "cyd", "dan", "eve"], "reason": "all of them"})
TEXTS: dict[str, dict[str, list[str]]] = {
    "broadcast": {id: [f"{id} answers"] for id in IDS},
    "coordinator": {id: [f"{id} answers"] for id in IDS} | {"ann": [PLAN, "together"]},
    "round_robin": {id: [f"{id} speaks"] * 2 for id in IDS},
    "voting": {
        id: [f"{id} proposes", json.dumps({"choice": "ben" if id != "ben" else "ann"})]
        for id in IDS
    },
}
"""What each one's server says, call by call."""
MORE: dict[str, dict[str, Any]] = {
    "broadcast": {},
    "coordinator": {"coordinator": "ann"},
    "round_robin": {"rounds": 2},
    "voting": {},
}


class House(NamedTuple):
    """The room, and the model server of each participant."""

    room: LocalRoom
    servers: dict[str, ScriptedServer]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        servers, specs = {}, []
        for id, seat in SEATS.items():
            servers[id] = ScriptedServer(seat.dialect.pages())
            await stack.enter_async_context(listening(servers[id]))
            config = {
                **seat.dialect.config(servers[id].url),
                "api_key": "a-key",
                "prices": {"*": {**seat.prices, "table": f"{id}'s contract"}},
            }
            specs.append(ProviderSpec(id=seat.dialect.type, type=seat.dialect.type, config=config))
        yield House(await stack.enter_async_context(local_room(tmp_path, *specs)), servers)


async def hold(house: House, pattern: str) -> dict[str, Any]:
    """A session of one message under that router; returns its costs."""
    room, servers = house
    for id, texts in TEXTS[pattern].items():
        dialect, usage = SEATS[id].dialect, SEATS[id].usage
        servers[id].replies.clear()
        for text in texts:
            steps = [*dialect.begin(), dialect.piece(text), *dialect.end(usage=usage)]
            servers[id].reply(*steps, content_type=dialect.content_type)
    models = [
        {"id": id, "provider": seat.dialect.type, "model_name": MODEL, "role": id}
        for id, seat in SEATS.items()
    ]
    tags = ["by hand", pattern]
    await room.create(pattern, models=models, routing_pattern=pattern, tags=tags, **MORE[pattern])
    turn = await room.post(pattern, "What does it cost?", wait=30)
    assert turn["status"] == "completed", turn
    replay = (await room.http.post(f"/v1/sessions/{pattern}/replay")).json()
    assert replay["identical"] is True
    assert replay["events"] == turn["position"]
    costs: dict[str, Any] = (await room.http.get(f"/v1/sessions/{pattern}/costs")).json()
    return costs


async def by_hand(room: LocalRoom, session: str) -> dict[str, Decimal]:
    """What every participant has cost: their calls, each at the price of one."""
    events = (await room.http.get(f"/v1/sessions/{session}/events?limit=1000")).json()["events"]
    spent = dict.fromkeys(IDS, Decimal(0))
    for event in events:
        if event["type"] == "model.answered":
            id = event["data"]["step"].split(":")[1]
            seconds = Decimal(str(round(event["data"]["payload"]["duration_ms"] / 1000, 3)))
            cost = SEATS[id].cost
            spent[id] += seconds * Decimal("0.0001") if cost is None else cost
    return spent


async def test_costs_equal_a_calculation_by_hand_under_every_router(house: House) -> None:
    room = house.room
    together = dict.fromkeys(IDS, Decimal(0))
    for pattern, texts in TEXTS.items():
        costs = await hold(house, pattern)
        spent = await by_hand(room, pattern)
        lines = {line["name"]: line for line in costs["by_participant"]}
        for id in IDS:
            assert lines[id]["calls"] == len(texts[id]), (pattern, id)
            assert Decimal(lines[id]["cost"]) == spent[id], (pattern, id)
            fixed = SEATS[id].cost
            if fixed is not None:
                assert spent[id] == len(texts[id]) * fixed
            each = SEATS[id].usage.model_dump(exclude={"estimated"})
            used = {name: count * len(texts[id]) for name, count in each.items()}
            assert lines[id]["usage"] == used | {"estimated": False}
            together[id] += spent[id]
        assert costs["total"]["unpriced"] == 0
        assert Decimal(costs["total"]["cost"]) == sum(spent.values())

    whole = (await room.http.get("/v1/costs", params={"prices": "current"})).json()
    by_provider = {line["name"]: line for line in whole["by_provider"]}
    for id, seat in SEATS.items():
        assert Decimal(by_provider[seat.dialect.type]["cost"]) == together[id]
    by_tag = {line["name"]: Decimal(line["cost"]) for line in whole["by_tag"]}
    assert by_tag["by hand"] == sum(together.values()) == Decimal(whole["total"]["cost"])
    assert sum(cost for tag, cost in by_tag.items() if tag != "by hand") == by_tag["by hand"]
    # 1 + 2 + 2 + 2 answers of Ann, and so on: 0.004245 x 7 = 0.029715
    assert together["ann"] == Decimal("0.029715")
    assert together["ben"] == Decimal("0.0195")  # 6 x 0.00325
    assert together["cyd"] == Decimal("0.01068")  # 6 x 0.00178
    assert together["dan"] == Decimal("0.00018648")  # 6 x 0.00003108
    # The same prices again give the same, also by the hour.
    assert whole["total"]["repriced"]["cost"] == whole["total"]["cost"]
    assert whole["total"]["repriced"]["priced"] == whole["total"]["calls"] == 7 + 4 * 6
