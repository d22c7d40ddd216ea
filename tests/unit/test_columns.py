"""Columns and lines, as they come out on terminals of several widths."""

from __future__ import annotations

import io
import re

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType

from api.columns import PART, TurnColumns, TurnResult, columns_a_row, fits, state_line
from api.labelled_lines import LabelledLines
from api.money import money
from tests.unit.turn_messages import Turn

ROLES = ("architect", "coder", "reviewer", "critic", "tester")
NASTY = (
    "It is [red]red[/red] and \x1b[31mred\x1b[0m and \x1b]0;owned\x07 漢字漢字 [link=x]y[/link] "
)


def rendered(what: RenderableType, width: int, height: int = 24) -> list[str]:
    """The lines of `what`, none of them longer than the terminal is wide."""
    console = Console(
        record=True, width=width, height=height, force_terminal=True, file=io.StringIO()
    )
    console.print(what)
    written = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b]0;" not in written
    lines = console.export_text().splitlines()
    assert all(cell_len(line) <= width for line in lines)
    return lines


def five(text: str = NASTY) -> Turn:
    """Five participants, each at something else."""
    turn = Turn(*ROLES)
    steps = [turn.asked(f"m{n}") for n in range(5)]
    turn.delta(steps[1], text, 0)
    turn.answered(steps[2], text)
    turn.failed(steps[3])
    turn.event("model.cancelled", steps[4], reason="race_lost")
    return turn


@pytest.mark.parametrize(("width", "across"), [(52, 2), (80, 3), (100, 3), (140, 5), (300, 5)])
def test_as_many_columns_as_fit(width: int, across: int) -> None:
    assert columns_a_row(width, 5) == across
    lines = rendered(TurnColumns(five().progress, now=9.0), width, height=40)
    tops = [line for line in lines if line.startswith("╭")]
    assert tops[0].count("╭") == across
    assert sum(line.count("╭") for line in tops) == 5


@pytest.mark.parametrize("width", [52, 80, 140])
def test_everyone_shows_role_id_model_and_state(width: int) -> None:
    text = "\n".join(rendered(TurnColumns(five().progress, now=9.0), width, height=40))
    for n, role in enumerate(ROLES):
        assert f"{role} · m{n}" in text
    assert text.count("rehearsal/steady") == 5
    assert "○ thinking 7.0 s" in text
    assert "● streaming 6.0 s" in text
    assert "✓ 42 tokens · 2.9 s" in text
    assert "✗ failed: Provider" in text
    assert "ask again later" in text
    assert "– cancelled" in text


@pytest.mark.parametrize("width", [52, 80, 140])
def test_what_models_say_is_shown_literally(width: int) -> None:
    for what in (TurnColumns(five().progress), TurnResult(five().progress)):
        console = Console(
            record=True, width=width, height=60, force_terminal=True, file=io.StringIO()
        )
        console.print(what)
        styled = console.export_text(styles=True, clear=False)
        assert "\x1b]" not in styled
        text = console.export_text()
        assert "[red]red[/red]" in text
        assert "[link=x]y[/link]" in text.replace("│\n", "")
        assert "漢字漢字" in text


@pytest.mark.parametrize("width", [52, 53, 79, 80, 81, 140])
def test_frames_line_up_whatever_is_in_them(width: int) -> None:
    turn = Turn("漢字の役割のとても長い名前です", "👩\u200d🚀 pilot", "x" * 500, "[b]bold", "")
    for n in range(5):
        step = turn.asked(f"m{n}", provider="p" * 40, model="漢" * 40)
        turn.delta(step, "漢字 word 👩\u200d🚀 e\u0301 " * 40 + "y" * 300, 0)
    lines = rendered(TurnColumns(turn.progress), width, height=40)
    framed = [line for line in lines if line[0] in "╭│╰"]
    full = max(cell_len(line) for line in framed)
    assert full == width
    for line in framed:
        assert line[-1] in "╮│╯"


