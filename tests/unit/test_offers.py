"""The tools that participants are offered: the room's, and those that came with a message."""

from __future__ import annotations

import orjson

from actors.routing.offers import Offers
from actors.routing.turn import WORKFLOW
from events.canonical import canonical_json
from events.values import Message
from tests.sessions import Blobs
from tests.tool_calls import ADD, FIND, RISK, facts, offered, tool


def gathered(blobs: Blobs, own: tuple[str, ...]) -> Offers:
    """What two participants are offered, of whom one has the room's tools."""
    listed = canonical_json([tool(name) | {"description": "the client's"} for name in own])
    message = Message(content="Hello", tools=blobs.put(listed, "application/json"))
    return Offers.gathered(("a", "b"), facts(blobs, "a"), message, blobs.load, blobs.put)


def test_a_clients_own_tool_comes_before_the_rooms_of_the_same_name() -> None:
    blobs = Blobs()
    offers = gathered(blobs, (ADD, "weather"))
    of_a = offers.of("a")
    assert of_a is not None
    assert sorted(of_a.calls) == [RISK, FIND]
    assert of_a.client == (ADD, "weather")
    assert (offers.find(ADD, "a"), offers.find(ADD, None)) == (None, None)
    shown = {one["name"]: one["description"] for one in orjson.loads(blobs.load(of_a.listed))}
    assert shown == {
        ADD: "the client's",
        RISK: f"does {RISK}",
        FIND: f"does {FIND}",
        "weather": "the client's",
    }
    assert len(orjson.loads(blobs.load(of_a.listed))) == 4, "each name once"
    of_b = offers.of("b")
    assert of_b is not None
    assert (of_b.calls, of_b.client) == ({}, (ADD, "weather"))


def test_where_a_client_has_all_names_the_room_calls_nothing() -> None:
    blobs = Blobs()
    of_a = gathered(blobs, (ADD, FIND, RISK)).of("a")
    assert of_a is not None
    assert of_a.calls == {}
    assert [one["description"] for one in orjson.loads(blobs.load(of_a.listed))] == [
        "the client's"
    ] * 3


def test_where_one_of_the_clients_tools_has_to_be_called_these_are_a_list_of_their_own() -> None:
    blobs = Blobs()
    own = blobs.put(canonical_json([tool("weather")]), "application/json")
    message = Message(content="Hello", tools=own, tool_choice="required")
    offers = Offers.gathered(("a", "b"), facts(blobs, "a"), message, blobs.load, blobs.put)
    of_a, of_b = offers.of("a"), offers.of("b")
    assert of_a is not None
    assert of_b is not None
    assert (of_a.forced, of_b.forced) == (own, own)
    assert offers.names("a") == [ADD, RISK, FIND], "which a router may call all the same"
    unforced = gathered(blobs, ("weather",)).of("a")
    assert unforced is not None
    assert unforced.forced is None


def test_an_owner_is_offered_its_own_tools_alone_and_a_router_everybodys() -> None:
    blobs = Blobs()
    known = {
        "a": {"tools": offered(blobs, (ADD, RISK), approve=())},
        "b": {"tools": offered(blobs, (RISK,))},
        WORKFLOW: {"tools": offered(blobs, (FIND,))},
    }
    offers = Offers.gathered(("a", "b", WORKFLOW), known, None, blobs.load, blobs.put)
    assert offers.names("a") == [ADD, RISK]
    assert offers.names(WORKFLOW) == [FIND]
    assert offers.names("nobody") == []
    assert offers.names(None) == [ADD, RISK, FIND]
    assert offers.find(ADD, WORKFLOW) is None
    mine, anybodys = offers.find(RISK, "a"), offers.find(RISK, None)
    assert mine is not None
    assert anybodys is not None
    assert (mine.approval, anybodys.approval) == (False, True)
