"""What models call the tools: `server__tool`, in the characters that every provider takes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from hashlib import sha256

LONGEST = 64
_OTHER = re.compile(r"[^A-Za-z0-9_-]")

Tool = tuple[str, str]
"""A server and what it calls its tool."""


def offered_names(tools: Iterable[Tool]) -> Mapping[str, Tool]:
    """Each tool by the name that models are offered, in the order of the names.

    A name is `server__tool` with `_` for other characters than letters, digits, `_` and `-`. Where
    that, or its length, makes it differ or be another's too, eight hexadecimal digits of the
    SHA-256 of `server__tool` stand at its end instead; 24 where even that is another's.
    """
    names = {tool: _OTHER.sub("_", f"{tool[0]}__{tool[1]}") for tool in dict.fromkeys(tools)}
    wanted = Counter(names.values())
    digits = {
        tool: 0 if _kept(tool, name) and wanted[name] == 1 else 8 for tool, name in names.items()
    }
    while True:
        made = {tool: _named(tool, names[tool], count) for tool, count in digits.items()}
        often = Counter(made.values())
        shared = [tool for tool, name in made.items() if often[name] > 1 and digits[tool] < 24]
        if not shared:
            return dict(sorted((name, tool) for tool, name in made.items()))
        # Whose own name it is takes a digest before another takes a longer one.
        fewest = min(digits[tool] for tool in shared)
        digits |= {tool: 24 if fewest else 8 for tool in shared if digits[tool] == fewest}


def _kept(tool: Tool, name: str) -> bool:
    return name == f"{tool[0]}__{tool[1]}" and len(name) <= LONGEST


def _named(tool: Tool, name: str, digits: int) -> str:
    if not digits:
        return name
    digest = sha256(f"{tool[0]}__{tool[1]}".encode("utf-8", "surrogatepass")).hexdigest()
    return f"{name[: LONGEST - 1 - digits]}_{digest[:digits]}"
