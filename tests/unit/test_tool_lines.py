"""Calls of tools on the way: the progress of a turn, and events in a line."""

from __future__ import annotations

from api.cli.event_lines import event_line
from api.client_messages import Event
from api.columns import decision_line
from api.progress import TurnProgress
from events.cloudevents import to_cloudevent
from tests.replay.third import approvals, tools
from tests.session_logs import SessionLog


def heard(log: SessionLog) -> list[Event]:
    """The events as a client gets them."""
    return [Event.of(to_cloudevent(event)) for event in log.events]


def followed(log: SessionLog, turn: str, until: str | None = None) -> TurnProgress:
    progress = TurnProgress(log.config.model_dump(mode="json"), turn)
    for event in heard(log):
        if event.turn == turn and event.type == until:
            break
        progress.apply(event, 0.0)
    return progress


def test_calls_are_told_between_answers() -> None:
    progress = followed(tools(), "t1")
    assert [one.text for one in progress.decisions][:5] == [
        'ada → calc__add({"n": 1}) at calc',
        'ada → files__find({"n": 2}) at files',
        "ada → calc__sub({\"n\": 3}) is refused: there is no tool 'calc__sub': there are calc__add,"
        " files__delete, files__find",
        'ada → calc__add({"n": 4}) at calc',
        'bob → files__find({"n": 1}) at files',
    ]
    rest = [one.text for one in progress.decisions][5:]
    assert rest[0] == "calc__add: 3"
    assert rest[1] == "files__find could not: nothing found"
    assert rest[2] == "files__find failed: its server is down"
    assert rest[3].startswith("calc__add: (")
    assert [(call.participant, call.text) for call in progress.said()] == [
        ("cyd", "I cannot say."),
        ("bob", "There is none."),
        ("ada", "Four, I think."),
    ]
    line = decision_line("broadcast", progress.decisions[0])
    assert line.plain == '⚙ tool: ada → calc__add({"n": 1}) at calc'


def test_what_waits_for_a_person_is_known_until_it_is_decided() -> None:
    log = approvals()
    asked = followed(log, "t1", until="approval.denied")
    assert [(one.step, one.text) for one in asked.questions.values()] == [
        ("call:files__delete:1", 'ada → files__delete({"n": 1})'),
        ("call:files__delete:2", 'ada → files__delete({"n": 3})'),
        ("call:files__delete:3", 'bob → files__delete({"n": 1})'),
    ]
    asked = followed(log, "t1", until="elicitation.answered")
    (question,) = asked.questions.values()
    assert (question.id, question.text, question.form) == (
        "e1",
        "files__delete asks: Really?",
        {"type": "object"},
    )
    for turn in ("t1", "t2", "t3"):
        assert followed(log, turn).questions == {}


def test_events_of_tools_are_lines() -> None:
    lines = {event.type: event_line(event).plain for event in heard(approvals())}
    for kind, said in {
        "approval.requested": 'ada → files__delete({"n": 1}) waits for a person',
        "approval.granted": "files__delete",
        "approval.denied": "files__delete: it is needed",
        "tool.called": 'ada → files__delete({"n": 1}) at files',
        "elicitation.requested": "files__delete asks: Really?",
        "elicitation.answered": "files__delete: accept: {'sure': True}",
        "tool.cancelled": "files__delete: turn ended",
    }.items():
        assert lines[kind].endswith(f" {said}"), lines[kind]
