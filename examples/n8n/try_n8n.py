"""Runs a workflow of the real n8n on the models of a room; see README.md beside this.

Usage: [CONTROL_ROOM_TOKEN=...] try_n8n.py [--room URL] [--n8n COMMAND] [--topic TEXT]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import shlex
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

WORKFLOW = Path(__file__).with_name("workflow.json")
OK = 200
START_WITHIN = 900.0  # seconds; npx may have to install it first


async def main(room: str, command: str, topic: str) -> int:
    """Try it; 0 where the run completed."""
    print("Starting n8n (npx installs it the first time, which takes minutes)", flush=True)
    async with n8n_running(command) as url:
        key = await made_ready(url)
        print(f"n8n runs at {url}, and the workflow is active", flush=True)
        run = {
            "run_id": f"n8n-{secrets.token_hex(4)}",
            "mode": "framework",
            "framework": {
                "type": "n8n",
                "config": {"webhook_url": f"{url}/webhook/control-room"},
            },
            "models": [
                {"id": "architect", "provider": "rehearsal", "model_name": "instant"},
                {"id": "critic", "provider": "rehearsal", "model_name": "instant"},
            ],
            "inputs": {"topic": topic},
        }
        token = os.environ.get("CONTROL_ROOM_TOKEN")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with httpx2.AsyncClient(headers=headers, timeout=150, trust_env=False) as http:
            answer = await http.post(f"{room}/v1/runs", params={"wait": 120}, json=run)
        done = answer.json()
        if answer.status_code != OK:
            print(json.dumps(done, indent=2))
            return 1
        print(f"run {done['run_id']}: {done['status']}, by {len(done['steps'])} calls of models:")
        for step in done["steps"]:
            print(f"  {step['participant']}: {step['text'][:70]!r}...")
        print(f"its output: {done['output'] or done['problem']}")
        async with api(url, key) as http:
            executions = await wanted(http.get("/executions"))
        for execution in executions["data"]:
            print(f"n8n's own record: execution {execution['id']}: {execution['status']}")
    return 0 if done["status"] == "completed" else 1


@asynccontextmanager
async def n8n_running(command: str) -> AsyncIterator[str]:
    """n8n on a free port of this machine, in a folder of its own; its URL."""
    port, broker = free_port(), free_port()
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="n8n-", ignore_cleanup_errors=True) as folder:
        environment = os.environ | {
            "N8N_USER_FOLDER": folder,
            "N8N_LISTEN_ADDRESS": "127.0.0.1",
            "N8N_PORT": str(port),
            "N8N_RUNNERS_BROKER_PORT": str(broker),
            "N8N_SECURE_COOKIE": "false",  # there is no TLS on loopback
            "N8N_DIAGNOSTICS_ENABLED": "false",
            "N8N_VERSION_NOTIFICATIONS_ENABLED": "false",
            "N8N_TEMPLATES_ENABLED": "false",
            "N8N_PERSONALIZATION_ENABLED": "false",
        }
        with (Path(folder) / "n8n.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *shlex.split(command),
                "start",
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            await answering(url, process)
            yield url
        except RuntimeError as error:
            log_text = (Path(folder) / "n8n.log").read_text(errors="replace")
            sys.exit(f"{error}; its last lines:\n" + "\n".join(log_text.splitlines()[-10:]))
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGTERM)
                await process.wait()


async def answering(url: str, process: asyncio.subprocess.Process) -> None:
    """Returns when it is ready; `RuntimeError` where it ended, or is not in time."""
    loop = asyncio.get_running_loop()
    late = loop.time() + START_WITHIN
    async with httpx2.AsyncClient(timeout=5, trust_env=False) as http:
        while loop.time() < late:
            if process.returncode is not None:
                raise RuntimeError(f"n8n ended with exit code {process.returncode}")
            try:
                # Until it is up, it answers everything, with a page that says so.
                settings = await http.get(f"{url}/rest/settings")
                if settings.is_success and "json" in settings.headers["content-type"]:
                    return
            except httpx2.HTTPError:
                pass
            await asyncio.sleep(0.5)
    raise RuntimeError("n8n did not start in time")


async def made_ready(url: str) -> str:
    """Make its owner and a key of its API, and put the workflow in; the key."""
    async with httpx2.AsyncClient(base_url=url, timeout=60, trust_env=False) as http:
        owner = {"email": "owner@example.org", "firstName": "The", "lastName": "Owner"}
        password = secrets.token_urlsafe(12) + "A1"
        await wanted(http.post("/rest/owner/setup", json={**owner, "password": password}))
        scopes = (await wanted(http.get("/rest/api-keys/scopes")))["data"]
        wish = {"label": "room", "scopes": scopes, "expiresAt": None}
        made = await wanted(http.post("/rest/api-keys", json=wish))
        key = str(made["data"]["rawApiKey"])
    workflow = json.loads(WORKFLOW.read_text())
    parts = {name: workflow[name] for name in ("name", "nodes", "connections", "settings")}
    async with api(url, key) as http:
        made = await wanted(http.post("/workflows", json=parts))
        await wanted(http.post(f"/workflows/{made['id']}/activate"))
    return key


def api(url: str, key: str) -> httpx2.AsyncClient:
    """A client of its public API."""
    return httpx2.AsyncClient(
        base_url=f"{url}/api/v1", headers={"X-N8N-API-KEY": key}, timeout=60, trust_env=False
    )


async def wanted(asking: Any) -> Any:
    """The JSON of an answer that has to be a good one."""
    answer = await asking
    if not answer.is_success:
        raise RuntimeError(f"n8n answered {answer.status_code}: {answer.text[:300]}")
    return answer.json()


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--room", default="http://127.0.0.1:8000", metavar="URL")
    parser.add_argument("--n8n", default="npx --yes n8n", metavar="COMMAND")
    parser.add_argument("--topic", default="owls")
    given = parser.parse_args()
    sys.exit(asyncio.run(main(given.room.rstrip("/"), given.n8n, given.topic)))
