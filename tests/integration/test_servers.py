"""No server outlives the process that started it, however that process dies."""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path

import psutil
import pytest

from tests.waiting import eventually

_NATS_PARENT = """
import asyncio, sys
from pathlib import Path
from api.nats_server import BundledNats

async def main():
    server = BundledNats(Path(sys.argv[1]))
    await server.start()
    print(server.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
_POSTGRES_PARENT = """
import sys
from tests.servers.postgres import running_postgres

with running_postgres() as server:
    print(server.pid, flush=True)
    sys.stdin.read()
"""
_LLAMA_PARENT = """
import sys
from pathlib import Path
from tests.servers.llama import running_llama
from tests.servers.llama_model import write_model

folder = Path(sys.argv[1])
with running_llama(write_model(folder / "tiny.gguf"), folder) as server:
    print(server.pid, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("program", "name"),
    [(_NATS_PARENT, "nats-server"), (_POSTGRES_PARENT, "postgres"), (_LLAMA_PARENT, "python")],
)
async def test_a_server_dies_with_its_parent(program: str, name: str, tmp_path: Path) -> None:
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, str(tmp_path)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert parent.stdout is not None
    server = psutil.Process(int(await asyncio.wait_for(parent.stdout.readline(), 30)))
    assert server.name().startswith(name)
    assert server.ppid() == parent.pid
    family = [server, *server.children(recursive=True)]
    data = Path(server.cwd())

    parent.kill()
    await parent.wait()
    await eventually(
        lambda: not any(map(_runs, family)), within=10, what=f"{name} ends with its parent"
    )
    if name == "postgres":
        shutil.rmtree(data.parent)  # what the parent would have done


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
