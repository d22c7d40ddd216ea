"""Says of each call of a run which it is, in the order in which the workflow made them.

Calls that run at the same time come by connections of their own, and may arrive in another order
than that in which they were made; a replay has to tell identical ones apart.
"""

from __future__ import annotations

from itertools import count
from typing import Any

HEADER = "x-control-room-call"


def numbering() -> dict[str, list[Any]]:
    """Event hooks of an HTTP client that number its requests for answers, from 1 on."""
    numbers = count(1)

    async def number(request: Any) -> None:
        if request.url.path.endswith("/chat/completions"):
            request.headers[HEADER] = str(next(numbers))

    return {"request": [number]}
