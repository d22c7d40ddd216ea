"""Every type of provider, as its server speaks; `rehearsal` has none."""

from __future__ import annotations

from tests.servers.dialects.anthropic import AnthropicDialect
from tests.servers.dialects.azure_openai import AzureDialect, AzureV1Dialect
from tests.servers.dialects.chat import ChatDialect
from tests.servers.dialects.dialect import Dialect
from tests.servers.dialects.generic import GenericDialect
from tests.servers.dialects.huggingface import ClassicDialect, HuggingFaceDialect
from tests.servers.dialects.llama_cpp import LlamaCppDialect, LlamaCppRawDialect
from tests.servers.dialects.lmstudio import LMStudioDialect
from tests.servers.dialects.nvidia import NvidiaDialect
from tests.servers.dialects.ollama import OllamaDialect
from tests.servers.dialects.ollama_raw import OllamaRawDialect
from tests.servers.dialects.oobabooga import LegacyDialect, OobaboogaDialect
from tests.servers.dialects.responses import ResponsesDialect
from tests.servers.dialects.vllm import VllmDialect

DIALECTS: tuple[Dialect, ...] = (
    AnthropicDialect(),
    GenericDialect("sse"),
    GenericDialect("ndjson"),
    ChatDialect(),
    ResponsesDialect(),
    AzureDialect(),
    AzureV1Dialect(),
    LMStudioDialect(),
    NvidiaDialect(),
    HuggingFaceDialect(),
    ClassicDialect(),
    OllamaDialect(),
    OobaboogaDialect(),
    LegacyDialect(),
)
"""Those whose server has an address in the configuration."""

EVERY: tuple[Dialect, ...] = (
    *DIALECTS,
    OllamaRawDialect(),
    LlamaCppDialect(),
    LlamaCppRawDialect(),
    VllmDialect(),
)
"""Those that are spoken only to participants with a chat template, or within the actor, too."""
