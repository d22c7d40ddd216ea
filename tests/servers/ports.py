"""Ports for servers that cannot choose one themselves."""

from __future__ import annotations

import random
from collections.abc import Iterator

# Below the range of outgoing connections, so that no client can sit on the port of a server that
# is being restarted, and above the ports of Ray's workers.
_RANGE = range(20_000, 32_768)


def candidate_ports(count: int = 20) -> Iterator[int]:
    """Random ports to try in turn. Only the server that binds one knows whether it is free."""
    yield from random.sample(_RANGE, count)
