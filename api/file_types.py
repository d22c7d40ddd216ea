"""Which files may be attached to a message, and how large they may be.

Images are PNG, JPEG, WebP or GIF. Everything else is a text in UTF-8: `text/*`, and what is text
under another name, such as JSON or source code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

LONGEST_IMAGE: Final = 5 * 1024 * 1024
LONGEST_FILE: Final = 1024 * 1024
"""Bytes of one attachment."""

IMAGES: Mapping[str, Callable[[bytes], bool]] = {
    "image/png": lambda content: content.startswith(b"\x89PNG\r\n\x1a\n"),
    "image/jpeg": lambda content: content.startswith(b"\xff\xd8\xff"),
    "image/webp": lambda content: content[:4] == b"RIFF" and content[8:12] == b"WEBP",
    "image/gif": lambda content: content.startswith((b"GIF87a", b"GIF89a")),
}
"""The images that may be attached, and how each begins."""

_TEXT = re.compile(
    r"text/[a-z0-9.+_-]+"
    r"|application/(?:[a-z0-9._-]+\+(?:json|xml|yaml)|json|jsonl|x-ndjson|json5|xml|yaml|x-yaml"
    r"|toml|csv|sql|graphql|x-sh|x-shellscript|javascript|x-javascript|ecmascript|typescript"
    r"|x-typescript|x-python|x-python-code|x-ruby|x-php|x-perl|x-tex|x-latex|rtf)"
)


def is_text(media_type: str) -> bool:
    """Whether files of that type are texts; `media_type` is in lower case, without parameters."""
    return _TEXT.fullmatch(media_type) is not None


def longest(media_type: str) -> int:
    """Bytes that an attachment of that type may have."""
    return LONGEST_IMAGE if media_type in IMAGES else LONGEST_FILE
