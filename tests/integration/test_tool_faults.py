"""A tool's death, hang, nonsense and floods harm nothing but their own call."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from pathlib import Path

import psutil
import pytest

from actors.tools.stdio import end_orphans
from events.tools import ElicitationAnswered
from events.values import Blob
from tests.integration.tool_calls import Caller, calling, stubborn
from tests.waiting import eventually


async def test_a_program_that_dies_loses_its_call_and_is_started_again(
    module_nats_url: str, tmp_path: Path
) -> None:
    async with calling(module_nats_url, stubborn(tmp_path)) as caller:
        hanging = await caller.begin("hang")
        await eventually(lambda: said(tmp_path, "called") == ["hang"], within=20, what="the call")
        error, message = await caller.failure("die")
        assert error == "ToolLost"
        assert "may have been carried out" in message
        lost = (await caller.outcome(hanging)).tool_failed  # of the same process
        assert lost is not None
        assert lost.error == "ToolLost"
        assert not lost.unheard
        assert await caller.text("echo", message="back") == "back"
        assert said(tmp_path, "called") == ["hang", "die", "echo"]  # and none of them twice
        assert len(said(tmp_path, "started")) == 2


async def test_a_killed_program_is_started_again_before_anybody_calls(
    module_nats_url: str, tmp_path: Path
) -> None:
    async with calling(module_nats_url, stubborn(tmp_path)) as caller:
        await caller.listed()
        psutil.Process(int(said(tmp_path, "started")[0])).kill()
        await eventually(
            lambda: len(said(tmp_path, "started")) == 2, within=20, what="the second start"
        )
        await caller.listed()
        assert any("SIGKILL" in one.problem for one in caller.listings if not one.up)


async def test_a_call_without_an_answer_ends_in_time_and_the_server_is_told(
    module_nats_url: str, tmp_path: Path
) -> None:
    async with calling(module_nats_url, stubborn(tmp_path, timeout=2)) as caller:
        await caller.listed()
        error, message = await caller.failure("hang")
        assert error == "ToolTimeout"
        assert "2 s" in message
        assert await caller.text("echo", message="still here") == "still here"
        assert len(said(tmp_path, "cancelled")) == 1


async def test_a_cancelled_call_is_cancelled_on_the_server_and_has_no_outcome(
    module_nats_url: str, tmp_path: Path
) -> None:
    async with calling(module_nats_url, stubborn(tmp_path)) as caller:
        step = await caller.begin("hang")
        await eventually(lambda: said(tmp_path, "called"), within=20, what="the call")
        await caller.cancel(step)
        await eventually(lambda: said(tmp_path, "cancelled"), within=10, what="its end")
        await eventually(lambda: caller.actor.idle > 0, within=10, what="nobody calls")
        assert caller.outcomes[step].empty()


async def test_lines_that_are_no_messages_are_left_out(
    module_nats_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with calling(module_nats_url, stubborn(tmp_path)) as caller:
        assert await caller.text("nonsense") == "after nonsense"
        assert await caller.failure("no_result") == (
            "BadResult",
            "the answer of tool server 'stubborn' cannot be used: it is no result of a tool:"
            " content: Input should be a valid list",
        )
        assert (await caller.failure("picture"))[0] == "BadResult"
        assert await caller.text("echo", message="on") == "on"
    assert "wrote what is no message: 'this is no message'" in caplog.text


async def test_an_endless_line_ends_the_program(
    module_nats_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.tools.lines.LONGEST_LINE", 2_000_000)
    monkeypatch.setattr("actors.tools.stdio.ENDLESS", 4_000_000)
    async with calling(module_nats_url, stubborn(tmp_path)) as caller:
        assert (await caller.failure("endless"))[0] == "ToolLost"
        assert await caller.text("echo", message="back") == "back"


async def test_an_answer_that_is_too_long_harms_only_its_call(
    module_nats_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.tools.lines.LONGEST_LINE", 2_000_000)
    async with calling(module_nats_url, stubborn(tmp_path)) as caller:
        hanging = await caller.begin("hang")
        error, message = await caller.failure("big", bytes=3_000_000)
        assert error == "BadResult"
        assert "more than can be kept" in message
        assert await caller.text("echo", message="on") == "on"
        assert caller.outcomes[hanging].empty()
        assert len(said(tmp_path, "started")) == 1


async def test_a_flood_of_notifications_leaves_other_calls_alone(
    module_nats_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with calling(module_nats_url, stubborn(tmp_path)) as caller:
        await caller.listed()
        flood = await caller.begin("flood", '{"messages": 20000}')
        assert await caller.text("echo", message="meanwhile") == "meanwhile"
        returned = (await caller.outcome(flood)).returned
        assert returned is not None
        assert returned.text == "after the flood"
    assert "sends notifications without end" in caplog.text


async def test_long_results_lie_beside_the_log_and_longer_ones_are_refused(
    module_nats_url: str, tmp_path: Path
) -> None:
    async with calling(module_nats_url, stubborn(tmp_path)) as caller:
        text = await caller.text("big", bytes=10_000_000)
        assert isinstance(text, Blob)
        assert caller.blobs.get(text) == b"x" * 10_000_000
        error, message = await caller.failure("big", bytes=33 * 1024 * 1024)
        assert error == "BadResult"
        assert "ask for less" in message
        assert await caller.text("echo", message="on") == "on"


async def test_arguments_that_do_not_fit_are_never_passed_on(
    module_nats_url: str, tmp_path: Path
) -> None:
    async with calling(module_nats_url, stubborn(tmp_path)) as caller:
        await caller.listed()
        for arguments, why in (
            ('{"message": 5}', "message: 5 is not of type 'string'"),
            ("{}", "'message' is a required property"),
            ('{"message": "x", "more": 1}', "'more' was unexpected"),
            ('{"message": ', "are not JSON"),
            ('["message"]', "have to be a JSON object"),
        ):
            failed = (await caller.outcome(await caller.begin("echo", arguments))).tool_failed
            assert failed is not None
            assert failed.error == "BadArguments"
            assert why in failed.message
        assert said(tmp_path, "called") == []


async def test_a_list_that_changes_is_told(module_nats_url: str, tmp_path: Path) -> None:
    async with calling(module_nats_url, stubborn(tmp_path)) as caller:
        before = await caller.listed()
        await caller.text("more")
        await eventually(lambda: caller.listings[-1].tools != before.tools, within=10, what="it")
        blob = caller.listings[-1].tools
        assert blob is not None
        assert json.loads(caller.blobs.get(blob))[-1]["name"] == "extra"
        assert await caller.text("extra") == "extra is done"


async def test_a_list_that_changes_all_the_time_is_asked_for_now_and_then(
    module_nats_url: str, tmp_path: Path
) -> None:
    async with calling(module_nats_url, stubborn(tmp_path)) as caller:
        await caller.listed()
        assert await caller.text("churn", times=40) == "nothing is another"  # in two seconds
        assert 2 <= len(said(tmp_path, "listed")) <= 4


async def test_a_tool_that_is_told_of_at_too_great_length_is_left_out(
    module_nats_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec = stubborn(tmp_path, env={"WORDS": '{"leave": 16384, "more": 3000}'})
    why = "'leave': its description has 16390 bytes, more than 16384"
    async with calling(module_nats_url, spec) as caller:
        listing = await caller.listed()
        assert listing.left_out == (why,)
        assert listing.tools is not None
        names = [tool["name"] for tool in json.loads(caller.blobs.get(listing.tools))]
        assert "leave" not in names
        assert "more" in names
        assert await caller.text("echo", message="on") == "on"
    assert f"tools of stubborn are left out: {why}" in caplog.text


async def test_a_list_that_can_be_followed_no_more_is_followed_anew(
    module_nats_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with calling(module_nats_url, stubborn(tmp_path)) as caller:
        await caller.listed()
        with monkeypatch.context() as faulty:
            faulty.setattr("actors.tools.bounds.LONGEST_LIST", None)  # comparing raises
            await caller.text("more")
            await eventually(lambda: not caller.actor.listing().up, within=10, what="its end")
        await caller.listed()
        assert len(said(tmp_path, "started")) >= 2
        assert await caller.text("more") == "there is more"
    assert "changes of stubborn can be followed no more" in caplog.text


async def test_progress_is_shown(module_nats_url: str, tmp_path: Path) -> None:
    async with calling(module_nats_url, stubborn(tmp_path)) as caller:
        assert await caller.text("progress") == "all of it"
        await eventually(lambda: caller.deltas, within=10, what="what is shown")
        shown = "".join(delta["text"] for delta in caller.deltas)
        assert {delta["channel"] for delta in caller.deltas} == {"status"}
        assert "2 of 2: part 2\n" in shown


async def test_what_a_tool_asks_reaches_the_person_and_the_answer_reaches_the_tool(
    module_nats_url: str, tmp_path: Path
) -> None:
    async with calling(module_nats_url, stubborn(tmp_path, timeout=2)) as caller:
        step = await caller.begin("asks")
        question = (await caller.outcome(step)).elicited
        assert question is not None
        assert question.message == "Which colour?"
        assert question.form is not None
        assert question.form["required"] == ["colour"]
        with pytest.raises(TimeoutError):  # its time stands still
            await caller.outcome(step, within=3)
        answered = ElicitationAnswered(id=question.id, action="accept", content={"colour": "red"})
        await caller.answer(step, answered)
        returned = (await caller.outcome(step)).returned
        assert returned is not None
        assert isinstance(returned.text, str)
        assert json.loads(returned.text)["content"] == {"colour": "red"}


async def test_where_it_is_unclear_which_call_asks_nobody_is_asked(
    module_nats_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(caller: Caller) -> bool:
        outcome = await caller.call("asks")
        return outcome.returned is not None and "nobody can tell who is asked" in str(
            outcome.returned.text
        )

    async with calling(module_nats_url, stubborn(tmp_path)) as caller:
        await caller.listed()
        other = await caller.begin("hang")  # of whichever session: it may be this one that asks
        await eventually(lambda: said(tmp_path, "called") == ["hang"], within=20, what="the call")
        assert await refused(caller)
        await caller.cancel(other)
        await eventually(lambda: caller.actor.idle > 0, within=10, what="nobody calls")
        assert await refused(caller)  # the other may go on on the server, and ask
        monkeypatch.setattr("actors.tools.connection.CALLED_OFF", 0.0)
        assert (await caller.outcome(await caller.begin("asks"))).elicited is not None


async def test_an_idle_connection_is_tried_before_a_call(
    module_nats_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.tools.link.IDLE", 0.0)
    monkeypatch.setattr("actors.tools.link.ALIVE_WITHIN", 0.5)
    async with calling(module_nats_url, stubborn(tmp_path)) as caller:
        assert await caller.text("echo", message="one") == "one"
        assert said(tmp_path, "pinged")
        program = psutil.Process(int(said(tmp_path, "started")[0]))
        program.suspend()  # it answers no more, and is not dead
        assert await caller.text("echo", message="two") == "two"
        assert len(said(tmp_path, "started")) == 2
        assert not program.is_running()


async def test_secrets_are_in_no_message_and_no_log(
    module_nats_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    spec = stubborn(tmp_path, env={"SECRET": "${THE_SECRET}"})
    assert "hidden-from-all" not in repr(spec)
    async with calling(module_nats_url, spec, {"THE_SECRET": "hidden-from-all"}) as caller:
        error, message = await caller.failure("secret")
        assert (error, message) == (
            "ToolError",
            "tool server 'stubborn' answered with error -32000: wrong: [secret]",
        )
        await eventually(lambda: "the secret is [secret]" in caplog.text, within=10, what="it")
    assert "hidden-from-all" not in caplog.text


async def test_a_command_that_is_not_there_is_named(module_nats_url: str, tmp_path: Path) -> None:
    spec = stubborn(tmp_path).model_copy(update={"command": "no-such-command"})
    async with calling(module_nats_url, spec) as caller:
        failed = (await caller.call("echo", message="x")).tool_failed
        assert failed is not None
        assert failed.retryable
        assert failed.error == "ToolUnavailable"
        assert "the command 'no-such-command'" in failed.message
        assert "was not found" in failed.message


async def test_what_a_program_has_started_ends_with_it(
    module_nats_url: str, tmp_path: Path
) -> None:
    async with calling(module_nats_url, stubborn(tmp_path)) as caller:
        await caller.text("leave")
        left = psutil.Process(int(said(tmp_path, "left")[0]))
        assert left.is_running()
    await eventually(lambda: gone(left), within=10, what="the end of what it has started")


async def test_what_a_killed_actor_has_left_is_ended_by_the_next(tmp_path: Path) -> None:
    mark = f"CTLROOM_TOOL_SERVER=orphaned@{2**22 + 1}"  # no process has that id
    left = await asyncio.create_subprocess_exec("env", mark, "sleep", "600")
    own = await asyncio.create_subprocess_exec(
        "env", f"CTLROOM_TOOL_SERVER=orphaned@{os.getpid()}", "sleep", "600"
    )
    try:
        await eventually(lambda: end_orphans("orphaned"), within=10, what="its end")
        assert await asyncio.wait_for(left.wait(), 10) == -9
        assert end_orphans("another") == 0
        assert own.returncode is None
    finally:
        own.kill()
        await own.wait()


def said(folder: Path, name: str) -> list[str]:
    path = folder / name
    return path.read_text().splitlines() if path.exists() else []


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
