"""A real model server for the tests: llama.cpp with a tiny random model."""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from actors.parent_death import tied
from tests.servers import llama_process
from tests.servers.llama_model import CONTEXT, write_model
from tests.servers.ports import candidate_ports


class LlamaServer:
    """llama.cpp's OpenAI-compatible server on 127.0.0.1, in a process of its own.

    `slots` requests are computed at once, further ones wait; each has `context` tokens, prompt
    included. A fixed `port` that is in use is an error; 0 takes a free one, kept from then on.
    `log` is where the server's own words go.
    """

    def __init__(
        self,
        model: Path,
        *,
        log: Path,
        port: int = 0,
        slots: int = 5,
        context: int = CONTEXT,
        api_key: str | None = None,
    ) -> None:
        self.model_name = "tiny"
        self.slots = slots
        self.api_key = api_key
        self._options = {
            "model": str(model),
            "name": self.model_name,
            "slots": slots,
            "context": context,
            "api_keys": [] if api_key is None else [api_key],
        }
        self._log = log
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def base_url(self) -> str:
        """`http://127.0.0.1:PORT/v1`, as OpenAI clients want it."""
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def pid(self) -> int | None:
        """The process id of the running server, None when it does not run."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def start(self, *, within: float = 30.0) -> None:
        """Returns once the model is loaded and the server listens."""
        for port in [self._port] if self._port else candidate_ports():
            if self._start_on(port, within):
                self._port = port
                return
        raise RuntimeError(f"llama.cpp found no free port:\n{self._log.read_text()[-2000:]}")

    def stop(self, *, within: float = 5.0) -> None:
        """Ends the server with SIGTERM, and by force where that does not do."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(within)
            except subprocess.TimeoutExpired:
                self._kill(process)

    def kill(self) -> None:
        """`kill -9`; streams in flight are cut."""
        process, self._process = self._process, None
        if process is not None:
            self._kill(process)

    def restart(self) -> None:
        """Starts again on the same port; a server that still runs is stopped first."""
        self.stop()
        self.start()

    def _start_on(self, port: int, within: float) -> bool:
        """Whether the server is ready on `port`; False when the port is in use."""
        options = json.dumps(self._options | {"port": port})
        with self._log.open("wb") as log:
            process = subprocess.Popen(
                tied([sys.executable, llama_process.__file__, options]),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        assert process.stdout is not None
        with process.stdout as stdout:
            spoken = select.poll()
            spoken.register(stdout, select.POLLIN)
            address = stdout.readline().decode().strip() if spoken.poll(within * 1000) else None
        if address == f"http://127.0.0.1:{port}":
            self._process = process
            return True
        self._kill(process)
        said = self._log.read_text(errors="replace")
        if address == "" and "couldn't bind" in said:
            return False
        raise RuntimeError(f"llama.cpp did not start within {within:g} s:\n{said[-2000:]}")

    @staticmethod
    def _kill(process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()


@contextmanager
def running_llama(
    model: Path, folder: Path, *, api_key: str | None = None
) -> Iterator[LlamaServer]:
    """A server with five slots; it takes half a second."""
    server = LlamaServer(model, log=folder / "llama.log", api_key=api_key)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def llama_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny random model, as a GGUF file."""
    return write_model(tmp_path_factory.mktemp("llama") / "tiny.gguf")


@pytest.fixture(scope="session")
def llama_server(llama_model: Path) -> Iterator[LlamaServer]:
    """A model server that all tests share: do not stop it."""
    with running_llama(llama_model, llama_model.parent) as server:
        yield server


@pytest.fixture
def own_llama_server(llama_model: Path, tmp_path: Path) -> Iterator[LlamaServer]:
    """A model server of the test's own, to stop, kill and restart."""
    with running_llama(llama_model, tmp_path) as server:
        yield server
