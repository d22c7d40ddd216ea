"""The JSON that coordinators and voters are asked to answer with."""

from __future__ import annotations

import json
from typing import Any


def plan(participants: Any, reason: Any = "they know") -> str:
    return json.dumps({"participants": participants, "reason": reason})


def ballot(choice: Any, reason: Any = "better") -> str:
    return json.dumps({"choice": choice, "reason": reason})
