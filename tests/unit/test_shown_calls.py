"""Calls of tools as transcripts and the views of turns show them."""

from __future__ import annotations

from pathlib import Path

import pytest

from events.turns import Turn
from projections.answers import turn_view
from projections.entries import AnswerEntry, CallEntry, InterimEntry, MessageEntry
from tests.projected import dump, project
from tests.replay.record import errand
from tests.replay.third import approvals, tools
from tests.session_logs import SessionLog

PAGES = (1000, 1, 3)


def ended_calls(log: SessionLog) -> list[tuple[str, str, str]]:
    """Turn, step and event of every call whose turn went on after it."""
    ends = ("returned", "failed", "refused", "denied", "cancelled")
    turns = log.machine.session.turns
    shown = []
    for event in log.events:
        kind, _, what = event.type.partition(".")
        if kind in ("tool", "approval") and what in ends and event.step:
            turn: Turn = turns[event.turn or ""]
            if not (what == "cancelled" and turn.status == "cancelled"):
                shown.append((turn.id, event.step, what))
    return shown


@pytest.mark.parametrize("page", PAGES)
async def test_every_call_is_in_the_transcript_with_what_came_of_it(
    tmp_path: Path, page: int
) -> None:
    for number, log in enumerate((tools(), approvals(), errand())):
        folder = tmp_path / str(number)
        folder.mkdir()
        entries = (await project(folder, log, page=page)).transcript("s1", limit=1000).entries
        calls = [one for one in entries if isinstance(one, CallEntry)]
        assert [(one.turn, one.step, one.outcome) for one in calls] == ended_calls(log)
        rows = dump(folder / "projections.db")["transcript_turns"]
        assert [row[1] for row in rows] == [t for t in [log.machine.session.open] if t]


async def test_what_a_call_was_and_gave_is_told(tmp_path: Path) -> None:
    log = tools()
    entries = (await project(tmp_path, log)).transcript("s1", limit=1000).entries
    first = {(one.turn, one.step): one for one in entries if isinstance(one, CallEntry)}
    found = first["t1", "call:calc__add:2"]
    assert (found.participant, found.name, found.server, found.tool) == (
        "ada",
        "calc__add",
        "calc",
        "add",
    )
    assert (found.arguments, found.text, found.structured) == ('{"n": 4}', "3", '{"sum": 3}')
    assert [one.name for one in found.attachments] == ["plot.png"]
    assert (found.is_error, found.approval, found.duration_ms) == (False, False, 1.5)
    assert first["t1", "call:files__find:2"].is_error
    failed = first["t1", "call:files__find:1"]
    assert (failed.outcome, failed.error, failed.reason) == (
        "failed",
        "ToolError",
        "its server is down",
    )
    refused = first["t1", "call:calc__sub:1"]
    assert (refused.outcome, refused.server) == ("refused", None)
    assert refused.reason is not None
    assert "there is no tool 'calc__sub'" in refused.reason
    interim = next(one for one in entries if isinstance(one, InterimEntry))
    assert (interim.participant, interim.text) == ("ada", "I look it up.")


async def test_what_is_not_superseded_is_what_the_participants_are_shown(tmp_path: Path) -> None:
    log = tools()
    entries = (await project(tmp_path, log)).transcript("s1", limit=1000).entries
    said = [
        (one.position, one.superseded_by if isinstance(one, AnswerEntry) else None)
        for one in entries
        if isinstance(one, MessageEntry | AnswerEntry) and one.text
    ]
    session = log.machine.session
    assert said == [(entry.position, entry.superseded_at) for entry in session.entries]


async def test_a_decision_of_a_person_is_told(tmp_path: Path) -> None:
    entries = (await project(tmp_path, approvals())).transcript("s1", limit=1000).entries
    calls = [one for one in entries if isinstance(one, CallEntry)]
    assert [(one.step, one.outcome, one.reason, one.approval) for one in calls][:2] == [
        ("call:files__delete:2", "denied", "it is needed", True),
        ("call:files__delete:3", "returned", None, True),
    ]


def test_a_turn_tells_its_calls_and_its_last_answers() -> None:
    log = tools()
    seen = turn_view(log.events, "t1", log.load)
    assert [(one.participant, one.text) for one in seen.answers] == [
        ("ada", "Four, I think."),
        ("bob", "There is none."),
        ("cyd", "I cannot say."),
    ]
    calls = {one.step: one for one in seen.calls}
    assert {step: one.status for step, one in calls.items()} == {
        "call:calc__add:1": "returned",
        "call:files__find:1": "failed",
        "call:calc__sub:1": "refused",
        "call:calc__add:2": "returned",
        "call:files__find:2": "returned",
        "call:calc__add:3": "returned",
    }
    assert calls["call:files__find:2"].is_error
    assert calls["call:files__find:1"].message == "its server is down"
    assert calls["call:calc__add:2"].duration_ms == 1.5
    assert {one.status for one in turn_view(log.events, "t2", log.load).calls} == {
        "cancelled",
        "refused",
    }


def test_a_turn_tells_which_calls_wait() -> None:
    log = approvals()
    asked = next(i for i, one in enumerate(log.events) if one.type == "approval.denied")
    seen = turn_view(log.events[:asked], "t1", log.load)
    assert [(one.step, one.status) for one in seen.calls] == [
        ("call:files__delete:1", "waits"),
        ("call:calc__add:1", "called"),
        ("call:files__delete:2", "waits"),
        ("call:files__delete:3", "waits"),
    ]
    done = turn_view(log.events, "t1", log.load)
    assert [one.status for one in done.calls] == ["returned", "returned", "denied", "returned"]
