"""The process of a llama.cpp server: `llama_process.py '{"model": PATH, "port": N, ...}'`.

Prints its address once it listens, and serves until it is ended.
"""

from __future__ import annotations

import json
import signal
import sys
from typing import Any

import xllamacpp


def serve(options: dict[str, Any]) -> None:
    """Serves one model; never returns."""
    params = xllamacpp.CommonParams()
    params.model.path = options["model"]
    params.model_alias = {options["name"]}
    params.hostnames = ["127.0.0.1"]
    params.port = options["port"]
    params.api_keys = options["api_keys"]
    params.n_parallel = options["slots"]
    params.n_ctx = options["slots"] * options["context"]
    # A kept-alive connection holds one; where they run out, idle connections are cut.
    params.n_threads_http = 128
    # One thread computes so small a model faster than several that wait for one another.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.cache_ram_mib = 64
    params.ui = False
    params.offline = True
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    while True:
        signal.pause()


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]))
