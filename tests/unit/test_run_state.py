"""The calls of a run that is repeated: each gets the recorded one of its digest and number."""

from __future__ import annotations

from events.run_state import RunState


def test_the_first_attempt_has_nothing_to_go_back_to() -> None:
    run = RunState("langchain")
    for n in (1, 2):
        assert run.recorded("same") is None
        run.call(1, "same", f"ask:ada:{n}", f"command-{n}")
    assert run.steps["same"] == ["ask:ada:1", "ask:ada:2"]
    assert run.commands == {"command-1": "ask:ada:1", "command-2": "ask:ada:2"}


def test_a_repeated_run_finds_its_calls_by_digest_and_occurrence() -> None:
    run = RunState("langchain")
    run.call(1, "same", "ask:ada:1", None)
    run.call(1, "other", "ask:bob:1", None)
    run.call(1, "same", "ask:ada:2", None)
    run.attempt = 2
    assert run.recorded("other") == "ask:bob:1"
    assert run.recorded("same") == "ask:ada:1"
    run.call(2, "same", "ask:ada:1", None)
    assert run.recorded("same") == "ask:ada:2"
    run.call(2, "same", "ask:ada:2", None)
    assert run.recorded("same") is None
    run.call(2, "same", "ask:ada:3", None)
    run.attempt = 3
    assert run.recorded("same") == "ask:ada:1"
    assert run.steps["same"] == ["ask:ada:1", "ask:ada:2", "ask:ada:3"]
