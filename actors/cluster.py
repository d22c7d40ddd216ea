"""Ray places, supervises and restarts the room's actors; the only module that says `ray.remote`.

An actor process is a `Host`: it runs one service on an event loop of its own (uvloop), in a thread
beside Ray's, so that the hot path never meets Ray. Ray sees only whether it is alive.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray  # after the variables that it reads when imported
from ray._private.node import Node
from ray.exceptions import (
    ActorDiedError,
    GetTimeoutError,
    RayActorError,
    RayError,
)

from events.errors import ConfigError, ControlRoomError

_log = logging.getLogger(__name__)

NAMESPACE = "control-room"
START_LIMIT = 60.0
"""Seconds in which a new actor has to be ready. An actor that finds no place hangs silently."""
HEALTH_LIMIT = 15.0
"""Seconds in which an actor has to say how it is, on a machine that is busy with others too."""
LOOK = 0.5
"""Seconds between two looks at Ray's servers."""
SERVERS = ("gcs_server", "raylet")
"""Ray's own processes without which nothing goes on."""

_NODE_NAMES = MappingProxyType({"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"})

Health = Callable[[], Coroutine[Any, Any, dict[str, Any]]]
Service = Callable[[dict[str, Any]], AbstractAsyncContextManager[Health]]
"""What a host runs: entered with its settings (plain JSON), it works until left. It gives a
function that says how it is."""


class ActorGone(ControlRoomError):
    """The actor is not there (any more); start another one."""

    retryable = True


class ClusterGone(ControlRoomError):
    """Ray does not work (any more); start it again."""

    retryable = True


class Host:
    """One service in a process of its own.

    Ends the process when the service fails, so that Ray starts it again.
    """

    def __init__(self, service: Service, settings: dict[str, Any]) -> None:
        self._health: Health | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failures: list[BaseException] = []
        self._ready = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(service, settings), name="service", daemon=True
        )
        self._thread.start()
        self._ready.wait(START_LIMIT)
        if self._health is None:
            late = ControlRoomError(f"the service was not ready in {START_LIMIT:g} s")
            raise [*self._failures, late][0]

    @ray.method(concurrency_group="health")
    def health(self) -> dict[str, Any]:
        """How the service says it is, on its own event loop, and the process id."""
        assert self._health is not None
        assert self._loop is not None
        said = asyncio.run_coroutine_threadsafe(self._health(), self._loop).result(HEALTH_LIMIT)
        return {"pid": os.getpid(), **said}

    def _run(self, service: Service, settings: dict[str, Any]) -> None:
        import uvloop

        try:
            uvloop.run(self._serve(service, settings))
        except BaseException as error:
            if self._ready.is_set():
                _log.critical("the service failed", exc_info=error)
                os._exit(1)
            self._failures.append(error)
            self._ready.set()

    async def _serve(self, service: Service, settings: dict[str, Any]) -> None:
        async with service(settings) as health:
            self._loop = asyncio.get_running_loop()
            self._health = health
            self._ready.set()
            await asyncio.Event().wait()


@dataclass(frozen=True, slots=True)
class Actor:
    """A running host, by its name."""

    name: str
    handle: Any  # an ActorHandle; Ray types its methods as never returning

    async def health(self, within: float = HEALTH_LIMIT) -> dict[str, Any]:
        """What the service says of itself, within so many seconds.

        While Ray restarts the actor, waits up to `START_LIMIT`. Raises `ActorGone` where it is dead
        for good or does not answer in time.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START_LIMIT
        while True:
            try:
                answer: dict[str, Any] = await asyncio.wait_for(
                    _result(self.handle.health.remote()), within
                )
            except ActorDiedError as error:
                raise ActorGone(f"{self.name} ended: {_cause(error)}") from error
            except (TimeoutError, GetTimeoutError):
                raise ActorGone(f"{self.name} does not answer within {within:g} s") from None
            except RayActorError:  # it is being restarted
                if loop.time() > deadline:
                    late = f"{self.name} was not back within {START_LIMIT:g} s"
                    raise ActorGone(late) from None
                await asyncio.sleep(0.1)
            except RayError as error:
                raise ActorGone(f"{self.name} cannot say how it is: {_cause(error)}") from error
            else:
                return answer


_REMOTE: Any = ray.remote(  # Any: Ray's types do not know concurrency groups
    num_cpus=0,
    max_restarts=-1,
    max_task_retries=0,  # type: ignore[call-overload]
    concurrency_groups={"health": 2},
)(Host)


class Cluster:
    """The room's actors on a Ray cluster: a remote one, or our own, with its servers' ids."""

    def __init__(self, servers: Mapping[int, str]) -> None:
        self._servers = servers

    async def gone(self) -> str:
        """Returns when one of our own cluster's servers has ended: its name."""
        while True:
            for pid, name in self._servers.items():
                if _name_of(pid) != name:
                    return name
            await asyncio.sleep(LOOK)

    async def start(
        self,
        service: Service,
        name: str,
        settings: dict[str, Any],
        resources: Mapping[str, float] = MappingProxyType({}),
    ) -> Actor:
        """Have `service` running under `name`; one of that name that runs already is used.

        It runs on a machine that has the `resources`, and takes them: `num_cpus`, `num_gpus`,
        `memory` in bytes, or any other that nodes of the cluster name.

        Returns when it is ready. Raises `ActorGone` where it could not be started in time, or a
        `ConfigError` where the service refused its settings or no machine has the resources.
        """
        await asyncio.to_thread(_check_place, resources)
        handle = _REMOTE.options(
            name=name,
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            **placing(resources),
        ).remote(service, settings)
        actor = Actor(name, handle)
        try:
            await actor.health(START_LIMIT)
        except ActorGone as error:
            self.end(actor)
            reason = str(error.__cause__ or error)
            if "ConfigError" in reason:
                raise ConfigError(reason.rsplit("ConfigError: ", 1)[-1].strip()) from error
            raise
        return actor

    def end(self, actor: Actor) -> None:
        """End the actor for good; its name is free afterwards."""
        try:
            ray.kill(actor.handle, no_restart=True)
        except (RayError, ValueError) as error:
            _log.debug("%s was gone already: %s", actor.name, error)


