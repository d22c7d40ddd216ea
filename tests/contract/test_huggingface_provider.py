"""What only Hugging Face does: loading models, endpoints, schemas, the classic form."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from actors.providers import chat_completions, huggingface_classic
from actors.providers.config import ProviderSpec, create
from actors.providers.port import ChatMessage, Delta, Tool
from events.errors import (
    BadResponse,
    ContextTooLong,
    ModelNotFound,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
)
from events.values import Parameters, Usage
from tests.contract.every_provider import ASKED, answer, serving
from tests.contract.provider_calls import Answered, listen
from tests.servers import chat
from tests.servers.dialects.dialect import KEY, MODEL, PICTURE
from tests.servers.dialects.huggingface import ClassicDialect, HuggingFaceDialect, token

ROUTER, CLASSIC = HuggingFaceDialect(), ClassicDialect()
BOTH = pytest.mark.parametrize("dialect", [ROUTER, CLASSIC], ids=["chat", "classic"])
SCHEMA = {"type": "object", "properties": {"go": {"type": "boolean"}}, "required": ["go"]}
ASKED_FOR_SCHEMA = replace(ASKED, parameters=Parameters(schema_=SCHEMA))


# --- refusals -----------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(("seconds", "after"), [(20.5, 20.5), (300, 60)])
async def test_a_model_that_is_loading_is_waited_for(
    dialect: Any, seconds: float, after: float
) -> None:
    said = {"error": f"Model {MODEL} is currently loading", "estimated_time": seconds}
    async with serving(dialect, json.dumps(said).encode(), status=503) as (_, provider):
        with pytest.raises(ProviderUnavailable, match=f"in {seconds:g} s") as caught:
            await listen(provider, ASKED)
        assert caught.value.retryable
        assert caught.value.retry_after == after


TOO_LONG = "Input validation error: `inputs` must have less than 1024 tokens. Given: 2048"
REFUSALS: list[tuple[int, dict[str, Any], type[ProviderError]]] = [
    (400, {"error": {"message": "no provider", "code": "model_not_supported"}}, ModelNotFound),
    (422, {"error": TOO_LONG, "error_type": "validation"}, ContextTooLong),
    (422, {"error": "`top_k` must be > 0", "error_type": "validation"}, ProviderError),
    (424, {"error": "out of memory", "error_type": "generation"}, ProviderUnavailable),
    (429, {"error": "Model is overloaded", "error_type": "overloaded"}, RateLimited),
    (402, {"error": "You have exceeded your monthly included credits"}, RateLimited),
]


@BOTH
@pytest.mark.parametrize(("status", "said", "expected"), REFUSALS)
async def test_a_refusal_has_its_class(
    dialect: Any, status: int, said: dict[str, Any], expected: type[ProviderError]
) -> None:
    async with serving(dialect, json.dumps(said).encode(), status=status) as (server, provider):
        with pytest.raises(expected) as caught:
            await listen(provider, ASKED)
        assert type(caught.value) is expected
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("overloaded", RateLimited),
        ("validation", ProviderError),
        ("generation", ProviderUnavailable),
        (None, ProviderUnavailable),
    ],
)
async def test_an_error_within_a_classic_stream_has_its_class(
    kind: str | None, expected: type[ProviderError]
) -> None:
    failure = chat.event({"error": "it says why", "error_type": kind})
    answered = Answered()
    async with serving(CLASSIC, token("The "), failure) as (_, provider):
        with pytest.raises(expected, match="it says why") as caught:
            await listen(provider, ASKED, answered)
        assert type(caught.value) is expected
    assert answered.text == "The "


# --- chat completions ---------------------------------------------------------------------------


async def test_an_endpoint_is_found_by_its_plain_address() -> None:
    async with serving(ROUTER, *answer(ROUTER, "Yes.")) as (server, _):
        spec = ProviderSpec(id="own", type="huggingface", config={"base_url": server.url})
        own = create(spec, {})
        assert (await listen(own, ASKED)).text == "Yes."
        assert server.requests[0].path == "/v1/chat/completions"
        assert await own.models() == (MODEL,)
        await own.close()


async def test_a_schema_is_sent_in_the_other_form_where_the_first_is_refused() -> None:
    async with serving(ROUTER, *answer(ROUTER, '{"go": true}')) as (server, provider):
        good = server.replies.pop()
        said = "Failed to deserialize the JSON body: response_format: missing field `value`"
        server.reply(json.dumps({"error": said}).encode(), status=422, content_type="text/plain")
        server.replies.append(good)
        answered = await listen(provider, ASKED_FOR_SCHEMA)
        assert server.requests[1].body["response_format"] == {
            "type": "json_object",
            "value": SCHEMA,
        }
        assert answered.end.notes == ()
        assert provider.capabilities(MODEL).structured_output


@pytest.mark.parametrize("reason", ["eos_token", "stop_sequence"])
async def test_an_end_under_another_name_is_a_stop(reason: str) -> None:
    steps = [chat.chunk("Yes."), chat.chunk(finish=reason), chat.DONE]
    async with serving(ROUTER, *steps) as (_, provider):
        assert (await listen(provider, ASKED)).end.finish_reason == "stop"


# --- classic ------------------------------------------------------------------------------------


def with_stops(*stops: str) -> Any:
    return replace(ASKED, parameters=Parameters(stop=stops))


def generated(*texts: str, reason: str = "stop_sequence") -> list[bytes]:
    *first, last = texts
    details = {"finish_reason": reason, "generated_tokens": 3, "input_length": 7}
    end = token(last, generated_text="".join(texts), details=details)
    return [*map(token, first), end]


@pytest.mark.parametrize(
    ("texts", "stops", "expected"),
    [
        (("Yes", ".E", "ND"), ("END",), "Yes."),
        (("Yes", ".E", "N", " D", "END"), ("END",), "Yes.EN D"),
        (("Yes", "User", ":"), ("System:", "User:"), "Yes"),
        (("EN", "EN", "D"), ("END",), "EN"),
        (("Yes",), ("END",), "Yes"),
        (("Yes", ".E"), (), "Yes.E"),
    ],
)
async def test_a_stop_sequence_is_no_part_of_a_classic_answer(
    texts: tuple[str, ...], stops: tuple[str, ...], expected: str
) -> None:
    async with serving(CLASSIC, *generated(*texts)) as (_, provider):
        answered = await listen(provider, with_stops(*stops))
        assert answered.text == expected
        assert answered.end.finish_reason == "stop"


async def test_what_begins_like_a_stop_sequence_is_given_out_at_a_cut() -> None:
    async with serving(CLASSIC, *generated("Yes", ".E", reason="length")) as (_, provider):
        answered = await listen(provider, with_stops("END"))
        assert (answered.text, answered.end.finish_reason) == ("Yes.E", "length")


async def test_only_the_begin_of_a_stop_sequence_is_held_back() -> None:
    heard = asyncio.Event()
    async with serving(CLASSIC, token("The E"), heard, *generated("log.")) as (_, provider):
        texts = []
        async with aclosing(provider.stream(with_stops("END"))) as stream:
            async for item in stream:
                if isinstance(item, Delta):
                    texts.append(item.text)
                    heard.set()
        assert texts == ["The ", "Elog."]


async def test_the_template_of_the_participant_goes_before_that_of_the_model() -> None:
    asked = replace(ASKED, chat_template="<{{ messages[0].content }}>")
    async with serving(CLASSIC, *answer(CLASSIC, "Yes.")) as (server, provider):
        assert provider.capabilities(MODEL).chat_template
        await listen(provider, asked)
        assert server.requests[0].body["inputs"] == "<Say something about the event log.>"


async def test_without_any_template_chatml_is_used_and_noted() -> None:
    config = {"chat_template": None}
    steps = generated("Yes.", "<|im_end|>")
    async with serving(CLASSIC, *steps, config=config) as (server, provider):
        answered = await listen(provider, with_stops("END"))
        body = server.requests[0].body
        assert body["inputs"].endswith("<|im_end|>\n<|im_start|>assistant\n")
        assert body["parameters"]["stop"] == ["END", "<|im_end|>"]
        assert answered.text == "Yes."
        assert any("ChatML" in note for note in answered.end.notes)


async def test_what_the_classic_form_cannot_take_is_noted() -> None:
    parameters = Parameters(temperature=0, top_p=1)
    tool = Tool("look_up", "Looks up.", {"type": "object"})
    asked = replace(ASKED, parameters=parameters, tools=(tool,))
    async with serving(CLASSIC, *answer(CLASSIC, "Yes.")) as (server, provider):
        notes = (await listen(provider, asked)).end.notes
        sent = server.requests[0].body["parameters"]
        assert not {"temperature", "top_p"} & sent.keys()
        assert sent["do_sample"] is False
        assert [note.partition(":")[0] for note in notes] == ["temperature", "tools"]


async def test_the_classic_form_refuses_a_picture() -> None:
    asked = replace(ASKED, messages=(ChatMessage("user", "What?", images=(PICTURE,)),))
    async with serving(CLASSIC) as (server, provider):
        with pytest.raises(ProviderError, match="use api chat"):
            await listen(provider, asked)
        assert server.requests == []


@pytest.mark.parametrize("key", ["grammar", "seed"])
async def test_a_parameter_that_is_refused_is_left_out_and_noted(key: str) -> None:
    asked = replace(ASKED, parameters=Parameters(seed=4, schema_=SCHEMA))
    async with serving(CLASSIC, *answer(CLASSIC, "Yes.")) as (server, provider):
        good = server.replies.pop()
        said = json.dumps({"error": [f"{key} is not a known parameter"]}).encode()
        server.reply(said, status=400, content_type="application/json")
        server.replies.append(good)
        answered = await listen(provider, asked)
        assert key not in server.requests[1].body["parameters"]
        [note] = answered.end.notes
        assert note.startswith(f"{key}: not taken")
        assert provider.capabilities(MODEL).structured_output is (key != "grammar")


async def test_a_server_without_details_is_read_as_well() -> None:
    body = json.dumps([{"generated_text": "The log."}]).encode()
    async with serving(CLASSIC, body, content_type="application/json") as (_, provider):
        answered = await listen(provider, ASKED)
        assert (answered.text, answered.end.finish_reason) == ("The log.", "stop")
        assert answered.end.usage is None
        assert any("finish_reason" in note for note in answered.end.notes)


async def test_details_of_another_form_are_a_bad_response() -> None:
    end = token("Yes.", generated_text="Yes.", details={"finish_reason": 7})
    async with serving(CLASSIC, end) as (_, provider):
        with pytest.raises(BadResponse, match="form of text generation"):
            await listen(provider, ASKED)


async def test_an_endpoint_that_does_not_tell_its_model_lists_none() -> None:
    async with serving(CLASSIC) as (server, provider):
        server.pages.clear()
        assert await provider.models() == ()


async def test_the_hosted_classic_form_has_the_model_in_its_address() -> None:
    spec = ProviderSpec(id="hf", type="huggingface", config={"api": "classic", "api_key": "${KEY}"})
    hosted: Any = create(spec, {"KEY": KEY})
    asked = replace(ASKED, model="org/a model")
    assert hosted._path(asked) == "/org/a%20model"
    assert hosted._http._base_url == "https://router.huggingface.co/hf-inference/models"
    assert await hosted.models() == ()


# --- usage --------------------------------------------------------------------------------------


def test_usage_of_the_vendor_s_documented_examples() -> None:
    # The chat_completion method of InferenceClient, huggingface_hub.
    raw = {"completion_tokens": 8, "prompt_tokens": 17, "total_tokens": 25}
    assert chat_completions.normalised(raw) == Usage(input=17, output=8)
    # Its text_generation method: the prompt is not counted.
    details = {"finish_reason": "length", "generated_tokens": 12, "seed": None}
    assert huggingface_classic.normalised(details) is None
    # With the field that TextGenerationStreamOutputStreamDetails has for it.
    assert huggingface_classic.normalised({**details, "input_length": 6}) == Usage(
        input=6, output=12
    )
