"""Cursors of lists: opaque to who pages through one, and of no use in another."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode

from events.errors import ConfigError


def written(kind: bytes, number: int) -> str:
    """The cursor of the items of a list beyond `number`."""
    return urlsafe_b64encode(b"%b:%d" % (kind, number)).decode().rstrip("=")


def read(cursor: str, kind: bytes, what: str) -> int:
    """The number in a cursor that `written` gave for that kind; `what` says what is listed.

    Raises `ConfigError` for any other text.
    """
    try:
        text = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        prefix, _, number = text.partition(b":")
        if prefix != kind or not number.isdigit() or len(number) > 18:
            raise ValueError(cursor)
    except ValueError:
        raise ConfigError(
            f"{cursor!r:.80} is no cursor of the list of {what}: use 'next' of a page, "
            "or leave it out to begin with the first"
        ) from None
    return int(number)