@pytest.mark.parametrize("height", [10, 24, 50])
def test_live_columns_are_no_taller_than_the_terminal(height: int) -> None:
    turn = Turn(*ROLES, pattern="voting")
    for n in range(5):
        turn.delta(turn.asked(f"m{n}"), "word " * 500, 0)
    for n in range(20):
        turn.event("vote.cast", voter="m0", choice="m1", reason=f"reason {n} " * 50)
    lines = rendered(TurnColumns(turn.progress), 140, height)
    assert len(lines) <= max(height, 12)
    assert any("reason 19" in line for line in lines)


def test_a_live_column_shows_what_was_written_last() -> None:
    turn = Turn("architect", "coder")
    step = turn.asked("m0")
    columns = TurnColumns(turn.progress)
    turn.delta(step, " ".join(f"w{n}" for n in range(900)), 0)
    first = "\n".join(rendered(columns, 80))
    assert "w899" in first
    assert "w1 " not in first
    assert "… " in first
    turn.delta(step, " and the end", len(turn.progress.calls[step].text))
    assert "and the end" in "\n".join(rendered(columns, 80))


def test_what_is_said_to_the_router_alone_gives_way_to_what_is_said_to_all() -> None:
    turn = Turn("architect", "coder", pattern="coordinator")
    plan = turn.asked("m0", purpose="plan", public=False)
    turn.delta(plan, '{"participants": ["m1"]', 0)
    text = "\n".join(rendered(TurnColumns(turn.progress, now=3.0), 80))
    assert '{"participants"' in text
    assert "● planning" in text
    turn.answered(plan, '{"participants": ["m1"]}')
    assert "✓ planned · 42 tokens" in "\n".join(rendered(TurnColumns(turn.progress), 80))
    synthesis = turn.asked("m0", 2, purpose="synthesis")
    turn.delta(synthesis, "Together we say", 0)
    text = "\n".join(rendered(TurnColumns(turn.progress), 80))
    assert "Together we say" in text
    assert "participants" not in text


def test_the_result_holds_everything() -> None:
    turn = Turn(*ROLES)
    words = [f"w{n}" for n in range(400)]
    for n in range(2):
        turn.answered(turn.asked(f"m{n}"), " ".join(words))
    turn.answered(turn.asked("m0", 2), "And once more.")
    turn.event("turn.completed", answer_from="ask:m1:1", answer=None)
    for width in (80, 140):
        lines = rendered(TurnResult(turn.progress), width)
        text = re.sub(r"[│┃╭╮╰╯─\s]+", " ", "\n".join(lines))
        for word in words:
            assert len(re.findall(rf"\b{word}\b", text)) == 2
        assert PART.strip() in text
        assert "★ coder · m1" in text
        assert "critic" not in text  # was not asked
        assert "the answer is m1's" in text
        assert "126 tokens · $0.0003" in text


def test_long_texts_of_a_result_stand_one_below_the_other() -> None:
    turn = Turn("architect", "coder")
    for n in range(2):
        turn.answered(turn.asked(f"m{n}"), "word " * 2000)
    tops = [line for line in rendered(TurnResult(turn.progress), 80) if line.startswith("╭")]
    assert [line.count("╭") for line in tops] == [1, 1]


@pytest.mark.parametrize(
    ("type", "payload", "said"),
    [
        ("turn.failed", {"reason": "nobody_answered", "message": "nobody answered"},
         "turn t1 failed: nobody answered"),
        ("turn.cancelled", {"reason": "enough"}, "turn t1 cancelled: enough"),
    ],
)  # fmt: skip
def test_the_result_says_how_it_ended(type: str, payload: dict[str, str], said: str) -> None:
    turn = Turn("architect")
    turn.failed(turn.asked("m0"))
    turn.event(type, **payload)
    lines = rendered(TurnResult(turn.progress), 80)
    assert said in lines[-1]


def test_the_state_leaves_out_what_matters_least() -> None:
    turn = Turn("architect")
    step = turn.asked("m0", purpose="vote", public=False)
    turn.answered(step, "{}")
    call = turn.progress.calls[step]
    assert state_line(call, 0.0).plain == "✓ voted · 42 tokens · 2.9 s"
    assert state_line(call, 0.0, 22).plain == "✓ 42 tokens · 2.9 s"


