"""`control-room runs`: the runs of workflows; `show`, `cancel`, `replay` one."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli import room
from api.cli.room import AsJson, Url

if TYPE_CHECKING:
    from api.client import RoomClient

app = typer.Typer(
    invoke_without_command=True,
    rich_markup_mode=None,
    help="List the runs of workflows, the latest first; show, cancel, replay one.",
    epilog=room.epilog(
        {
            "control-room run crew.json": "run the workflow in a file",
            "control-room runs": "the latest runs",
            "control-room runs show run_abc123": "each call of a run",
        },
        "0, 1 where the room is not there, 2 for wrong use.",
    ),
)
SHOW_EPILOG = room.epilog(
    {"control-room runs show run_abc123 --json": "with its whole result, for programs"},
    "0, 1 where there is no such run, 2 for wrong use.",
)
CANCEL_EPILOG = room.epilog(
    {"control-room runs cancel run_abc123": "no model and no tool is asked any more"},
    "0 where it is called off, 1 where there is no such run or it has ended, 2 for wrong use.",
)
REPLAY_EPILOG = room.epilog(
    {"control-room runs replay run_abc123": "needs no model and no tool server, and costs nothing"},
    "0 where the replay is identical, 1 where it diverges or cannot be made, 2 for wrong use.",
)

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="The run's id; 'runs' lists them.")]
Turn = Annotated[
    str | None,
    typer.Option(metavar="TURN", help="Which, of several inputs posted to it; default: the last."),
]


@app.callback()
def runs(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Most runs shown.")] = 50,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List the runs of workflows, the latest first; show, cancel, replay one."""
    if context.invoked_subcommand is not None:
        return

    async def work(client: RoomClient) -> int:
        found = await room.listed(client.runs, "runs", limit)
        if as_json:
            room.print_json({"runs": found})
        elif found:
            _print(found)
        else:
            room.console().print("no run yet: begin one with 'control-room run FILE'")
        return room.OK

    room.with_room(url, work)


def _print(found: list[dict[str, Any]]) -> None:
    from api.cli.tables import row, table
    from api.money import spent

    shown = table("run", "framework", "title", "status", "cost", "updated")
    for one in found:
        cost = spent(one["cost"], Decimal(one["cost"]) > 0, one["unpriced"])
        updated = one["updated_at"][:16].replace("T", " ")
        title = one["title"] or one["inputs"] or ""
        row(shown, one["run_id"], one["framework"], title, one["status"], cost, updated)
    room.console().print(shown)


@app.command(epilog=SHOW_EPILOG)
def show(run: RunArgument, turn: Turn = None, url: Url = None, as_json: AsJson = False) -> None:
    """Print a run: each call that it made, in order, and its output."""

    async def work(client: RoomClient) -> int:
        found = await client.run(run, turn)
        if as_json:
            room.print_json(found)
            return room.OK
        from api.run_lines import run_lines
        from api.terminal_text import safe, safe_line

        console = room.console()
        for line in run_lines(found):
            indent = line[: len(line) - len(line.lstrip())]
            console.print(indent + safe_line(line), soft_wrap=True)
        if found["output"] is not None:
            console.print(f"\n{safe(found['output'])}", soft_wrap=True)
        return room.OK

    room.with_room(url, work)


@app.command(epilog=CANCEL_EPILOG)
def cancel(run: RunArgument, url: Url = None, as_json: AsJson = False) -> None:
    """Call off a run: calls in flight are cancelled, and it can make no further one."""

    async def work(client: RoomClient) -> int:
        done = await client.cancel_run(run)
        return room.say(done, f"run {run} is called off", as_json=as_json)

    room.with_room(url, work)


@app.command(epilog=REPLAY_EPILOG)
def replay(run: RunArgument, turn: Turn = None, url: Url = None, as_json: AsJson = False) -> None:
    """Run a workflow again with everything that it asks answered from its log, and compare."""

    async def work(client: RoomClient) -> int:
        report = await client.replay_run(run, turn)
        if as_json:
            room.print_json(report)
        else:
            from api.terminal_text import safe_line

            console = room.console()
            for line in _report(run, report):
                console.print(safe_line(line), soft_wrap=True)
        return room.OK if report["identical"] else room.FAILED

    room.with_room(url, work)


def _report(run: str, report: dict[str, Any]) -> list[str]:
    lines = [f"run {run}, calls {report['calls']}"]
    if report["identical"]:
        return [*lines, "replay identical: every call was made again, and the result is the same"]
    found = report["divergence"]
    left = ", ".join(found["calls_left"])
    lines.append(f"replay diverged: {found['message']}")
    return [*lines, f"calls that were not made: {left}"] if left else lines
