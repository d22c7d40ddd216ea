from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.types import ModelDiscarded
from events.values import Cost, Usage
from projections.costs import CostLine, CostReport, Span, Spend
from projections.money import plain, total
from tests.projected import project
from tests.session_logs import BEGIN, SessionLog, answered, failed, session_config


def named(lines: tuple[CostLine, ...]) -> dict[str, CostLine]:
    return {line.name: line for line in lines}


async def test_every_call_counts_the_failed_and_the_discarded_too(tmp_path: Path) -> None:
    log = SessionLog(session_config())
    turn = log.post("one")
    log.outcome("ask:ada:1", answered("yes", cost="0.1", usage=Usage(input=100, cache_read=7)))
    log.outcome(
        "ask:bob:1",
        failed(usage=Usage(input=3, output=1), cost=Cost(amount=Decimal("0.002"), prices="p")),
    )
    log.outcome("ask:cyd:1", answered("no price", usage=Usage(output=9, reasoning=4)))
    # What nobody wanted any more is paid all the same, long after the turn.
    late = ModelDiscarded(
        attempt=2,
        reason="duplicate",
        usage=Usage(input=50, cache_write=2, estimated=True),
        cost=Cost(amount=Decimal("0.0005"), prices="p"),
    )
    log.post("two")
    log.play(lambda key, asked: failed())
    log.give(late, turn, "ask:ada:1")

    report = (await project(tmp_path, log)).costs("s1")

    assert report.total == Spend(
        calls=7,
        failed=4,
        discarded=1,
        usage=Usage(input=153, cache_read=7, cache_write=2, output=10, reasoning=4, estimated=True),
        cost=Decimal("0.1025"),
        priced=3,
        unpriced=1,
    )
    who = named(report.by_participant)
    assert (who["ada"].calls, who["ada"].failed, who["ada"].discarded) == (3, 1, 1)
    assert who["ada"].cost == Decimal("0.1005")
    assert who["ada"].usage == Usage(input=150, cache_read=7, cache_write=2, estimated=True)
    assert (who["bob"].failed, who["bob"].priced, who["bob"].cost) == (2, 1, Decimal("0.002"))
    assert (who["cyd"].unpriced, who["cyd"].cost) == (1, Decimal(0))
    assert report.position == len(log.events)
    assert CostReport.model_validate_json(report.model_dump_json()) == report


async def test_sums_by_model_provider_and_day_agree_with_the_whole(tmp_path: Path) -> None:
    models = [
        {"id": "a", "provider": "acme", "model_name": "small"},
        {"id": "b", "provider": "acme", "model_name": "large"},
        {"id": "c", "provider": "beta", "model_name": "small"},
    ]
    config = session_config(participants=(), models=models)
    # The third message comes after midnight.
    log = SessionLog(
        config, begin=BEGIN.replace(hour=23, minute=59, second=59, microsecond=900_000)
    )
    for _ in range(3):
        log.post("hello")
        log.play(lambda key, asked: answered("x", cost="0.01"))

    report = (await project(tmp_path, log)).costs("s1")

    assert [(one.name, one.provider, one.calls) for one in report.by_model] == [
        ("large", "acme", 3),
        ("small", "acme", 3),
        ("small", "beta", 3),
    ]
    assert [(one.name, one.calls) for one in report.by_provider] == [("acme", 6), ("beta", 3)]
    today, tomorrow = BEGIN.date(), (BEGIN + timedelta(days=1)).date()
    assert [one.name for one in report.by_day] == [today.isoformat(), tomorrow.isoformat()]
    for lines in (report.by_model, report.by_provider, report.by_day, report.by_participant):
        assert sum(one.calls for one in lines) == report.total.calls == 9
        assert total(one.cost for one in lines) == report.total.cost == Decimal("0.09")
        assert sum(one.usage.input for one in lines) == report.total.usage.input == 90
    assert report.by_session == ()


async def test_a_participant_with_another_model_has_two_lines(tmp_path: Path) -> None:
    log = SessionLog(session_config(participants=("ada",)))
    log.post("one")
    log.reconfigure(models=[{"id": "ada", "provider": "beta", "model_name": "ada-2"}])
    log.play(lambda key, asked: answered("x", cost="1"))
    log.post("two")
    log.play(lambda key, asked: answered("x", cost="2"))

    report = (await project(tmp_path, log)).costs("s1")

    assert [(one.name, one.provider, one.cost) for one in report.by_model] == [
        ("ada-1", "acme", Decimal(1)),
        ("ada-2", "beta", Decimal(2)),
    ]
    assert [(one.name, one.cost) for one in report.by_participant] == [("ada", Decimal(3))]


