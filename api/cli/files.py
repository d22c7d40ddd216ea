"""Files that a person attaches to a message."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from api.file_types import IMAGES, is_text, longest
from events.errors import ConfigError


def read_file(path: str) -> tuple[str, bytes, str]:
    """Name, content and media type of a file.

    Raises `ConfigError` for one that cannot be read, or that no room takes.
    """
    try:
        file = Path(path).expanduser()
        with file.open("rb") as opened:
            content = opened.read(max(map(longest, (*IMAGES, "text/plain"))) + 1)
    except (OSError, ValueError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path} cannot be read: {why}") from None
    media_type = _media_type(file.name, content)
    if len(content) > (most := longest(media_type)):
        raise ConfigError(f"{path} is too large: {media_type} may have {most} bytes")
    return file.name, content, media_type


def _media_type(name: str, content: bytes) -> str:
    """What the content is: images say so themselves, of texts the name tells more."""
    for media_type, begins in IMAGES.items():
        if begins(content):
            return media_type
    try:
        content.decode()
    except UnicodeDecodeError as error:
        # The end may have been cut within a character: such a file is too large anyway.
        if error.end < len(content):
            kinds = ", ".join(kind.removeprefix("image/") for kind in IMAGES)
            raise ConfigError(
                f"{name} is no text in UTF-8 and no image that is taken ({kinds}): convert it"
            ) from None
    guessed, _ = mimetypes.guess_type(name)
    return guessed if guessed and is_text(guessed) else "text/plain"
