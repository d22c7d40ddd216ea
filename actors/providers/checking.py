"""Whether a provider is there, found out by asking it for its models."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeVar, runtime_checkable

from actors.providers.config import ProviderSpec, create
from actors.providers.port import Provider
from events.errors import ControlRoomError

WITHIN = 5.0  # seconds for a provider to tell

T = TypeVar("T")


@runtime_checkable
class Checkable(Protocol):
    """A provider that can look whether its server is there, although it tells its models itself."""

    async def check(self) -> None:
        """Raise a `ProviderError` where the server does not answer."""


async def models_of(
    spec: ProviderSpec, environment: Mapping[str, str], within: float = WITHIN
) -> tuple[str, ...] | str:
    """The names of the provider's models, or why there are none; after `within` seconds at most."""
    return await _asked(spec, environment, within, lambda provider: provider.models())


async def trouble(
    spec: ProviderSpec, environment: Mapping[str, str], within: float = WITHIN
) -> str | None:
    """Why the provider cannot be asked now, in words without secrets; None where it can."""

    async def check(provider: Provider) -> None:
        if isinstance(provider, Checkable):
            await provider.check()
        else:
            await provider.models()

    return await _asked(spec, environment, within, check)


async def _asked(
    spec: ProviderSpec,
    environment: Mapping[str, str],
    within: float,
    ask: Callable[[Provider], Awaitable[T]],
) -> T | str:
    """What `ask` gives for a provider made for that alone, or the words of its error."""
    try:
        provider = await asyncio.to_thread(create, spec, environment)
    except ControlRoomError as error:
        return error.message
    try:
        async with asyncio.timeout(within):
            return await ask(provider)
    except ControlRoomError as error:
        return error.message
    except TimeoutError:
        return f"no answer within {within:g} s"
    finally:
        await provider.close()
