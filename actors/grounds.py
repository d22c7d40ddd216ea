"""What turns stand on in this room: configured providers, facts about models, router versions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

from actors import scripts
from actors.deciding import Ground
from actors.facts import Model, ModelFacts
from actors.providers.config import Providers, missing
from actors.routing import context
from actors.routing.machine import ENGINE, PARSERS
from actors.routing.registry import CURRENT
from actors.routing.spending import limited, unbounded
from actors.routing.turn import ACCOUNT, WORKFLOW
from actors.tools.catalog import ToolCatalog
from actors.tools.config import ToolServers
from events.account import DailyBudgets, account_of
from events.blobs import Remembered
from events.canonical import canonical_json
from events.config import Budget, Participant, SessionConfig
from events.envelope import now
from events.errors import ConfigError
from events.grants import ToolGrant
from events.store import BlobStore
from events.values import Blob, Semantics

Seat = tuple[str, tuple[Model, ...], tuple[ToolGrant, ...]]
"""A participant, its model and fallbacks, and the tools that it may use."""
Seats = tuple[tuple[Seat, ...], str, tuple[int, int]]
"""Who sits there, the account that pays, and the revisions of what is known of models and tools."""

KEPT = 256
"""Sets of facts kept at hand; as many short blobs are."""


class Grounds:
    """Checks configurations against what this room has, and gathers the facts of turns.

    For use by any thread: whatever is not `ready` reads and writes files. `daily_budget` is what
    principals may spend each day (UTC).
    """

    def __init__(
        self,
        providers: Providers,
        environment: Mapping[str, str],
        blobs: BlobStore,
        *,
        script_folder: Path,
        max_participants: int = 5,
        daily_budget: DailyBudgets | None = None,
        tool_servers: ToolServers | None = None,
    ) -> None:
        self._providers = providers
        self._environment = environment
        self.kept = Remembered(blobs)
        """The blobs, with what turns stand on at hand."""
        self.models = ModelFacts(providers, environment)
        self.tools = ToolCatalog(tool_servers or ToolServers(), environment, self.kept.get)
        self._scripts = script_folder
        self._max = max_participants
        self._daily = daily_budget
        self._facts: dict[Seats, Blob] = {}
        self._lock = Lock()

    def check(self, config: SessionConfig, by: str) -> None:
        """Raise a `ConfigError` that says what to set where `config` cannot run in this room.

        `by` is the principal that wants it.
        """
        check_size(config, self._max)
        for participant in config.models:
            for model in _models(participant):
                spec = self._providers.find(model[0])
                if unset := missing(spec, self._environment):
                    files = all(name.startswith("file:") for name in unset)
                    how = "put the file there" if files else "set it"
                    raise ConfigError(
                        f"participant {participant.id!r}: provider {spec.id!r} needs "
                        f"{', '.join(unset)}: {how} and start the room again"
                    )
                self._check_price(config, participant, model, by)
            self.tools.check(f"participant {participant.id!r}", participant.tools)
        if config.routing_pattern == "script":
            scripts.collect(self._scripts, config.script or "")
        if config.workflow is not None:
            self.tools.check("the workflow", config.workflow.tools)
        if self._budget(by) is None and self.tools.ready(config):  # else they are of one day
            self._stored_facts(config, by)

    def _check_price(
        self, config: SessionConfig, participant: Participant, model: Model, by: str
    ) -> None:
        """What a budget covers has to have a price, and an end."""
        fact = self.models.fact(model)
        if self._budget(by) is None and not limited(config, participant.id):
            return
        why = unbounded(fact, participant.max_tokens, participant.extra)
        if why is not None:
            raise ConfigError(
                f"participant {participant.id!r}: there is a budget, and of {model[1]!r} at"
                f" provider {model[0]!r} {why}"
            )

    def ready(self, config: SessionConfig | None) -> bool:
        """Whether `ground` has all at hand; else it reads and writes files, and is for a thread."""
        if config is None or config.routing_pattern == "script":
            return False
        if not self.tools.ready(config):
            return False
        return self._daily is None and self._seats(config, "") in self._facts

    def ground(self, config: SessionConfig, by: str, retry: bool) -> Ground:
        """The facts of a turn under `config`, stored, and the versions that decide it.

        `by` is the principal that posted it: its account of today pays. Raises `ToolUnavailable`
        where a server of whose tools it may use some never said which it has.
        """
        script = None
        if config.routing_pattern == "script" and not retry:
            source = scripts.collect(self._scripts, config.script or "")
            script = self.kept.put(source, "application/json")
        return Ground(
            self._stored_facts(config, by),
            Semantics(
                engine=ENGINE,
                router=CURRENT[config.routing_pattern],
                context=context.VERSION,
                parsers=PARSERS,
                script=script,
            ),
        )

    def _seats(self, config: SessionConfig, by: str) -> Seats:
        seats: tuple[Seat, ...] = tuple((one.id, _models(one), one.tools) for one in config.models)
        if config.workflow is not None and config.workflow.tools:
            seats += ((WORKFLOW, (), config.workflow.tools),)
        account = account_of(by, now().date()) if self._budget(by) is not None else ""
        return seats, account, (self.models.revision, self.tools.revision)

    def _budget(self, by: str) -> Budget | None:
        """What the principal may spend in a day."""
        return None if self._daily is None else self._daily.of(by)

    def _stored_facts(self, config: SessionConfig, by: str) -> Blob:
        """What a turn of these participants depends on, stored; the same for the same ones."""
        seats = self._seats(config, by)
        blob = self._facts.get(seats)
        if blob is None:
            blob = self.kept.put(
                canonical_json(self._gathered(seats, self._budget(by))), "application/json"
            )
            with self._lock:
                self._facts[seats] = blob
                if len(self._facts) > KEPT:
                    del self._facts[next(iter(self._facts))]
        return blob

    def _gathered(self, seats: Seats, daily: Budget | None) -> dict[str, Any]:
        participants, account, _ = seats
        facts: dict[str, Any] = {}
        for id, models, grants in participants:
            known = [self.models.fact(model) for model in models]
            facts[id] = known[0] if known else {}
            if known[1:]:
                facts[id]["fallbacks"] = known[1:]
            if grants:
                facts[id]["tools"] = self.tools.offers(grants, self._put)
        if daily is not None:
            facts[ACCOUNT] = {"stream": account, **daily.model_dump(mode="json")}
        return facts

    def _put(self, content: bytes) -> Blob:
        return self.kept.put(content, "application/json")


def check_size(config: SessionConfig, most: int) -> None:
    """Raise a `ConfigError` where a session has more than so many participants."""
    if len(config.models) > most:
        raise ConfigError(
            f"{len(config.models)} participants are more than the {most} allowed here: "
            "leave some out, or raise CONTROL_ROOM_MAX_PARTICIPANTS"
        )


def _models(participant: Participant) -> tuple[Model, ...]:
    fallbacks = ((one.provider, one.model_name) for one in participant.fallbacks)
    return (participant.provider, participant.model_name), *fallbacks
