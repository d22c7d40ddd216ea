"""llama.cpp within the actor: a server of the test's own takes the place of the one that it starts.

What a real one answers is held by `tests/contract/test_llama_cpp_provider.py`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from actors.providers.http_provider import HttpProvider
from actors.providers.llama_completion import CompletionOptions, CompletionProvider
from actors.providers.local_llama import LocalServer
from actors.providers.openai import OpenAIOptions, OpenAIProvider
from events.values import Usage
from tests.servers.dialects.chat import ChatDialect
from tests.servers.dialects.dialect import COMPLETION, KEY, MODEL, PROMPT, Feature, Sent, chosen
from tests.servers.dialects.texts import TEMPLATE, texts_of

NO_WHOLE = "it always streams: there is no such option"


class LlamaCppDialect(ChatDialect):
    """Its chat completions."""

    type = "llama_cpp"
    name = "llama_cpp"
    lacks: Mapping[Feature, str] = {
        "whole": NO_WHOLE,
        "images": "a GGUF file of a language model alone does not see",
    }

    def __init__(self) -> None:
        self._folder = TemporaryDirectory()

    def config(self, url: str) -> dict[str, Any]:
        # A file without a model: only its head is read.
        path = Path(self._folder.name, "a-model.gguf")
        path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 0))
        return {"models": {MODEL: {"path": str(path)}}}

    def started(self, url: str) -> Callable[..., LocalServer]:
        """What starts the server in place of `actors.providers.local_llama.started`."""
        return lambda *_: LocalServer(url, KEY, None)

    def reader(self, id: str) -> HttpProvider:
        """What asks llama.cpp within the provider, and reads its answers."""
        return OpenAIProvider(id, OpenAIOptions(base_url="http://127.0.0.1:9/v1"))


class LlamaCppRawDialect(LlamaCppDialect):
    """Its raw completion, for participants who bring a chat template."""

    name = "llama_cpp_raw"
    chat_template = TEMPLATE
    lacks: Mapping[Feature, str] = {
        "whole": NO_WHOLE,
        "reasoning": "it is a part of the text",
        "tools": "the template alone sees them, and calls are a part of the text",
        "images": "they have no place in a text",
    }

    def reader(self, id: str) -> HttpProvider:
        return CompletionProvider(id, CompletionOptions(base_url="http://127.0.0.1:9"))

    def _item(self, text: str, **more: Any) -> bytes:
        item = {"index": 0, "content": text, "tokens": [], "stop": False, "id_slot": -1, **more}
        return b"data: " + json.dumps(item).encode() + b"\n\n"

    def piece(self, text: str) -> bytes:
        return self._item(text, tokens_predicted=1, tokens_evaluated=PROMPT)

    def begin(self) -> list[bytes]:
        return []

    def end(self, finish: str = "stop", usage: Usage | None = None) -> list[bytes]:
        usage = usage or Usage(input=PROMPT, output=COMPLETION)
        end = {
            "stop": True,
            "model": MODEL,
            "tokens_predicted": usage.output,
            "tokens_evaluated": usage.input + usage.cache_read,
            "stop_type": "limit" if finish == "length" else "eos",
            "stopping_word": "",
            "timings": {"cache_n": usage.cache_read},
        }
        return [self._item("", **end)]

    def body(self, text: str) -> bytes:
        counts = {"tokens_predicted": COMPLETION, "tokens_evaluated": PROMPT}
        whole = {"content": text, "stop": True, "stop_type": "eos", "model": MODEL, **counts}
        return json.dumps(whole).encode()

    def sent(self, path: str, body: dict[str, Any]) -> Sent:
        assert path == "/completion"
        return Sent(
            model=body["model"],
            texts=texts_of(body["prompt"]),
            stream=body["stream"],
            schema=body.get("json_schema"),
            **chosen(body, limit="n_predict"),
        )
