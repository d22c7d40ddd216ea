"""What a model's server says of the model is a fact of the turns after it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from actors.providers.config import ProviderSpec
from events.types import ContextTrimmed, ModelAsked, TurnStarted
from tests.rooms import LocalRoom, local_room
from tests.servers.chat import whole
from tests.servers.dialects.dialect import MODEL, PICTURE
from tests.servers.dialects.ollama import OllamaDialect
from tests.servers.scripted import ScriptedServer, listening


async def facts(room: LocalRoom) -> list[dict[str, Any]]:
    started = [e.data for e in await room.store.read("s1") if isinstance(e.data, TurnStarted)]
    return [json.loads(room.blobs.get(one.facts))["a"] for one in started]


async def test_a_context_length_that_the_server_tells_trims_the_next_turn(tmp_path: Path) -> None:
    dialect = OllamaDialect()
    shown = {"model_info": {"general.architecture": "llama", "llama.context_length": 600}}
    server = ScriptedServer({**dialect.pages(), "/api/show": shown})
    answer = [*dialect.begin(), dialect.piece("word " * 200), *dialect.end()]
    server.reply(*answer, content_type=dialect.content_type)
    async with listening(server):
        spec = ProviderSpec(id="own", type="ollama", config=dialect.config(server.url))
        async with local_room(tmp_path, spec, environment={"KEY": "k"}) as room:
            body = {
                "session_id": "s1",
                "models": [{"id": "a", "provider": "own", "model_name": MODEL}],
            }
            assert (await room.http.post("/v1/sessions", json=body)).status_code == 201
            for text in ("One", "Two", "Three"):
                posted = await room.post("s1", f"{text} {'word ' * 100}", wait=20)
                assert posted["status"] == "completed"
            first, second, third = [one["context_length"] for one in await facts(room)]
            assert first != 600
            assert second == third == 600
            draft = {"content": "What would a fourth one cost?"}
            told = (await room.http.post("/v1/sessions/s1/estimate", json=draft)).json()
            assert told["output_tokens"]["most"] == 600, "nothing else bounds the answer"
            trimmed = [e for e in await room.store.read("s1") if isinstance(e.data, ContextTrimmed)]
            assert [event.turn for event in trimmed] == ["t2", "t3"]
            sent = [request.body["messages"] for request in server.requests]
            assert "Two" in str(sent[1])
            assert "One" not in str(sent[2])
            assert (await room.http.post("/v1/sessions/s1/replay")).json()["identical"] is True


async def test_a_model_that_turns_out_to_take_no_images_answers_the_next_turn(
    tmp_path: Path,
) -> None:
    server = ScriptedServer({})
    said = {"error": {"message": "image input is not supported - hint: use mmproj", "code": 500}}
    server.reply(json.dumps(said).encode(), status=500, content_type="application/json")
    server.reply(*whole("A cat, you say."))
    async with listening(server):
        spec = ProviderSpec(id="own", type="openai", config={"base_url": f"{server.url}/v1"})
        async with local_room(tmp_path, spec) as room:
            body = {
                "session_id": "s1",
                "models": [{"id": "a", "provider": "own", "model_name": MODEL}],
            }
            assert (await room.http.post("/v1/sessions", json=body)).status_code == 201
            data = {"name": "cat.png", "media_type": "image/png", "data": PICTURE.base64}
            path = "/v1/sessions/s1/turns?wait=20"
            first = await room.http.post(path, json={"content": "What?", "attachments": [data]})
            assert first.json()["status"] == "failed"
            assert len(server.requests) == 1, "what is refused for good is not asked again"
            second = await room.http.post(path, json={"content": "And in words?"})
            assert second.json()["status"] == "completed"
            assert [one["images"] for one in await facts(room)] == [True, False]
            asked = [e.data for e in await room.store.read("s1") if isinstance(e.data, ModelAsked)]
            assert [one.images_left_out for one in asked] == [0, 1]
            sent = json.dumps(server.requests[-1].body)
            assert "[Image left out: cat.png; this model takes no images]" in sent
            assert (await room.http.post("/v1/sessions/s1/replay")).json()["identical"] is True
