"""Which models can take part and which of them run, and which providers they come from."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from fastapi import APIRouter

from actors.providers.checking import models_of, trouble
from actors.providers.config import missing
from actors.reports import ModelReport, collect
from api.doors import Inside
from api.openapi import problems
from api.views import (
    BreakerState,
    ModelsView,
    ModelView,
    ProvidersView,
    ProviderView,
    RunningView,
    UnavailableView,
)

router = APIRouter(prefix="/v1", tags=["room"])


@router.get("/providers", operation_id="list_providers", responses=problems())
async def list_providers(doors: Inside) -> ProvidersView:
    """The configured providers: what each still needs, and whether it answers; never a secret.

    Each is asked for its models now, for a few seconds at most.
    """
    environment = doors.room.settings.environment
    specs = tuple(doors.room.providers.values())
    reports, troubles = await asyncio.gather(
        collect(doors.room.bus),
        asyncio.gather(*(trouble(spec, environment) for spec in specs)),
    )
    return ProvidersView(
        providers=tuple(
            ProviderView(
                id=spec.id,
                type=spec.type,
                missing=missing(spec, environment),
                reachable=detail is None,
                detail=detail,
                breakers=_breakers(one for one in reports if one.provider == spec.id),
            )
            for spec, detail in zip(specs, troubles, strict=True)
        )
    )


@router.get("/models", operation_id="list_models", responses=problems())
async def list_models(doors: Inside) -> ModelsView:
    """The models that every provider tells when it is asked now, and those that run."""
    environment = doors.room.settings.environment
    specs = tuple(doors.room.providers.values())
    reports, told = await asyncio.gather(
        collect(doors.room.bus),
        asyncio.gather(*(models_of(spec, environment) for spec in specs)),
    )
    models: list[ModelView] = []
    unavailable: list[UnavailableView] = []
    for spec, names in zip(specs, told, strict=True):
        if isinstance(names, str):
            unavailable.append(UnavailableView(provider=spec.id, detail=names))
        else:
            models += [ModelView(provider=spec.id, model_name=name) for name in names]
    return ModelsView(
        models=tuple(models),
        unavailable=tuple(unavailable),
        running=tuple(_running(one) for one in reports),
    )


def _running(report: ModelReport) -> RunningView:
    return RunningView(
        provider=report.provider,
        model_name=report.model,
        running=report.running,
        waiting=report.waiting,
        answered=report.answered,
        failed=report.failed,
        held_for=report.held_for,
        breaker=report.breaker.state,
    )


def _breakers(reports: Iterable[ModelReport]) -> dict[str, BreakerState]:
    """By model; of several actors of one, the state of the one that is worst off."""
    states: dict[str, BreakerState] = {}
    for one in reports:
        state, other = one.breaker.state, states.get(one.model)
        if other != "open" and (other is None or state != "closed"):
            states[one.model] = state
    return states
