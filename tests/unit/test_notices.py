"""What a notice of a commit carries."""

from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as st

from actors.notices import LONGEST, Notice, read_notice, write_notice
from events.cloudevents import to_cloudevent
from events.envelope import Event
from tests.event_samples import answered, batch, events, turn_of


@given(st.lists(events(), min_size=1, max_size=1))
def test_any_event_is_read_as_it_was_written(one: list[Event]) -> None:
    notice = read_notice(write_notice(one))
    assert notice.position == one[0].position
    (read,) = notice.events
    assert read[:4] == (one[0].position, one[0].type, one[0].turn, one[0].step)
    assert orjson.loads(read.json) == to_cloudevent(one[0])


def test_the_events_of_a_commit_keep_their_places() -> None:
    made = turn_of("s", 6, "t2")
    notice = read_notice(write_notice(made))
    assert [(one.position, one.type, one.step) for one in notice.events] == [
        (one.position, one.type, one.step) for one in made
    ]


def test_long_events_are_left_to_the_log() -> None:
    made = batch("s", 3, answered("x" * (LONGEST // 2)), answered("y" * (LONGEST // 2)))
    data = write_notice(made)
    assert read_notice(data) == Notice(5, ())
    assert len(data) < 100
