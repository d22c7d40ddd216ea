"""How every process of the room logs: one line an entry, to standard error."""

from __future__ import annotations

import logging
import sys


def configure_logging(level: str) -> None:
    """Log at `level` and above, libraries only warnings."""
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.WARNING,
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
    )
    for floor in ("api", "projections", "actors", "events"):
        logging.getLogger(floor).setLevel(level.upper())