@asynccontextmanager
async def joined(address: str, scratch: Path) -> AsyncIterator[Cluster]:
    """Join the Ray cluster at `address`, or start one here where it is empty.

    `scratch` is a folder for Ray's own files; its path is short, because sockets lie in it.
    """
    if address:
        options: dict[str, Any] = {"address": address}
    else:
        options = {
            "num_cpus": 1,
            "include_dashboard": False,
            "object_store_memory": 80 * 1024 * 1024,
            "_temp_dir": str(scratch),
        }
        _start_without_extras()
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        await asyncio.to_thread(
            lambda: ray.init(
                namespace=NAMESPACE, log_to_driver=False, configure_logging=False, **options
            )
        )
    except Exception as error:  # Ray raises bare ones too
        raise ClusterGone(f"Ray does not start: {_cause(error)}") from error
    try:
        yield Cluster({} if address else _servers())
    finally:
        await asyncio.to_thread(ray.shutdown)


def placing(resources: Mapping[str, float]) -> dict[str, Any]:
    """What Ray is told of an actor that needs these."""
    own: dict[str, float] = {key: resources[key] for key in resources if key in _NODE_NAMES}
    if "memory" in own:
        own["memory"] = int(own["memory"])
    return {**own, "resources": {key: resources[key] for key in resources if key not in own}}


def _check_place(resources: Mapping[str, float]) -> None:
    """Raise a `ConfigError` where no machine will ever do, rather than wait for one."""
    if not resources:
        return
    wanted = {_NODE_NAMES.get(key, key): value for key, value in resources.items()}
    known: Any = ray.nodes  # it has no types
    nodes = [node["Resources"] for node in known() if node["Alive"]]
    if not any(all(node.get(key, 0) >= wanted[key] for key in wanted) for node in nodes):
        asked = ", ".join(f"{key} {value:g}" for key, value in resources.items())
        raise ConfigError(
            f"no machine of the Ray cluster has {asked}: lower `resources` of the provider, or let"
            " such a machine join the cluster that CONTROL_ROOM_RAY names"
        )


async def apart(kind: type[Any], argument: Any, place: Mapping[str, Any]) -> Any:
    """What `kind().execute(argument)` gives, done in a process of its own that ends with it.

    `place` is Ray's `runtime_env`. Cancelled, the process is killed. Raises `ActorGone` where it
    dies, or is not there in time. To be called where Ray runs: in a driver or in an actor.
    """
    remote: Any = ray.remote(num_cpus=0, max_restarts=0, max_task_retries=0)(kind)
    handle = remote.options(runtime_env=dict(place)).remote()
    try:
        try:
            await asyncio.wait_for(_result(handle.__ray_ready__.remote()), START_LIMIT)
        except TimeoutError:
            late = f"the process of {kind.__name__} was not ready in {START_LIMIT:g} s"
            raise ActorGone(late) from None
        return await _result(handle.execute.remote(argument))
    except RayError as error:
        raise ActorGone(f"the process of {kind.__name__} ended: {_cause(error)}") from error
    finally:
        ray.kill(handle)


async def _result(reference: Any) -> Any:
    return await reference


def _cause(error: Exception) -> str:
    return str(error).strip().splitlines()[-1] if str(error).strip() else "for no known reason"


def _start_without_extras() -> None:
    """Have Ray start here without what only several machines, or its web page, have use for.

    Its autoscaler, log monitor and API server take 160 MB, and half of the time of a start. Their
    names are Ray's own affair: a release that has no such methods starts all.
    """

    def not_started(*_: Any, **__: Any) -> None:
        return

    for name in ("start_monitor", "start_log_monitor", "start_api_server"):
        if hasattr(Node, name):
            setattr(Node, name, not_started)


def _servers() -> dict[int, str]:
    """Ids and names of Ray's own servers among our children (on Linux; elsewhere none)."""
    found: dict[int, str] = {}
    for path in Path(f"/proc/{os.getpid()}/task").glob("*/children"):
        with suppress(OSError):  # that thread has ended
            for pid in map(int, path.read_text().split()):
                if (name := _name_of(pid)) in SERVERS:
                    found[pid] = name
    return found


def _name_of(pid: int) -> str:
    """The name of a process; empty where it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    name, _, rest = stat.partition("(")[2].rpartition(") ")
    return "" if rest.startswith("Z") else name
