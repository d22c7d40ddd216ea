"""Workflows of two agents with tools, one a framework, and how they are run."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from actors.frameworks import environments
from actors.frameworks.port import Doors
from actors.frameworks.registry import framework
from tests.servers.doors import OpenDoors, open_doors

ROOT = Path(__file__).parents[1]
HOME = Path(sys.prefix)
"""Environments of frameworks stand beside the libraries of the tests; `make test` makes them."""
MODELS: dict[str, dict[str, Any]] = {
    "architect": {"name": "steady/plan"},
    "proponent1": {"name": "steady/argue"},  # CrewAI takes "o1" in a name for something
}
INPUTS: dict[str, Any] = {"topic": "owls", "parts": ["wings", "eyes"]}

WORKFLOWS: dict[str, dict[str, Any]] = {
    "langchain": {
        "chain_type": "sequential",
        "steps": [
            {
                "model_id": "architect",
                "prompt_template": "Research {topic}, as in {'for': 'example'}.",
                "tools": ["mcp:words"],
                "output_key": "notes",
            },
            {"model_id": "proponent1", "prompt_template": "Write about {topic}: {notes}"},
        ],
        "input_variables": ["topic"],
    },
    "agent_framework": {
        "agents": [
            {
                "model_id": "architect",
                "name": "researcher",
                "instructions": "You research.",
                "tools": ["mcp:words"],
            },
            {"model_id": "proponent1", "name": "writer", "instructions": "You write."},
        ],
        "task": "Write about {{topic}}.",
    },
    "autogen": {
        "agents": [
            {
                "model_id": "architect",
                "name": "researcher",
                "system_message": "You research.",
                "tools": ["words:count", "words__shout"],
            },
            {"model_id": "proponent1", "name": "writer", "system_message": "You write."},
        ],
        "team": "RoundRobinGroupChat",
        "task": "Write about {{topic}}.",
        "max_turns": 3,
    },
    "crewai": {
        "agents": [
            {
                "model_id": "architect",
                "role": "Researcher",
                "goal": "Know all of {{topic}}",
                "backstory": "You have read everything.",
                "tools": ["mcp:words"],
            },
            {"model_id": "proponent1", "role": "Writer"},
        ],
        "tasks": [
            {
                "description": "Research {{topic}}.",
                "agent_index": 0,
                "expected_output": "Notes on {{topic}}",
            },
            {"description": "Write about {{topic}}.", "agent_index": 1},
        ],
    },
}

_CHAT = WORKFLOWS["agent_framework"] | {"orchestration": "group_chat"}
OTHER_SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "map and reduce": (
        "langchain",
        {
            "chain_type": "map_reduce",
            "steps": [
                {"model_id": "architect", "prompt_template": "Of {{parts}}: what of {topic}?"},
                {"model_id": "proponent1", "prompt_template": "Against {topic}?"},
                {"model_id": "architect", "prompt_template": "{{output_1}} {{output_2}}"},
            ],
        },
    ),
    "at once": ("agent_framework", WORKFLOWS["agent_framework"] | {"orchestration": "concurrent"}),
    "in turn": ("agent_framework", _CHAT | {"max_rounds": 3}),
    "with a manager": ("agent_framework", _CHAT | {"manager": {"model_id": "proponent1"}}),
    "a selector": (
        "autogen",
        WORKFLOWS["autogen"] | {"team": "selector", "model_id": "proponent1"},
    ),
    "hierarchical": (
        "crewai",
        WORKFLOWS["crewai"] | {"process": "hierarchical", "manager_model_id": "proponent1"},
    ),
}
"""Each with what the framework is called."""


@dataclass(frozen=True)
class Ran:
    """What a workflow did."""

    reply: dict[str, Any]
    asked: list[str]
    """The canonical bodies of what the models were asked, in order."""
    called: list[tuple[str, str]]
    contacted: set[str]
    """Hosts that its process connected to, or looked up."""
    written: list[str]
    """Files in its home directory."""

    @property
    def output(self) -> str:
        """Its result."""
        assert "result" in self.reply, self.reply
        return str(self.reply["result"]["output"])


def request(name: str, config: dict[str, Any], doors: Doors) -> dict[str, Any]:
    """A workflow as plain JSON."""
    return {
        "framework": name,
        "config": config,
        "inputs": INPUTS,
        "models": MODELS,
        "doors": asdict(doors),
    }


def interpreter(name: str) -> Path:
    """The Python in which that framework runs; what it needs is installed where it is not."""
    environment = framework(name).environment
    if environment is None:
        return Path(sys.executable)
    environments.install(environment, HOME)
    return environments.interpreter_of(environment, HOME)


async def run(name: str, config: dict[str, Any], home: Path, within: float = 90.0) -> Ran:
    """Run a workflow on doors of its own, in a process of its own."""
    async with open_doors() as opened:
        return await run_at(opened, name, config, home, within)


async def run_at(
    opened: OpenDoors, name: str, config: dict[str, Any], home: Path, within: float = 90.0
) -> Ran:
    """Run a workflow at these doors."""
    told = await in_process(name, request(name, config, opened.doors), home, within)
    return Ran(
        reply=told,
        asked=opened.models.bodies(),
        called=sorted(opened.tools.calls),
        contacted=set(told.pop("contacted")),
        written=told.pop("written"),
    )


async def in_process(
    name: str, wanted: Mapping[str, Any], home: Path, within: float = 90.0
) -> dict[str, Any]:
    """The reply to that request, from a process with this home; with what else it did there."""
    python = await asyncio.to_thread(interpreter, name)
    answer = home.with_suffix(".json")
    home.mkdir(exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        str(python),
        "-P",  # its own folder holds none of its modules
        str(ROOT / "tests" / "framework_process.py"),
        str(answer),
        stdin=asyncio.subprocess.PIPE,
        cwd=home,
        env={
            "PATH": os.environ["PATH"],
            # An environment of a framework has to find what it may have of ours by itself.
            **({"PYTHONPATH": str(ROOT)} if python == Path(sys.executable) else {}),
            "HOME": str(home),
            # Whoever runs a room may have such ones; they count for nothing.
            "OPENAI_API_KEY": "of-somebody-else",
            "OPENAI_BASE_URL": "http://203.0.113.1/v1",
            "HTTP_PROXY": "http://203.0.113.1:3128",
            "LANGSMITH_TRACING": "true",
            "LANGSMITH_API_KEY": "of-somebody-else",
        },
    )
    try:
        text = json.dumps(wanted).encode()
        await asyncio.wait_for(process.communicate(text), within)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    told: dict[str, Any] = json.loads(answer.read_text())
    return told
