"""The envelope of a workflow's run, as people write it, and the session that it becomes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError

from actors.deciding import explain
from actors.frameworks.port import BadWorkflow
from actors.frameworks.registry import BUILT_IN, framework
from actors.frameworks.templates import names_in
from api.doors import Doors
from api.problems import ProblemError
from api.saved import preset_of
from events.config import Budget, Participant, Printable, SessionConfig, Workflow
from events.grants import ToolGrant
from events.values import Id, Value

DEADLINE, MAX_STEPS = 3600.0, 500

_PREFIX = "mcp:"


def _participants(given: Any) -> Any:
    """The models in the form of a session's: with ids, whatever way they were written."""
    if isinstance(given, Mapping):
        named: list[tuple[str | None, Any]] = list(given.items())
    elif isinstance(given, list | tuple):
        named = [(None, one) for one in given]
    else:
        return given
    return [_participant(one, id or f"model_{n}") for n, (id, one) in enumerate(named, 1)]


def _participant(given: Any, id: str) -> Any:
    if isinstance(given, str):
        provider, slash, name = given.partition("/")
        if not (slash and provider and name):
            raise ValueError("a model in one text is written PROVIDER/MODEL")
        return {"id": id, "provider": provider, "model_name": name}
    if not isinstance(given, Mapping):
        return given
    made = {"id": id, **given}
    if "model" in made and "model_name" not in made:
        made["model_name"] = made.pop("model")
    return made


def _models_schema(schema: dict[str, Any]) -> None:
    """Every way in which the models may be written."""
    one = {"anyOf": [schema.pop("items"), {"type": "string", "description": "PROVIDER/MODEL"}]}
    schema.pop("type")
    most = schema.pop("maxItems")
    schema["anyOf"] = [
        {"type": "array", "items": one, "maxItems": most},
        {"type": "object", "additionalProperties": one, "maxProperties": most},
    ]


class RunFramework(Value):
    """Which framework runs what; its configuration is the framework's own (`/v1/frameworks`)."""

    type: Printable
    config: dict[str, Any] = Field(default_factory=dict)

    @property
    def known(self) -> str:
        """The name under which the framework is registered; its case and hyphens do not count."""
        usual = self.type.strip().lower().replace("-", "_")
        return usual if usual in BUILT_IN else self.type


class NewRun(Value):
    """A workflow to run, and on what."""

    run_id: Id | None = Field(default=None, description="default: a new one")
    mode: Literal["framework"] = "framework"
    framework: RunFramework | None = Field(default=None, description="required without a toolchain")
    models: Annotated[tuple[Participant, ...], BeforeValidator(_participants)] = Field(
        default=(),
        max_length=64,
        description="as the participants of a session, in a list or by their ids; an id that is"
        " left out is model_1, model_2, ...",
        json_schema_extra=_models_schema,
    )
    inputs: dict[str, Any] | str = Field(
        default_factory=dict, description="by name; a text is the input `input`"
    )
    toolchain: Id | None = Field(
        default=None, description="a preset of that kind, whose keys count where none is given here"
    )
    tools: tuple[ToolGrant, ...] = Field(
        default=(),
        max_length=64,
        description="that the workflow may call. Servers that its configuration names as"
        " `mcp:SERVER` or under `tools` are added where they are not named here",
    )
    budget: Budget | None = None
    deadline: float = Field(default=DEADLINE, gt=0, le=86_400, description="seconds")
    max_steps: int = Field(default=MAX_STEPS, ge=1, le=1000, description="calls, and the run")
    title: str | None = Field(default=None, max_length=512)
    tags: tuple[Annotated[str, Field(min_length=1, max_length=128)], ...] = Field(
        default=(), max_length=64
    )

    @property
    def message(self) -> str:
        """What is posted: the inputs as JSON text, or the text."""
        if isinstance(self.inputs, str):
            return self.inputs
        compact = (",", ":")
        return json.dumps(self.inputs, ensure_ascii=False, sort_keys=True, separators=compact)

    def over(self, saved: NewRun) -> NewRun:
        """The saved envelope, with what is given here in its place; inputs by their names."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        if isinstance(self.inputs, dict) and isinstance(saved.inputs, dict):
            given["inputs"] = saved.inputs | self.inputs
        return saved.model_copy(update=given)

    def session(self, id: str) -> SessionConfig:
        """The configuration of the run's session; raises a `ProblemError` where there is none."""
        if self.framework is None:
            raise ProblemError(
                "invalid", "framework: is missing: write {type, config}, or name a toolchain"
            )
        if not self.models:
            raise ProblemError(
                "invalid",
                "models: is missing: name the models that the workflow runs on, such as"
                ' {"writer": "rehearsal/steady"}',
            )
        try:
            return SessionConfig(
                session_id=id,
                routing_pattern="workflow",
                models=self.models,
                workflow=Workflow(
                    framework=self.framework.known,
                    config=self.framework.config,
                    tools=granted(self.tools, self.framework.config),
                ),
                budget=self.budget,
                deadline=self.deadline,
                max_steps=self.max_steps,
                title=self.title,
                tags=self.tags,
            )
        except ValidationError as error:
            raise ProblemError("invalid", explain(error)) from None


