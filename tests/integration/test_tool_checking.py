"""Arguments are checked in a process that may be ended."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import psutil
import pytest

from actors.tools.checking import Checker, plain
from events.errors import BadArguments, ToolError
from tests.integration.test_tool_faults import gone
from tests.unit.test_forms import doubling
from tests.waiting import eventually

CHOICE: dict[str, Any] = {"properties": {"a": {"anyOf": [{"type": "string"}, {"type": "null"}]}}}
"""A schema that is not checked in place."""
SECOND = """
import asyncio
from actors.tools.checking import Checker
from tests.integration.test_tool_checking import CHOICE

async def main():
    checker = Checker()
    await checker.check("t", CHOICE, {})
    print(checker.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        (doubling(40), {}),
        ({"properties": {"a": {"pattern": "^(a+)+$"}}}, {"a": "a" * 40 + "!"}),
        (
            {"properties": {"a": {"uniqueItems": True}}},
            {"a": [{"a": n} for n in range(20_000)]},
        ),
    ],
)
async def test_a_check_that_takes_for_ever_is_ended_and_holds_up_nobody(
    schema: dict[str, Any], arguments: dict[str, Any]
) -> None:
    checker = Checker(within=2)
    try:
        await checker.check("t", CHOICE, {"a": "x"})
        first = checker.pid
        checking = asyncio.create_task(checker.check("t", schema, arguments))
        await checker_is_busy(checker)
        await checker.check("t", {"type": "object"}, {})  # meanwhile, in place
        assert not checking.done()
        with pytest.raises(ToolError, match="could not be checked in time"):
            await checking
        assert first is not None
        await eventually(lambda: not psutil.pid_exists(first), within=20, what="its end")
        with pytest.raises(BadArguments, match="a: 1 is not"):
            await checker.check("t", CHOICE, {"a": 1})
        assert checker.pid != first
    finally:
        await checker.stop()


async def checker_is_busy(checker: Checker) -> None:
    pid = checker.pid
    assert pid is not None
    process = psutil.Process(pid)
    before = process.cpu_times().user
    await eventually(lambda: process.cpu_times().user > before + 0.1, within=20, what="the check")


async def test_what_a_schema_is_not_is_told_from_there_too() -> None:
    checker = Checker()
    try:
        nowhere = {"properties": {"a": {"$ref": "#/$defs/none"}}}
        with pytest.raises(ToolError, match="refers to nothing"):
            await checker.check("t", nowhere, {"a": 1})
        deep: dict[str, Any] = {}
        for _ in range(300):
            deep = {"a": deep}
        with pytest.raises(BadArguments, match="nested too deeply"):
            await checker.check("t", CHOICE, deep)
        with pytest.raises(ToolError, match="nested too deeply"):
            await checker.check("t", deep, {})
    finally:
        await checker.stop()


async def test_one_that_died_is_replaced_and_a_cancelled_check_ends_it() -> None:
    checker = Checker()
    try:
        await checker.check("t", CHOICE, {})
        assert checker.pid is not None
        psutil.Process(checker.pid).kill()
        with pytest.raises(BadArguments):
            await checker.check("t", CHOICE, {"a": 1})
        checking = asyncio.create_task(checker.check("t", doubling(40), {}))
        await checker_is_busy(checker)
        checking.cancel()
        await asyncio.gather(checking, return_exceptions=True)
        await checker.check("t", CHOICE, {"a": "x"})
    finally:
        await checker.stop()


async def test_it_ends_with_a_process_that_is_killed() -> None:
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SECOND, stdout=asyncio.subprocess.PIPE
    )
    assert owner.stdout
    checking = psutil.Process(int(await asyncio.wait_for(owner.stdout.readline(), 30)))
    owner.kill()
    await owner.wait()
    await eventually(lambda: gone(checking), within=20, what="its end")


@pytest.mark.parametrize(
    ("schema", "harmless"),
    [
        ({}, True),
        ({"properties": {"pattern": {"type": "string", "enum": ["a"]}}, "required": ["a"]}, True),
        ({"properties": {"a": {"items": {"properties": {"b": {"minimum": 1}}}}}}, True),
        ({"additionalProperties": False}, True),
        ({"properties": {"a": {"items": {"properties": {"b": {"pattern": "x"}}}}}}, False),
        ({"additionalProperties": {"$ref": "#"}}, False),
        ({"uniqueItems": True}, False),
        ({"properties": []}, False),
        ({"items": [{}]}, False),
        (doubling(1), False),
    ],
)
def test_what_is_checked_in_place(schema: dict[str, Any], harmless: bool) -> None:
    assert plain(schema) is harmless
