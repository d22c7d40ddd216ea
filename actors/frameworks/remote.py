"""What Ray needs to run a workflow in a process of its own, under the interpreter that it takes.

    runner = ray.remote(num_cpus=0, max_restarts=0, max_task_retries=0)(Runner).options(
        runtime_env=placement(framework(name).environment, home)
    ).remote()
    reply = await runner.execute.remote(request)

Every run has a runner of its own, which is killed to cancel it: frameworks keep state in their
process, and some start threads that nothing else ends.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from actors.frameworks.execution import Reply, Request, execute


class Runner:
    """Runs workflows; only plain JSON crosses."""

    async def execute(self, request: Request) -> Reply:
        """Run a workflow to its end."""
        return await execute(request)


def placement(environment: str | None, home: Path) -> dict[str, Any]:
    """The `runtime_env` of a runner: nothing where the framework lives in the room's own.

    `home` is the data directory. A `ConfigError` says what to do where the environment is not
    installed. Of the room only the package `actors` is there.
    """
    if environment is None:
        return {}
    from actors.frameworks.environments import interpreter_of

    return {"py_executable": str(interpreter_of(environment, home))}
