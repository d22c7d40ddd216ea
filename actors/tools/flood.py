"""What keeps a server that talks without end from keeping its actor busy with that."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

import mcp_types as types

_log = logging.getLogger(__name__)

EACH_SECOND: Final = 200
"""Notifications that are let through in a second."""
_TALK: Final = frozenset({"notifications/message", "notifications/progress"})


class Flood:
    """Lets so many notifications through that only tell something; all that counts passes."""

    def __init__(self, server: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._server = server
        self._clock = clock
        self._second = 0
        self._passed = 0
        self._told = False

    def passes(self, message: types.JSONRPCMessage) -> bool:
        """Whether the message goes on."""
        if not isinstance(message, types.JSONRPCNotification) or message.method not in _TALK:
            return True
        second = int(self._clock())
        if second != self._second:
            self._second, self._passed = second, 0
        self._passed += 1
        if self._passed <= EACH_SECOND:
            return True
        if not self._told:
            self._told = True
            _log.warning("%s sends notifications without end: most are dropped", self._server)
        return False
