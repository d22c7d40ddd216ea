"""What a model does not take is left out and noted; what is wrong with a value is said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from events.errors import ProviderError
from events.values import Parameters
from tests.contract.every_provider import ASKED, answer, serving
from tests.contract.provider_calls import listen
from tests.servers import chat
from tests.servers.dialects.azure_openai import AzureDialect
from tests.servers.dialects.chat import ChatDialect
from tests.servers.dialects.huggingface import HuggingFaceDialect
from tests.servers.dialects.nvidia import NvidiaDialect
from tests.servers.dialects.responses import ResponsesDialect
from tests.servers.scripted import HANG, ScriptedServer

DIALECTS = [
    ChatDialect(),
    ResponsesDialect(),
    AzureDialect(),
    NvidiaDialect(),
    HuggingFaceDialect(),
]
WISHES = Parameters(temperature=0.5, top_p=0.9, seed=4)
of_each = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda one: type(one).__name__)


def refuse(server: ScriptedServer, *said: dict[str, Any]) -> None:
    """Refuse so first, one after the other."""
    good = server.replies.pop()
    for one in said:
        body = chat.error(**one)
        server.reply(body, status=400, content_type="application/json")
    server.replies.append(good)


def unsupported(key: str) -> dict[str, Any]:
    return {
        "message": f"Unsupported value: '{key}' does not support 0.5 with this model.",
        "type": "invalid_request_error",
        "param": key,
        "code": "unsupported_value",
    }


@of_each
async def test_what_is_not_supported_is_left_out_and_noted(dialect: Any) -> None:
    asked = replace(ASKED, parameters=WISHES)
    async with serving(dialect, *answer(dialect, "Yes.")) as (server, provider):
        refuse(server, unsupported("temperature"), unsupported("top_p"))
        answered = await listen(provider, asked)
        assert answered.text == "Yes."
        assert not {"temperature", "top_p"} & server.requests[2].body.keys()
        notes = [note for note in answered.end.notes if not note.startswith("seed")]
        assert notes == [
            "temperature: not taken by this model",
            "top_p: not taken by this model",
        ]
        await listen(provider, asked)
        assert len(server.requests) == 4, "it is remembered"


@of_each
async def test_a_wrong_value_is_an_error(dialect: Any) -> None:
    said = {"message": "Invalid 'temperature': expected a value <= 2", "param": "temperature"}
    async with serving(dialect, *answer(dialect, "Yes.")) as (server, provider):
        refuse(server, said)
        with pytest.raises(ProviderError, match="expected a value <= 2"):
            await listen(provider, replace(ASKED, parameters=WISHES))
        assert len(server.requests) == 1


async def test_a_seed_that_an_older_model_does_not_know_is_left_out() -> None:
    said = "[{'type': 'extra_forbidden', 'loc': ('body', 'seed'), 'msg': 'Extra inputs'}]"
    nim = NvidiaDialect()
    async with serving(nim, *answer(nim, "Yes.")) as (server, provider):
        refuse(server, {"message": said})
        answered = await listen(provider, replace(ASKED, parameters=WISHES))
        assert "seed" not in server.requests[1].body
        assert answered.end.notes == ("seed: not taken by this model",)


CHAT = [one for one in DIALECTS if not isinstance(one, ResponsesDialect)]


@pytest.mark.parametrize("dialect", CHAT, ids=lambda one: type(one).__name__)
async def test_stop_sequences_that_are_not_taken_are_kept_here(dialect: Any) -> None:
    asked = replace(ASKED, parameters=Parameters(stop=("END",)))
    pieces = [dialect.piece("The log. E"), dialect.piece("ND and"), HANG]
    async with serving(dialect, *dialect.begin(), *pieces) as (server, provider):
        refuse(server, unsupported("stop"))
        answered = await listen(provider, asked)
        assert answered.text == "The log. "
        assert answered.end.finish_reason == "stop"
        assert [note.partition(":")[0] for note in answered.end.notes] == ["stop", "stop"]
        server.replies.clear()
        server.reply(*answer(dialect, "Not the E"))
        assert (await listen(provider, asked)).text == "Not the E"
