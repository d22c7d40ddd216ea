"""`costs` with its bounds, and `choices`, as processes against a real room."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from actors.providers.config import ProviderSpec
from tests.commands import run
from tests.rooms import LocalRoom, local_room

PRICED = ProviderSpec(
    id="priced", type="rehearsal", config={"prices": {"*": {"request": "0.25"}}, "pace": 50}
)


@pytest.fixture(scope="module")
async def room(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalRoom]:
    """A room with five messages to a tagged session, and one to another."""
    folder: Path = tmp_path_factory.mktemp("room")
    async with local_room(folder, PRICED) as room:
        seats = [
            {"id": name, "provider": "priced", "model_name": name} for name in ("instant", "slow")
        ]
        await room.create("tagged", models=seats, routing_pattern="voting", tags=["trial"])
        for _ in range(5):
            await room.post("tagged", wait=30)
        await room.create("plain", "a")
        await room.post("plain", wait=20)
        yield room


async def test_costs_by_tag_model_and_day(room: LocalRoom) -> None:
    by_tag = await run(room, "costs", "--by", "tag")
    assert (by_tag.code, by_tag.err) == (0, "")
    assert re.search(r"^trial +20 .*\$5\.00 *$", by_tag.out, re.MULTILINE)
    assert re.search(r"^together +21 ", by_tag.out, re.MULTILINE)
    by_model = (await run(room, "costs", "--by", "model", "--tag", "trial")).out
    assert re.search(r"^priced/instant +10 .*\$2\.50 *$", by_model, re.MULTILINE)
    assert re.search(r"^together +20 ", by_model, re.MULTILINE)
    report = json.loads((await run(room, "costs", "--from", "2999-01-01", "--json")).out)
    assert report["total"]["calls"] == 0


async def test_costs_by_other_prices_stand_beside_what_was_recorded(room: LocalRoom) -> None:
    tables = {"half": {"priced": {"instant": {"request": "0.125"}}}}
    (room.settings.home / "prices.json").write_text(json.dumps(tables))
    done = await run(room, "costs", "--by", "model", "--prices", "half")
    assert re.search(r"^model .* cost +by half *$", done.out, re.MULTILINE)
    assert re.search(r"^priced/instant .*\$2\.50 +\$1\.25 *$", done.out, re.MULTILINE)
    assert re.search(r"^priced/slow .*\$2\.50 +- *$", done.out, re.MULTILINE)
    assert re.search(r"^together .*\$5\.00 +\$1\.25 \+ 11 unpriced *$", done.out, re.MULTILINE)
    report = json.loads((await run(room, "costs", "--prices", "half", "--json")).out)
    assert Decimal(report["total"]["repriced"]["cost"]) == Decimal("1.25")


async def test_bounds_that_cannot_be_are_wrong_use(room: LocalRoom) -> None:
    for wrong, why in (
        (("plain", "--tag", "trial"), "for the whole room"),
        (("--by", "participant"), "needs a session"),
        (("plain", "--by", "session"), "for the whole room"),
        (("--from", "yesterday"), "from"),
        (("--prices", "nowhere"), "prices.json"),
    ):
        done = await run(room, "costs", *wrong)
        assert (done.code, done.out) == (2, ""), wrong
        assert why in done.err, wrong


async def test_budgets_and_their_warnings_are_shown(room: LocalRoom) -> None:
    seat = {"provider": "priced", "model_name": "instant", "max_tokens": 9}
    seats = [{"id": "a", "budget": "0.30", **seat}, {"id": "b", **seat}]
    await room.create("bounded", models=seats, budget={"limit": "1", "warn_at": ["0.4", "0.9"]})
    await room.post("bounded", wait=20)
    lines = (
        "budget of the session: $0.50 of $1.00 spent, past the warning at 40%",
        "budget of a: $0.25 of $0.30 spent, past the warning at 80%",
    )
    for command in ("show", "costs"):
        done = await run(room, command, "bounded")
        assert (done.code, done.err) == (0, "")
        assert all(line in done.out.splitlines() for line in lines), done.out
    await room.post("bounded", wait=20)
    assert "budget of the session: $0.75 of $1.00" in (await run(room, "costs", "bounded")).out
    events = (await run(room, "events", "bounded")).out
    assert re.search(r"budget.warned +the session: 40% of \$1.00 reached, \$0.50 spent", events)
    assert re.search(
        r"budget.exceeded +a: the participant's budget of \$0.30 has no \$0.25", events
    )
    assert "Decimal(" not in events
    assert "{" not in events.partition("budget.warned")[2].splitlines()[0]
    assert "budget" not in (await run(room, "show", "plain")).out


async def test_choices_name_the_fastest_and_votes(room: LocalRoom) -> None:
    done = await run(room, "choices", "--tag", "trial")
    assert (done.code, done.err) == (0, "")
    proposals, votes = done.out.split("voting: vote")
    assert proposals.startswith("voting: proposal")
    assert re.search(r"^priced/slow +5 +0% .* \$0\.25 +\d of 5 *$", proposals, re.MULTILINE)
    assert "fastest: priced/instant\n" in proposals
    assert "cheapest: priced/instant, priced/slow\n" in proposals
    assert "votes won" in proposals
    assert "votes won" not in votes
    found = json.loads((await run(room, "choices", "--tag", "trial", "--json")).out)
    assert {one["purpose"] for one in found["comparisons"]} == {"proposal", "vote"}
    nothing = await run(room, "choices", "--tag", "none")
    assert nothing.out == "no two models have done the same kind of work yet\n"
