"""Pictures, and models that take none."""

from __future__ import annotations

from actors.providers.port import Capabilities, ChatRequest
from events.errors import ProviderError


def check_pictures(who: str, images: int, able: Capabilities) -> None:
    """Raise a `ProviderError` where a model that takes no pictures is to be shown so many."""
    if images and not able.images:
        raise takes_none(who, "an image" if images == 1 else f"{images} images")


def takes_none(who: str, holds: str) -> ProviderError:
    """The error of a model that takes no pictures, and was to be shown what `holds` some."""
    return ProviderError(
        f"{who} takes no pictures, and what it is shown holds {holds}: ask it again, and it is told"
        " of them instead; or give the participant a model or a fallback that takes them"
    )


def pictures_in(request: ChatRequest) -> int:
    """How many pictures a request holds."""
    return sum(len(message.images) for message in request.messages)
