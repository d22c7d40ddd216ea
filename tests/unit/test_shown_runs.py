"""Runs of workflows as transcripts show them."""

from __future__ import annotations

from pathlib import Path

import pytest

from events.runs import RunCompleted
from events.types import ModelAnswered
from projections.entries import CallEntry, InterimEntry, OutputEntry
from tests.projected import project
from tests.replay.workflows import workflow


@pytest.mark.parametrize("page", [1000, 1, 3])
async def test_what_a_run_asks_and_gives_is_in_the_transcript(tmp_path: Path, page: int) -> None:
    log = workflow()
    entries = (await project(tmp_path, log, page=page)).transcript("s1", limit=1000).entries
    said = [one for one in entries if isinstance(one, InterimEntry)]
    answers = [event for event in log.events if isinstance(event.data, ModelAnswered)]
    assert [one.position for one in said] == [event.position for event in answers]
    assert {one.purpose for one in said} == {"workflow"}
    given = [one for one in entries if isinstance(one, OutputEntry)]
    ends = [
        (event.position, event.data.output)
        for event in log.events
        if isinstance(event.data, RunCompleted)
    ]
    assert [(one.position, one.text) for one in given] == ends != []
    assert any(isinstance(one, CallEntry) and one.participant is None for one in entries)
