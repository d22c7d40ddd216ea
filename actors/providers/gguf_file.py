"""What the head of a GGUF file says of its model, without reading its weights."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO, Final

from events.errors import ConfigError

MOST_ENTRIES: Final = 10_000
LONGEST_TEXT: Final = 1024 * 1024  # bytes

_TEXT, _ARRAY = 8, 9
_NUMBERS: Final = {4: "<I", 5: "<i", 10: "<Q", 11: "<q"}
_SIZES: Final = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # bytes


def context_length(path: Path) -> int | None:
    """The tokens that the model was made for; None where the file does not say.

    Raises `ConfigError` where there is no such file, or it is no GGUF file.
    """
    try:
        with path.open("rb") as file:
            return _context_length(file)
    except OSError as error:
        raise ConfigError(f"the model file {path} cannot be read: {error.strerror}") from None
    except (struct.error, ValueError, KeyError):
        raise ConfigError(
            f"{path} is no whole GGUF file: fetch it again, or convert the model to GGUF"
        ) from None


def _context_length(file: BinaryIO) -> int | None:
    if file.read(4) != b"GGUF":
        raise ValueError("magic")
    _, _, entries = struct.unpack("<IQQ", file.read(20))
    architecture = ""
    lengths: dict[str, int] = {}
    for _ in range(min(entries, MOST_ENTRIES)):
        name, kind = _text(file), _number(file, "<I")
        if name.startswith("tokenizer."):
            break  # the vocabulary, which is long; what we look for stands before it
        if name == "general.architecture" and kind == _TEXT:
            architecture = _text(file)
        elif name.endswith(".context_length") and kind in _NUMBERS:
            lengths[name] = _number(file, _NUMBERS[kind])
        elif kind == _ARRAY:
            inner, count = _number(file, "<I"), _number(file, "<Q")
            _skip(file, inner, count)
        else:
            _skip(file, kind, 1)
    return lengths.get(f"{architecture}.context_length")


def _skip(file: BinaryIO, kind: int, count: int) -> None:
    if kind != _TEXT:
        file.seek(_SIZES[kind] * count, 1)
    elif count > MOST_ENTRIES:
        raise ValueError("array")
    else:
        for _ in range(count):
            file.seek(_number(file, "<Q"), 1)


def _text(file: BinaryIO) -> str:
    size = _number(file, "<Q")
    if size > LONGEST_TEXT:
        raise ValueError("text")
    return file.read(size).decode()


def _number(file: BinaryIO, form: str) -> int:
    value: int = struct.unpack(form, file.read(struct.calcsize(form)))[0]
    return value
