"""Who takes calls: where a request goes, and who is to be started before."""

from __future__ import annotations

from dataclasses import dataclass

from actors import subjects


@dataclass(frozen=True, slots=True)
class ModelAddress:
    """A configured model."""

    provider: str
    model: str

    @property
    def subject(self) -> str:
        """Where it takes calls."""
        return subjects.model(self.provider, self.model)

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"


@dataclass(frozen=True, slots=True)
class ToolAddress:
    """A configured tool server."""

    server: str

    @property
    def subject(self) -> str:
        """Where it takes calls."""
        return subjects.tool_server(self.server)

    def __str__(self) -> str:
        return f"tool server {self.server}"


@dataclass(frozen=True, slots=True)
class WorkflowAddress:
    """A framework of workflows."""

    framework: str

    @property
    def subject(self) -> str:
        """Where it takes runs."""
        return subjects.workflow(self.framework)

    def __str__(self) -> str:
        return f"framework {self.framework}"


Address = ModelAddress | ToolAddress | WorkflowAddress
