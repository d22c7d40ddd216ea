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
    SHA-256 of `server__tool` stand at its end instead.
    """
    wanted = {tool: _OTHER.sub("_", f"{tool[0]}__{tool[1]}") for tool in dict.fromkeys(tools)}
    often = Counter(wanted.values())
    named = {
        name if _kept(tool, name) and often[name] == 1 else _with_digest(tool, name): tool
        for tool, name in wanted.items()
    }
    return dict(sorted(named.items()))


def _kept(tool: Tool, name: str) -> bool:
    return name == f"{tool[0]}__{tool[1]}" and len(name) <= LONGEST


def _with_digest(tool: Tool, name: str) -> str:
    digest = sha256(f"{tool[0]}__{tool[1]}".encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{name[: LONGEST - 9]}_{digest}"
