"""CrewAI, in an environment of its own: it needs older libraries than the room."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any

from actors.frameworks.configuring import parsed
from actors.frameworks.crewai_config import CrewConfig
from actors.frameworks.port import Doors, Models, Result

QUIET = {
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_DISABLE_TRACKING": "true",
    "CREWAI_DISABLE_VERSION_CHECK": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "CREWAI_TESTING": "true",  # otherwise the first run of all collects traces, and asks about them
    "OTEL_SDK_DISABLED": "true",
    "ANONYMIZED_TELEMETRY": "False",
}
"""Variables that CrewAI, and what it brings, read when they are imported."""


class CrewAI:
    """Runs crews. One crew a process at a time: CrewAI keeps its state in the process."""

    name = "crewai"
    environment = "crewai"

    def config_schema(self) -> dict[str, Any]:
        return CrewConfig.model_json_schema()

    def check(self, config: Mapping[str, Any], models: Collection[str]) -> None:
        parsed(CrewConfig, config).check(models)

    async def execute(
        self, config: Mapping[str, Any], inputs: Mapping[str, Any], models: Models, doors: Doors
    ) -> Result:
        workflow = parsed(CrewConfig, config)
        workflow.check(models)
        with _quiet():
            from actors.frameworks.crewai_crew import run

            outputs = await run(workflow, inputs, doors)
        roles = workflow.roles()
        return {
            "output": outputs[-1],
            "outputs": dict(zip(workflow.task_names(), outputs, strict=True)),
            "steps": [
                {"name": name, "by": roles[workflow.agent_of(number)], "output": output}
                for number, (name, output) in enumerate(
                    zip(workflow.task_names(), outputs, strict=True)
                )
            ],
        }


@contextmanager
def _quiet() -> Iterator[None]:
    """Have CrewAI tell nobody of the run, and keep its files in a folder that is removed."""
    os.environ.update(QUIET)
    home = os.environ.get("HOME")
    with TemporaryDirectory(prefix="crew-", ignore_cleanup_errors=True) as folder:
        os.environ["CREWAI_STORAGE_DIR"] = folder
        os.environ["HOME"] = folder  # it makes a key for an account there
        try:
            yield
        finally:
            if home is not None:
                os.environ["HOME"] = home
