"""Text that others wrote, made fit for a terminal: nothing in it can move, colour or hide.

What a model says is shown as it is, but a terminal obeys escape sequences, control characters and
marks that turn the direction of writing; so those are taken out before anything is printed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from rich.cells import cell_len, chop_cells

_SEQUENCE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, the cursor
    r"|\x1b[\]PX^_][^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"  # OSC, DCS, ...: titles, links, clipboard
    r"|\x1b[ -/]*[0-~]"
    r"|\x9b[0-?]*[ -/]*[@-~]"
)
_BREAK = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls but tab and newline
    "\u200e\u200f\u202a-\u202e\u2066-\u2069\u061c"  # direction of writing
    "\ufff9-\ufffb\ufeff\U000e0000-\U000e007f\ud800-\udfff]"  # invisible, or no character at all
)
_TOKENS = re.compile(r"\S+|\s+")
_TAB = "    "


def safe(text: str) -> str:
    """`text` without anything but characters to read, newlines and spaces."""
    text = _BREAK.sub("\n", _SEQUENCE.sub("", text))
    return _UNSAFE.sub("", text.replace("\t", _TAB))


def safe_line(text: str) -> str:
    """The same, on one line."""
    return " ".join(safe(text).split())


def wrapped(text: str, width: int) -> Iterator[str]:
    """`text`, safe already, in lines of at most `width` cells; words are broken where they must."""
    for paragraph in text.split("\n"):
        line, used = "", 0
        for token in _TOKENS.findall(paragraph):
            cells = cell_len(token)
            if used + cells <= width:
                line, used = line + token, used + cells
                continue
            if line.strip():
                yield line.rstrip()
            line, used = "", 0
            if token.isspace():
                continue
            *whole, line = chop_cells(token, width)
            yield from whole
            used = cell_len(line)
        yield line.rstrip()


def tail(text: str, width: int, height: int) -> list[str]:
    """The last `height` lines of `text`, made safe and wrapped; costs no more for a long text.

    Where something was left out, the first line begins with an ellipsis.
    """
    if height < 1 or width < 1:
        return []
    # A cell holds a character at least, but for combining ones and for what `safe` takes out.
    budget = 4 * width * height
    cut = len(text) > budget
    lines = list(wrapped(safe(text[-budget:] if cut else text).rstrip(), width))
    if len(lines) <= height and not cut:
        return lines
    lines = lines[-height:]
    first = f"… {lines[0]}"
    while cell_len(first) > width and " " in first[2:]:
        first = f"… {first[2:].partition(' ')[2]}"
    lines[0] = first.rstrip() if cell_len(first) <= width else "…"
    return lines
