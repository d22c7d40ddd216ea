"""A GGUF file run in this process: llama.cpp, which answers on this machine alone."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from pydantic import Field

from events.errors import ConfigError, ProviderError
from events.values import Value

PACKAGE: Final = "xllamacpp"


class ModelFile(Value):
    """A model and how it is run.

    `n_ctx` is its context in tokens; `n_gpu_layers` how many layers a GPU takes, all that fit
    unless set; `chat_template` goes before the file's; `parallel` is the number of answers computed
    at once, each with a context of its own.
    """

    path: Path
    n_ctx: int | None = Field(default=None, ge=1)
    n_gpu_layers: int | None = Field(default=None, ge=0)
    chat_template: str | None = None
    parallel: int = Field(default=1, ge=1, le=256)


def check_package() -> None:
    """Raise a `ConfigError` where llama.cpp is not installed."""
    if find_spec(PACKAGE) is None:
        raise ConfigError(
            "llama.cpp is not installed: install control-room with its extra 'local'"
            f" (or the package {PACKAGE})"
        )


@dataclass
class LocalServer:
    """A running model. `stop` ends it, and waits for that."""

    address: str
    key: str
    server: Any

    def stop(self) -> None:
        """Give back its memory; what it computes is broken off."""
        self.server = None  # whoever holds it last ends it


def started(name: str, file: ModelFile, context: int, key: str) -> LocalServer:
    """The model, loaded, on a free port of this machine; takes as long as loading does.

    Only who knows `key` is answered. `context` is in tokens for each answer.
    """
    check_package()
    llama = import_module(PACKAGE)
    params = llama.CommonParams()
    params.model.path = str(file.path)
    params.model_alias = {name}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [key]
    params.n_parallel = file.parallel
    params.n_ctx = context * file.parallel
    if file.n_gpu_layers is not None:
        params.n_gpu_layers = file.n_gpu_layers
    if file.chat_template is not None:
        params.chat_template = file.chat_template
    params.ui = False
    params.offline = True
    params.verbosity = 1
    try:
        server = llama.Server(params)
    except RuntimeError:
        raise ProviderError(
            f"llama.cpp cannot run {file.path}: see this actor's log; often there is too little"
            " memory (lower n_ctx, parallel or n_gpu_layers), or chat_template is wrong"
        ) from None
    return LocalServer(server.listening_address, key, server)
