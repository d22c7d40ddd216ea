"""A workflow on an n8n server: what it is handed, what is taken, and what goes wrong."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import orjson
import pytest

from actors.frameworks.execution import Request
from actors.frameworks.n8n import N8n
from actors.frameworks.port import BadWorkflow, Result, WorkflowFailed
from api.running_apart import run_apart
from tests.frameworks import INPUTS, MODELS, request
from tests.servers.doors import TOKEN, OpenDoors, open_doors
from tests.servers.n8n import N8nServer, n8n_server

pytestmark = pytest.mark.contract

KEY = "key-of-this-test"
LONG = {"response": "execution", "api_key": "${N8N_KEY}", "poll_interval": 0.05}


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("N8N_KEY", KEY)


@asynccontextmanager
async def both() -> AsyncIterator[tuple[N8nServer, OpenDoors]]:
    async with open_doors() as doors, n8n_server(KEY) as n8n:
        yield n8n, doors


async def execute(n8n: N8nServer, doors: OpenDoors, path: str, **config: Any) -> Result:
    whole = {"webhook_url": f"{n8n.url}/webhook/{path}", **config}
    N8n().check(whole, MODELS)
    return await N8n().execute(whole, INPUTS, MODELS, doors.doors)


async def test_a_webhook_that_answers_at_the_end_gives_the_result() -> None:
    async with both() as (n8n, doors):
        result = await execute(n8n, doors, "whole", api_key="${N8N_KEY}")
    assert n8n.sent == [
        {
            "inputs": INPUTS,
            "model_webhooks": {id: f"{doors.models.url}/models/{id}/invoke" for id in MODELS},
            "token": TOKEN,
        }
    ]
    assert n8n.keys == [KEY]
    assert [request.path for request in doors.models.requests] == [
        "/models/architect/invoke",
        "/models/proponent1/invoke",
    ]
    assert result["output"].startswith("proponent1 says")
    assert result["outputs"]["draft"].startswith("architect says")


async def test_a_webhook_that_answers_at_once_is_followed_to_the_end_of_its_execution() -> None:
    async with both() as (n8n, doors):
        result = await execute(n8n, doors, "long", **LONG)
        again = await execute(n8n, doors, "long", **LONG)
    assert result["output"].startswith("proponent1 says")
    assert result["outputs"]["draft"].startswith("architect says")
    assert again == result


async def test_the_output_is_taken_from_where_the_configuration_says() -> None:
    async with both() as (n8n, doors):
        result = await execute(n8n, doors, "whole", output_key="draft")
        assert result["output"].startswith("architect says")
        with pytest.raises(WorkflowFailed, match=r"has nothing at 'draft.text'"):
            await execute(n8n, doors, "whole", output_key="draft.text")


async def test_n8n_may_reach_the_room_under_another_name() -> None:
    async with both() as (n8n, doors):
        room = doors.models.url.replace("127.0.0.1", "localhost")
        await execute(n8n, doors, "whole", room_url=f"{room}/")
    assert n8n.sent[0]["model_webhooks"]["architect"] == f"{room}/models/architect/invoke"


async def test_a_server_that_cannot_be_asked_for_a_while_is_asked_again() -> None:
    async with both() as (n8n, doors):
        n8n.hiccups = [502, 429, 0, 503]
        result = await execute(n8n, doors, "long", **LONG)
    assert n8n.hiccups == []
    assert result["output"].startswith("proponent1 says")
    assert not n8n.stopped.is_set()


async def test_an_execution_that_is_given_up_is_stopped() -> None:
    async with both() as (n8n, doors):
        doors.models.held = asyncio.Event()
        n8n.hiccups = [403]
        with pytest.raises(WorkflowFailed, match="answered 403"):
            await execute(n8n, doors, "long", **LONG)
        assert n8n.stopped.is_set()


@pytest.mark.parametrize(
    ("odd", "kept"),
    [("half \ud83d", "half ?"), (2**63, str(2**63)), (-(2**80), str(-(2**80))), (True, True)],
)
async def test_what_no_log_can_hold_is_kept_as_text(odd: Any, kept: Any) -> None:
    async def give(body: dict[str, Any]) -> dict[str, Any]:
        return {"output": "fine", "more": [odd]}

    async with both() as (n8n, doors):
        n8n.answering_at_end["odd"] = give
        result = await execute(n8n, doors, "odd")
    assert result["outputs"] == {"output": "fine", "more": [kept]}
    assert orjson.loads(orjson.dumps(result)) == result


async def test_a_webhook_that_is_not_active_is_said_to_be_so() -> None:
    async with both() as (n8n, doors):
        with pytest.raises(WorkflowFailed, match=r"answered 404: .*workflow is active"):
            await execute(n8n, doors, "nothing")


async def test_a_model_that_fails_fails_the_workflow() -> None:
    async with both() as (n8n, doors):

        def refuse(body: dict[str, Any]) -> dict[str, Any]:
            raise ValueError(body["model"])

        doors.models.saying = refuse
        with pytest.raises(WorkflowFailed, match=r"answered 500: .*\"Error in workflow\""):
            await execute(n8n, doors, "whole")
        with pytest.raises(WorkflowFailed, match="execution 1 of n8n ended as error: 500"):
            await execute(n8n, doors, "long", **LONG)


async def test_a_wrong_key_is_refused_and_stands_in_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("N8N_KEY", "secret-of-somebody")
    async with both() as (n8n, doors):
        with pytest.raises(WorkflowFailed, match="answered 401: check api_key") as refused:
            await execute(n8n, doors, "long", **LONG)
    assert "secret-of-somebody" not in refused.value.message


async def test_secrets_that_n8n_repeats_are_hidden() -> None:
    async with both() as (n8n, doors):

        async def repeat(body: dict[str, Any]) -> dict[str, Any]:
            return {"execution_id": None, "body": body}

        n8n.answering_at_end["repeat"] = repeat
        doors.models.requests.clear()
        with pytest.raises(WorkflowFailed) as refused:
            await execute(n8n, doors, "repeat", **LONG)
        assert TOKEN not in refused.value.message
        with pytest.raises(WorkflowFailed) as refused:
            await execute(n8n, doors, f"{TOKEN}")
    assert "***" in refused.value.message
    assert TOKEN not in refused.value.message


def echo(body: dict[str, Any], text: str = "") -> dict[str, Any]:
    """What the node Webhook of n8n gives on: all that it was sent."""
    headers = {"x-n8n-api-key": KEY, "authorization": 'Bearer of "the test"'}
    return {"headers": headers, "body": body, f"of {TOKEN}": [1, json.dumps(headers), text]}


@pytest.mark.parametrize("response", ["webhook", "execution"])
async def test_no_secret_that_n8n_repeats_stands_in_a_result(
    monkeypatch: pytest.MonkeyPatch, response: str
) -> None:
    monkeypatch.setenv("N8N_HEADER", 'of "the test"')

    async def repeat(body: dict[str, Any]) -> dict[str, Any]:
        return echo(body, f"/models?token={TOKEN}&key={KEY}")

    async with both() as (n8n, doors):
        n8n.answering_at_end["repeat"] = n8n.answering_at_once["repeat-long"] = repeat
        path = "repeat" if response == "webhook" else "repeat-long"
        more = LONG | {"response": response, "headers": {"Authorization": "Bearer ${N8N_HEADER}"}}
        result = await execute(n8n, doors, path, **more)
    assert n8n.keys == [KEY]
    said = json.dumps(result)
    assert TOKEN not in said
    assert KEY not in said
    assert "the test" not in said
    assert result["outputs"]["body"]["inputs"] == INPUTS
    assert result["outputs"]["headers"] == {"x-n8n-api-key": "***", "authorization": "Bearer ***"}


async def test_a_server_that_is_not_there_is_named() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{nobody.getsockname()[1]}"
        async with open_doors() as doors:
            with pytest.raises(WorkflowFailed, match=f"cannot be reached at {where}: start it"):
                await N8n().execute(
                    {"webhook_url": f"http://{where}/webhook/whole"}, INPUTS, MODELS, doors.doors
                )


@pytest.mark.parametrize(("path", "config"), [("whole", {}), ("long", LONG)])
async def test_a_workflow_that_takes_too_long_is_given_up(
    path: str, config: dict[str, Any]
) -> None:
    async with both() as (n8n, doors):
        doors.models.held = asyncio.Event()
        with pytest.raises(WorkflowFailed, match=r"did not finish within 2 s: raise timeout"):
            await execute(n8n, doors, path, **config, timeout=2)
        if config:
            await asyncio.wait_for(n8n.stopped.wait(), 20)


async def test_cancelling_a_run_leaves_the_webhook_or_stops_the_execution() -> None:
    async with both() as (n8n, doors):
        for path, config, ended in (("whole", {}, n8n.gone), ("long", LONG, n8n.stopped)):
            doors.models.held = asyncio.Event()
            doors.models.arrived.clear()
            running = asyncio.create_task(execute(n8n, doors, path, **config))
            await asyncio.wait_for(doors.models.arrived.wait(), 10)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            await asyncio.wait_for(ended.wait(), 10)


async def test_cancelling_stops_the_execution_where_the_product_runs_it(tmp_path: Path) -> None:
    async with both() as (n8n, doors):
        doors.models.held = asyncio.Event()
        config = {"webhook_url": f"{n8n.url}/webhook/long", **LONG}
        wanted = cast(Request, request("n8n", config, doors.doors))
        running = asyncio.create_task(run_apart(wanted, tmp_path))
        await asyncio.wait_for(doors.models.arrived.wait(), 10)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert n8n.stopped.is_set()
        assert n8n.executions["1"].status == "canceled"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"webhook_url": "ftp://here/x"}, "webhook_url: "),
        ({"webhook_url": "http://here/x", "api_key": "the-key-itself"}, "api_key: write a refer"),
        ({"webhook_url": "http://here/x", "response": "execution"}, "api_key: n8n tells of exec"),
        ({"webhook_url": "http://me:the-key-itself@here/x"}, "webhook_url: leave out the user"),
        ({"webhook_url": "http://here/x", "room_url": "http://me@here"}, "room_url: leave out"),
        ({"webhook_url": "http://here/x", "colour": "green"}, "colour: "),
        ({"webhook_url": "http://here/x", "api_key": "${OPENAI_API_KEY}"}, "begins with N8N_"),
        (
            {"webhook_url": "http://here/x", "headers": {"Authorization": "Bearer the-key-itself"}},
            "headers.Authorization: write the secret as a reference",
        ),
        (
            {"webhook_url": "http://here/x", "headers": {"x-api-key": "the-key-itself"}},
            "headers.x-api-key: ",
        ),
        ({"webhook_url": "http://here/x", "headers": {"X": "a ${file:/a}"}}, "headers.X: .*N8N_"),
        ({"webhook_url": "http://here/x", "headers": {"X": "${vault:N8N_/a#b}"}}, "headers.X: "),
    ],
)
def test_what_cannot_be_is_said_before_anything_runs(config: dict[str, Any], said: str) -> None:
    with pytest.raises(BadWorkflow, match=said) as refused:
        N8n().check(config, MODELS)
    assert "the-key-itself" not in refused.value.message


async def test_a_key_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("N8N_KEY")
    async with both() as (n8n, doors):
        with pytest.raises(BadWorkflow, match=r"n8n.* needs the environment variable N8N_KEY"):
            await execute(n8n, doors, "whole", api_key="${N8N_KEY}")
    assert n8n.sent == []


def test_the_schema_is_one() -> None:
    import jsonschema

    schema = N8n().config_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate({"webhook_url": "http://here/x"}, schema)
    assert "N8N_API_KEY" in json.dumps(schema)