def granted(given: tuple[ToolGrant, ...], config: Mapping[str, Any]) -> tuple[ToolGrant, ...]:
    """The tools of a run: those given, and those of further servers that its configuration names.

    Of a server that is granted whole, single tools are left out, but for those that need approval.
    Raises a `ProblemError` for a name that can be no server's.
    """
    servers = {one.server for one in given}
    found: dict[ToolGrant, None] = dict.fromkeys(given)
    for name in _named(config):
        try:
            grant = ToolGrant.model_validate(name)
        except ValidationError:
            raise ProblemError(
                "invalid",
                f"framework.config: {name!r:.100} names no tool server: write mcp:SERVER or"
                " mcp:SERVER:TOOL",
            ) from None
        if grant.server not in servers:
            found[grant] = None
    whole = {one.server for one in found if one.tools is None}
    return tuple(
        one for one in found if one.tools is None or one.approval or one.server not in whole
    )


def _named(config: Any, *, tools: bool = False) -> Iterator[str]:
    """What a configuration names as tools: `mcp:...` anywhere, and any text under `tools`."""
    match config:
        case str() if tools or (config.startswith(_PREFIX) and not set(" \t\n") & {*config}):
            yield config
        case Mapping():
            for key, value in config.items():
                yield from _named(value, tools=key == "tools")
        case list() | tuple():
            for value in config:
                yield from _named(value, tools=tools)


async def resolved(doors: Doors, run: NewRun) -> NewRun:
    """The whole envelope, with its toolchain's; raises a `ProblemError` where there is none."""
    if run.toolchain is None:
        return run
    preset = await preset_of(doors, run.toolchain)
    if preset is None or preset.kind != "toolchain":
        raise ProblemError(
            "invalid",
            f"toolchain: there is none named {run.toolchain!r}:"
            " GET /v1/presets?kind=toolchain lists those there are",
        )
    return run.over(_read(preset.config))


async def checked(run: NewRun, id: str) -> SessionConfig:
    """The configuration of the run's session, which its framework can run.

    Raises a `ProblemError` that says what to change.
    """
    config = run.session(id)
    await asyncio.to_thread(_check, config)
    _check_inputs(run)
    return config


def _check_inputs(run: NewRun) -> None:
    """Raise a `ProblemError` for an input that nothing takes, where inputs are named."""
    config = run.framework.config if run.framework else {}
    named = config.get("input_variables")
    if not isinstance(named, list) or not isinstance(run.inputs, Mapping):
        return
    for name in run.inputs:
        used = (name == text or name in names_in(text, (name,)) for text in _texts(config))
        if not any(used):
            raise ProblemError(
                "invalid",
                f"inputs: the workflow takes no {name!r:.100}; its inputs are"
                f" {', '.join(map(str, named)) or 'none'}",
            )


def _texts(config: Any) -> Iterator[str]:
    """Every text in a configuration."""
    match config:
        case str():
            yield config
        case Mapping():
            for value in config.values():
                yield from _texts(value)
        case list() | tuple():
            for value in config:
                yield from _texts(value)


async def check_toolchain(config: dict[str, Any]) -> None:
    """Raises a `ProblemError` where a run of that toolchain would be refused."""
    run = _read(config)
    if run.toolchain is not None:
        raise ProblemError("invalid", "config.toolchain: a toolchain cannot be made of another")
    await checked(run, run.run_id or "toolchain")


def _check(config: SessionConfig) -> None:
    workflow = config.workflow
    assert workflow
    try:
        chosen = framework(workflow.framework)
    except BadWorkflow as error:
        raise ProblemError("invalid", f"framework.type: {error.message}") from None
    try:
        chosen.check(workflow.config, [one.id for one in config.models])
    except BadWorkflow as error:
        raise ProblemError("invalid", f"framework.config: {error.message}") from None


def _read(config: dict[str, Any]) -> NewRun:
    try:
        return NewRun.model_validate(config)
    except ValidationError as error:
        raise ProblemError("invalid", f"config: {explain(error)}") from None
