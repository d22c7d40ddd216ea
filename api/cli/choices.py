"""`control-room choices`: the cheapest and the fastest model for each kind of work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from api.cli import room
from api.cli.costs import Since, Tag, Until
from api.cli.room import AsJson, Url

if TYPE_CHECKING:
    from rich.console import RenderableType

    from api.client import RoomClient

EPILOG = room.epilog(
    {
        "control-room choices": "every kind of work that several models have done",
        "control-room choices --tag trial-7": "in the sessions of one experiment",
    },
    "0, 1 where the room is not there, 2 for wrong use.",
)
COLUMNS = ("model", "answers", "failed", "first token", "duration", "p95", "in", "out", "cost")


def choices(
    tag: Tag = None,
    since: Since = None,
    until: Until = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show which model was the cheapest, and which the fastest, for the same kind of work.

    Compared are calls for the same purpose under the same routing pattern. Tokens, times and costs
    are medians; a model with few answers is called neither.
    """

    async def work(client: RoomClient) -> int:
        found = await client.choices(tag=tag, since=since, until=until)
        if as_json:
            room.print_json(found)
            return room.OK
        console = room.console()
        for part in choices_shown(found):
            console.print(part)
        return room.OK

    room.with_room(url, work)


def choices_shown(found: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Each kind of work as a table, and what can be said of it."""
    from rich.text import Text

    from api.cli.tables import row, table

    if not found["comparisons"]:
        yield Text("no two models have done the same kind of work yet")
    for number, comparison in enumerate(found["comparisons"]):
        if number:
            yield ""
        yield Text(f"{comparison['pattern']}: {comparison['purpose']}", style="bold")
        votes = any(model["votes"] for model in comparison["models"])
        names = (*COLUMNS, "votes won") if votes else COLUMNS
        shown = table(*names, right=names[1:])
        for model in comparison["models"]:
            row(shown, *_figures(model)[: len(names)])
        yield shown
        for what in ("cheapest", "fastest"):
            yield Text(f"{what}: {_names(comparison[what], found['minimum'])}")


def _figures(model: Mapping[str, Any]) -> tuple[str, ...]:
    from api.money import UNKNOWN, money

    first, whole, votes = model["first_token"], model["duration"], model["votes"]
    return (
        f"{model['provider']}/{model['model']}",
        str(model["answered"]),
        f"{model['failure_rate']:.0%}",
        _seconds(first and first["median"]),
        _seconds(whole and whole["median"]),
        _seconds(whole and whole["p95"]),
        _count(model["input_tokens"]),
        _count(model["output_tokens"]),
        UNKNOWN if model["cost"] is None else money(model["cost"]),
        f"{votes['won']} of {votes['stood']}" if votes else "-",
    )


def _names(models: list[Mapping[str, Any]], minimum: int) -> str:
    if not models:
        return f"not known; that takes {minimum} answers of two models"
    return ", ".join(f"{model['provider']}/{model['model']}" for model in models)


def _seconds(milliseconds: float | None) -> str:
    return "-" if milliseconds is None else f"{milliseconds / 1000:.2f} s"


def _count(tokens: float | None) -> str:
    return "-" if tokens is None else f"{tokens:g}"
