"""Events as they leave the room."""

from __future__ import annotations

import json
import math
import re

import orjson
from hypothesis import given
from hypothesis import strategies as st

from events.cloudevents import cloudevent_json, event_id, to_cloudevent
from events.envelope import Event
from events.types import TimerSet
from tests.event_samples import answered, event, events


def test_an_event_as_cloudevent() -> None:
    one = event("sess_1", 7, TimerSet(seconds=2.5), turn="turn_1")
    assert to_cloudevent(one, 120) == {
        "specversion": "1.0",
        "id": str(one.id),
        "source": "control-room/sess_1",
        "type": "timer.set",
        "time": "2026-11-23T12:00:07Z",
        "datacontenttype": "application/json",
        "sequence": "00000000000000000120",
        "correlationid": "turn_1",
        "causationid": str(event("sess_1", 6, TimerSet(seconds=1)).id),
        "data": {
            "stream": "sess_1",
            "position": 7,
            "version": 1,
            "by": "user:ada",
            "command": "command-7",
            "turn": "turn_1",
            "step": None,
            "cause": 6,
            "payload": {"seconds": 2.5},
        },
    }


def test_attributes_without_a_value_are_left_out() -> None:
    attributes = to_cloudevent(event("s", 1, TimerSet(seconds=1)))
    assert not {"sequence", "correlationid", "causationid"} & attributes.keys()


@given(st.text(st.characters(codec="utf-8")), st.integers(1, 2**63))
def test_the_id_is_the_event_s_own(stream: str, position: int) -> None:
    one = Event(stream, position, event("s", 1, answered()).at, "a", TimerSet(seconds=1))
    assert event_id(stream, position) == str(one.id)


@given(events())
def test_any_event_is_a_valid_cloudevent(one: Event) -> None:
    attributes = to_cloudevent(one, 5)
    written = orjson.dumps(attributes)
    assert json.loads(written) == attributes
    assert json.loads(cloudevent_json(one, 5)) == attributes
    assert all(re.fullmatch(r"[a-z0-9]{1,20}", name) for name in attributes)
    assert re.fullmatch(r"control-room/[\x21-\x7e]+", attributes["source"])
    assert attributes["time"].endswith("Z")


@given(st.lists(st.integers(0, 2**63), min_size=2, max_size=2))
def test_sequences_sort_as_text(pair: list[int]) -> None:
    one, other = (to_cloudevent(event("s", 1, TimerSet(seconds=1)), n)["sequence"] for n in pair)
    assert (one < other) == (pair[0] < pair[1])


def test_what_json_has_no_number_for_is_a_string() -> None:
    raw = {"huge": 2**70, "odd": [math.inf, -math.inf]}
    data = answered().model_copy(update={"usage_raw": raw, "duration_ms": math.nan})
    one = event("s", 1, data)
    payload = to_cloudevent(one)["data"]["payload"]
    assert orjson.loads(cloudevent_json(one))["data"]["payload"] == payload
    assert payload["usage_raw"] == {"huge": str(2**70), "odd": ["inf", "-inf"]}
    assert payload["duration_ms"] == "nan"