async def test_all_sessions_together(tmp_path: Path) -> None:
    logs = [SessionLog(session_config(f"s{n}", participants=("ada",))) for n in (1, 2)]
    for n, log in enumerate(logs, 1):
        log.post("one")
        log.play(lambda key, asked, n=n: answered("x", cost=f"0.{n}"))  # type: ignore[misc]
    reader = await project(tmp_path, *logs)

    report = reader.costs()

    assert [(one.name, one.cost) for one in report.by_session] == [
        ("s1", Decimal("0.1")),
        ("s2", Decimal("0.2")),
    ]
    assert report.total.cost == Decimal("0.3")
    assert report.session is None
    assert report.by_participant == ()
    assert report.position == reader.tracked() == sum(len(log.events) for log in logs)
    sessions = {one.id: one.cost for one in reader.sessions().sessions}
    assert sessions == {"s1": Decimal("0.1"), "s2": Decimal("0.2")}


async def test_money_is_never_rounded_and_never_in_exponents(tmp_path: Path) -> None:
    log = SessionLog(session_config(participants=("ada",)))
    amounts = ["0.1"] * 10 + ["1E-25", "123456789012345678901234567890", "1E+3"]
    for amount in amounts:
        log.post("hello")
        log.outcome("ask:ada:1", answered("x", cost=amount))
    reader = await project(tmp_path, log)

    exact = "123456789012345678901234568891.0000000000000000000000001"
    assert f'"cost":"{exact}"' in reader.costs("s1").total.model_dump_json()
    session = reader.session("s1")
    assert session is not None
    assert plain(session.cost) == exact


async def test_an_unknown_session_has_cost_nothing(tmp_path: Path) -> None:
    reader = await project(tmp_path, SessionLog(session_config()))
    assert reader.costs("s9") == CostReport(session="s9", position=0, total=Spend())
    assert reader.costs("s9").model_dump(mode="json")["total"]["cost"] == "0"


@given(st.lists(st.decimals(allow_nan=False, allow_infinity=False, places=12), max_size=20))
def test_the_order_of_a_sum_does_not_matter_to_the_last_digit(amounts: list[Decimal]) -> None:
    forward, backward = total(amounts), total(reversed(amounts))
    assert plain(forward) == plain(backward)
    in_two = total([total(amounts[:7]), total(amounts[7:])])
    assert plain(in_two) == plain(forward)


@pytest.mark.parametrize("text", ["0", "0E-7", "1E+3", "12.50"])
def test_plain_amounts_keep_their_value(text: str) -> None:
    assert "E" not in plain(Decimal(text))
    assert Decimal(plain(Decimal(text))) == Decimal(text)


async def test_a_session_counts_in_each_tag_that_it_has_now(tmp_path: Path) -> None:
    tags = {"s1": ["red", "blue"], "s2": ["red"], "s3": []}
    logs = [SessionLog(session_config(id, tags=its)) for id, its in tags.items()]
    for log in logs:
        log.post("one")
        log.play(lambda key, asked: answered("x", cost="0.01"))
    logs[1].reconfigure(tags=["red", "green"])
    reader = await project(tmp_path, *logs)

    report = reader.costs()
    assert [(one.name, one.cost, one.calls) for one in report.by_tag] == [
        ("blue", Decimal("0.03"), 3),
        ("green", Decimal("0.03"), 3),
        ("red", Decimal("0.06"), 6),
    ]
    assert report.total.calls == 9
    red = reader.costs(span=Span(tag="red"))
    assert [one.name for one in red.by_session] == ["s1", "s2"]
    assert [one.name for one in red.by_tag] == ["blue", "green", "red"]
    assert red.total.cost == Decimal("0.06")
    assert reader.costs(span=Span(tag="none has it")).total == Spend()
    assert [one.name for one in reader.costs("s2").by_tag] == ["green", "red"]


async def test_days_bound_what_is_counted(tmp_path: Path) -> None:
    logs = []
    for day in (1, 2, 3):
        log = SessionLog(session_config(f"s{day}"), begin=BEGIN.replace(day=day))
        log.post("one")
        log.play(lambda key, asked, day=day: answered("x", cost=f"{day}"))  # type: ignore[misc]
        logs.append(log)
    reader = await project(tmp_path, *logs)

    def days(first: int | None, last: int | None) -> list[str]:
        begin = first and BEGIN.replace(day=first).date()
        end = last and BEGIN.replace(day=last).date()
        report = reader.costs(span=Span(begin or None, end or None))
        assert total(one.cost for one in report.by_day) == report.total.cost
        return [one.name for one in report.by_session]

    assert days(2, 2) == ["s2"]
    assert days(2, None) == ["s2", "s3"]
    assert days(None, 2) == ["s1", "s2"]
    assert days(None, None) == ["s1", "s2", "s3"]
    assert days(4, None) == []
