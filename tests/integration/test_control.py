"""Commands that look at a session and change how it goes, as a script calls them."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator

import pytest

from actors.providers.config import ProviderSpec
from api.terminal_text import safe
from tests.commands import QUICK, run, start
from tests.rooms import LocalRoom, local_room
from tests.session_logs import SessionLog, answered, session_config
from tests.waiting import eventually

SLOW = ProviderSpec(id="slow", type="rehearsal", config={"pace": 0.05})
NEVER_DONE = [{"id": "a", "provider": "slow", "model_name": "slow"}]
"""One whose answer takes longer than any test."""


@pytest.fixture(scope="module")
async def room(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalRoom]:
    async with local_room(tmp_path_factory.mktemp("room"), QUICK, SLOW) as room:
        yield room


# --- show ----------------------------------------------------------------------------------------


async def test_a_session_is_shown_as_people_read_it(room: LocalRoom) -> None:
    await room.create("shown", "a b:failing c", routing_pattern="voting", title="A title")
    turn = await room.post("shown", "Tabs\x1b[31m\nor spaces?", wait=20)
    done = await run(room, "show", "shown")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == "shown  voting  A title"
    begun = lines.index("you (t1):")
    assert lines[begun + 1 : begun + 3] == ["  Tabs", "  or spaces?"]
    assert "B · b (paced/failing) failed: this model rehearses an outage" in done.out
    for answer in turn["answers"]:
        title = f"{answer['role']} · {answer['participant']} (paced/instant) · proposal:"
        at = lines.index(title)
        said = safe(answer["text"]).strip().splitlines()
        assert lines[at + 1 : at + 1 + len(said)] == [f"  {line}" for line in said]
    assert re.search(r"^★ count: [ac] wins: ", done.out, re.MULTILINE)
    assert "\x1b" not in done.out


async def test_the_whole_transcript_is_shown_however_long(room: LocalRoom) -> None:
    await room.create("long", "a")
    for n in range(150):  # 300 entries: more than a page
        await room.post("long", f"Message {n}", wait=20)
    done = await run(room, "show", "long")
    assert [f"  Message {n}" in done.out for n in range(150)] == [True] * 150
    tree = json.loads((await run(room, "show", "long", "--json")).out)
    assert (tree["session"], len(tree["entries"])) == ("long", 300)
    assert tree["entries"][-1]["position"] <= tree["position"]


async def test_what_was_said_before_a_failure_is_shown(room: LocalRoom) -> None:
    await room.create("partly", "a:cutting")
    await room.post("partly", wait=20)
    transcript = (await room.http.get("/v1/sessions/partly/transcript")).json()
    (failure,) = (each for each in transcript["entries"] if each["kind"] == "failure")
    said = failure["partial"].strip().splitlines()
    assert said
    lines = (await run(room, "show", "partly")).out.splitlines()
    (at,) = (n for n, line in enumerate(lines) if " failed: " in line)
    assert lines[at + 1 : at + 1 + len(said)] == [f"  {line}" for line in said]


async def test_a_long_text_is_shown_whole(room: LocalRoom) -> None:
    await room.create("blob", "a")
    await room.post("blob", "word " * 20_000, wait=20)
    assert "word " * 19_999 in (await run(room, "show", "blob")).out


# --- costs ---------------------------------------------------------------------------------------


async def test_costs_of_a_session_and_of_the_room(room: LocalRoom) -> None:
    await room.create("paid", "a b")
    await room.post("paid", wait=20)
    done = await run(room, "costs", "paid")
    assert (done.code, done.err) == (0, "")
    for name in ("a", "b"):
        assert re.search(rf"^{name} +1 +~?\d+ +~?\d+ +\$0\.00 *$", done.out, re.MULTILINE)
    assert re.search(r"^together +2 ", done.out, re.MULTILINE)
    report = json.loads((await run(room, "costs", "paid", "--json")).out)
    assert report == (await room.http.get("/v1/sessions/paid/costs")).json()
    every = await run(room, "costs")
    assert re.search(r"^paid +2 ", every.out, re.MULTILINE)
    assert json.loads((await run(room, "costs", "--json")).out)["session"] is None


async def test_an_unknown_price_is_not_shown_as_zero(room: LocalRoom) -> None:
    log = SessionLog(session_config("unpriced"))
    log.post("What is it worth?")
    log.outcome("ask:ada:1", answered("much", cost="0.25"))
    log.outcome("ask:bob:1", answered("who knows"))
    log.outcome("ask:cyd:1", answered("who knows"))
    for batch in log.batches:
        await room.store.append("unpriced", batch[0].position - 1, batch)
    await room.create("noticed", "a")
    await room.post("noticed", wait=20)  # the projections hear of it
    one = (await run(room, "costs", "unpriced")).out
    assert re.search(r"^ada .* \$0\.25 *$", one, re.MULTILINE)
    assert re.search(r"^bob .* - *$", one, re.MULTILINE)
    assert re.search(r"^together .* \$0\.25 \+ 2 unpriced *$", one, re.MULTILINE)
    assert "no price is known" in one
    listed = (await run(room, "sessions")).out
    assert re.search(r"^unpriced .* \$0\.25 \+ 2 unpriced ", listed, re.MULTILINE)
    assert re.search(r"^noticed .* \$0\.00 ", listed, re.MULTILINE)


# --- cancel, retry -------------------------------------------------------------------------------


async def test_the_turn_under_way_is_called_off(room: LocalRoom) -> None:
    await room.create("off", models=NEVER_DONE)
    await room.post("off")
    await room.post("off")
    queued = await run(room, "cancel", "off", "t2")
    assert (queued.code, queued.out) == (0, "turn t2 is called off\n")
    done = await run(room, "cancel", "off", "--json")
    assert (done.code, json.loads(done.out)["turn"]) == (0, "t1")
    turns = (await room.http.get("/v1/sessions/off")).json()["turns"]["last"]
    assert [turn["status"] for turn in turns] == ["cancelled", "cancelled"]
    late = await run(room, "cancel", "off")
    assert (late.code, late.out) == (1, "")
    assert "no turn of session 'off' is under way" in late.err


async def test_one_participant_is_asked_again(room: LocalRoom) -> None:
    await room.create("again", "a b:failing")
    await room.post("again", wait=20)
    done = await run(room, "retry", "again", "t1", "a")
    assert (done.code, done.err) == (0, "")
    turn = (await room.http.get("/v1/sessions/again/turns/t2")).json()
    assert turn["answers"][0]["text"].strip() in done.out
    shown = (await run(room, "show", "again")).out
    assert "A · a (paced/instant) · asked again, see below:" in shown
    failed = await run(room, "retry", "again", "t1", "b")
    assert (failed.code, failed.out) == (1, "")
    assert "b failed: " in failed.err
    assert "this model rehearses an outage" in failed.err
    tree = json.loads((await run(room, "retry", "again", "t1", "a", "--json")).out)
    assert (tree["turn"], tree["status"]) == ("t4", "completed")


# --- pause, resume, close ------------------------------------------------------------------------


async def test_a_paused_session_waits_until_it_is_resumed(room: LocalRoom) -> None:
    await room.create("held", "a")
    paused = await run(room, "pause", "held")
    assert paused.code == 0
    assert "control-room resume held" in paused.out
    assert "It is paused" in (await run(room, "show", "held")).out
    asking = await start(room, "chat", "held", "-m", "Hello")

    async def queued() -> bool:
        turns = (await room.http.get("/v1/sessions/held")).json()["turns"]
        return bool(turns["queued"])

    await eventually(queued, within=30, what="the message")
    assert (await run(room, "resume", "held")).code == 0
    out, _ = await asyncio.wait_for(asking.communicate(), 30)
    assert (asking.returncode, bool(out)) == (0, True)


async def test_a_closed_session_takes_nothing_more(room: LocalRoom) -> None:
    await room.create("over", "a")
    done = await run(room, "close", "over")
    assert (done.code, done.err) == (0, "")
    assert (await run(room, "close", "over")).code == 0
    for arguments in (("chat", "over", "-m", "x"), ("pause", "over"), ("resume", "over")):
        refused = await run(room, *arguments)
        assert (refused.code, refused.out) == (1, "")
        assert "closed" in refused.err
    assert "It is closed" in (await run(room, "show", "over")).out


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "nowhere"), ("costs", "nowhere"), ("cancel", "nowhere"),
        ("retry", "nowhere", "t1", "a"), ("pause", "nowhere"), ("close", "nowhere"),
    ],
)  # fmt: skip
async def test_an_unknown_session_is_1(room: LocalRoom, arguments: tuple[str, ...]) -> None:
    done = await run(room, *arguments)
    assert (done.code, done.out, len(done.err.splitlines())) == (1, "", 1)
    assert "no session 'nowhere'" in done.err
