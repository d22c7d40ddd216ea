"""Which frameworks there are, and where their code is; nothing is imported before its use.

A framework from another distribution registers its class in the entry-point group
`control_room.frameworks`, under its name. Such a class is made without arguments and implements
`actors.frameworks.port.Framework`; it runs in the room's own interpreter.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from typing import Protocol, cast

from actors.frameworks.port import BadWorkflow, Framework, said

GROUP = "control_room.frameworks"

BUILT_IN = {
    "agent_framework": "actors.frameworks.agent_framework:AgentFramework",
    "autogen": "actors.frameworks.agent_framework:AutoGen",
    "crewai": "actors.frameworks.crewai:CrewAI",
    "langchain": "actors.frameworks.langchain:LangChain",
    "n8n": "actors.frameworks.n8n:N8n",
}

ONCE = frozenset({"n8n"})
"""Those whose workflows are started elsewhere, and do there what is not to be done twice."""


class FrameworkType(Protocol):
    """A class of frameworks."""

    def __call__(self) -> Framework:
        """The framework."""
        ...


def known_frameworks() -> tuple[str, ...]:
    """The names of all frameworks, in order."""
    return tuple(sorted({*BUILT_IN, *entry_points(group=GROUP).names}))


def repeatable(name: str) -> bool:
    """Whether a workflow of that framework may be started again, to go on or to be compared.

    Frameworks of other distributions are expected to be. Nothing is imported.
    """
    return name not in ONCE


def framework(name: str) -> Framework:
    """The framework of that name; a `BadWorkflow` lists the names where there is none.

    A built-in framework cannot be replaced from outside.
    """
    if place := BUILT_IN.get(name):
        module, _, attribute = place.partition(":")
        return cast(FrameworkType, getattr(import_module(module), attribute))()
    for entry in entry_points(group=GROUP, name=name):
        try:
            return cast(FrameworkType, entry.load())()
        except Exception as error:  # whatever somebody else's code raises
            raise BadWorkflow(
                f"framework {name!r} ({entry.value}) cannot be imported: {said(error)}"
            ) from error
    raise BadWorkflow(
        f"there is no framework {name!r}: use one of {', '.join(known_frameworks())}, or install"
        f" the package that brings it (entry-point group {GROUP})"
    )