def test_narrow_terminals_get_lines() -> None:
    assert not fits(51)
    assert fits(52)


# --- labelled lines ------------------------------------------------------------------------------


def lines_of(turn: Turn) -> tuple[LabelledLines, Console]:
    console = Console(width=40, file=io.StringIO(), force_terminal=False, highlight=False)
    return LabelledLines(turn.progress, console), console


def written(console: Console) -> list[str]:
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined,no-any-return]


def test_lines_interleave_as_texts_grow() -> None:
    turn = Turn("architect", "coder")
    steps = [turn.asked("m0"), turn.asked("m1")]
    lines, console = lines_of(turn)
    sentence = "This sentence is long enough to make a line of its own, surely. "
    turn.delta(steps[0], sentence + "And", 0)
    lines.update()
    turn.delta(steps[1], sentence, 0)
    lines.update()
    turn.answered(steps[0], sentence + "And the end.")
    turn.answered(steps[1], sentence + "Done [red]too\x1b[31m.")
    turn.event("turn.completed", answer_from=None, answer=None)
    lines.finish()
    assert written(console) == [
        "m0 │ (architect, rehearsal/steady)",
        f"m0 │ {sentence.strip()}",
        "m1 │ (coder, rehearsal/steady)",
        f"m1 │ {sentence.strip()}",
        "m0 │ And the end.",
        "m0 │ (✓ 42 tokens · 2.9 s)",
        "m1 │ Done [red]too.",
        "m1 │ (✓ 42 tokens · 2.9 s)",
        "   │ turn t1 completed · 84 tokens · $0.0002",
    ]


def test_lines_say_everything_once_even_where_pieces_were_lost() -> None:
    turn = Turn("architect")
    step = turn.asked("m0")
    lines, console = lines_of(turn)
    turn.delta(step, "The beginning of it.\n", 0)
    turn.delta(step, "the end\n", 40)
    lines.update()
    turn.answered(step, "The beginning of it.\nthe middle, which was lost\nthe end\n")
    lines.update()
    assert written(console)[-5:] == [
        "m0 │ (some of this was not shown; the whole text:)",
        "m0 │ The beginning of it.",
        "m0 │ the middle, which was lost",
        "m0 │ the end",
        "m0 │ (✓ 42 tokens · 2.9 s)",
    ]


def test_decisions_stand_between_what_led_to_them_and_what_follows() -> None:
    turn = Turn("architect", "coder", pattern="coordinator")
    plan = turn.asked("m0", purpose="plan", public=False)
    lines, console = lines_of(turn)
    turn.answered(plan, '{"participants": ["m1"]}')
    turn.event("route.decided", participants=["m1"], reason="closest", fallback=None)
    turn.failed(turn.asked("m1"), "set ACME_KEY")
    lines.update()
    assert written(console) == [
        "m0 │ (architect, rehearsal/steady)",
        "m0 │ (✓ planned · 42 tokens · 2.9 s)",
        "   │ plan: m1 – closest",
        "m1 │ (coder, rehearsal/steady)",
        "m1 │ set ACME_KEY",
        "m1 │ (✗ failed: ProviderUnavailable)",
    ]


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0", "$0.00"),
        ("12.5", "$12.50"),
        ("0.000120", "$0.00012"),
        ("0.5", "$0.50"),
        ("0.0000004", "< $0.000001"),
    ],
)
def test_money(amount: str, shown: str) -> None:
    assert money(amount) == shown


def test_a_cancelled_call_shows_what_it_used() -> None:
    turn = Turn("architect")
    step = turn.asked("m0")
    turn.event("turn.cancelled", reason="")
    usage = {"input": 5, "output": 7, "reasoning": 1, "estimated": True}
    turn.event("model.discarded", step, reason="cancelled", usage=usage, cost=None)
    assert state_line(turn.progress.calls[step], 0.0).plain == "– cancelled · ~8 tokens"
    text = "\n".join(rendered(TurnResult(turn.progress), 80))
    assert "turn t1 cancelled · ~8 tokens · no price known" in text
