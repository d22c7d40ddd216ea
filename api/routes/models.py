"""Which models can take part, and which providers they come from."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from fastapi import APIRouter

from actors.providers.config import ProviderSpec, create, missing
from api.doors import Inside
from api.openapi import problems
from api.views import ModelsView, ModelView, ProvidersView, ProviderView, UnavailableView
from events.errors import ControlRoomError

router = APIRouter(prefix="/v1", tags=["room"])

PATIENCE = 5.0  # seconds for a provider to tell its models


@router.get("/providers", operation_id="list_providers", responses=problems())
async def list_providers(doors: Inside) -> ProvidersView:
    """The configured providers, and what each still needs; never a secret."""
    environment = doors.room.settings.environment
    return ProvidersView(
        providers=tuple(
            ProviderView(id=spec.id, type=spec.type, missing=missing(spec, environment))
            for spec in doors.room.providers.values()
        )
    )


@router.get("/models", operation_id="list_models", responses=problems())
async def list_models(doors: Inside) -> ModelsView:
    """The models that every provider tells when it is asked now."""
    environment = doors.room.settings.environment
    specs = tuple(doors.room.providers.values())
    told = await asyncio.gather(*(_models(spec, environment) for spec in specs))
    models: list[ModelView] = []
    unavailable: list[UnavailableView] = []
    for spec, names in zip(specs, told, strict=True):
        if isinstance(names, str):
            unavailable.append(UnavailableView(provider=spec.id, detail=names))
        else:
            models += [ModelView(provider=spec.id, model_name=name) for name in names]
    return ModelsView(models=tuple(models), unavailable=tuple(unavailable))


async def _models(spec: ProviderSpec, environment: Mapping[str, str]) -> tuple[str, ...] | str:
    """The names of the provider's models, or why there are none."""
    try:
        provider = await asyncio.to_thread(create, spec, environment)
    except ControlRoomError as error:
        return error.message
    try:
        async with asyncio.timeout(PATIENCE):
            return await provider.models()
    except ControlRoomError as error:
        return error.message
    except TimeoutError:
        return f"no answer within {PATIENCE:g} s"
    finally:
        await provider.close()
