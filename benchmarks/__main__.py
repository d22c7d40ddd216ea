"""`python -m benchmarks [NAME ...] [--quick]`: run all benchmarks, or those that are named."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from importlib import import_module

import uvloop

from benchmarks.machine import cores, on_core

WITH_ROOM = ("turns", "streaming", "stages", "memory", "reading")
"""Measured from outside: on a whole room, or (`reading`) on what reads answers."""
IN_PROCESS = ("store", "replay", "projections")
"""Measured in one process, each against a floor of its own."""
NAMES = (*WITH_ROOM, *IN_PROCESS)
WITHIN = 600.0
"""Seconds for one of the latter."""


def main() -> int:
    """Print one report after the other; 1 where a benchmark failed. Missed marks are no failure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, rougher figures")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.names if name not in NAMES]:
        parser.error(f"there is no benchmark {unknown[0]!r}: use one of {', '.join(NAMES)}")
    outside, inside = cores()
    _say(
        f"{len(os.sched_getaffinity(0))} cores: provider and clients on {outside}, what is "
        f"measured on {inside}. Load average before: {os.getloadavg()[0]:.1f}"
    )
    failed = 0
    for name in arguments.names or NAMES:
        began = time.perf_counter()
        try:
            if name in IN_PROCESS:
                _in_process(name)
            else:
                _say(uvloop.run(_with_room(name, arguments.quick)))
        except (RuntimeError, TimeoutError, subprocess.SubprocessError) as error:
            failed += 1
            _say(f"{name} failed: {type(error).__name__}: {error}")
        _say(f"({name}: {time.perf_counter() - began:.0f} s)")
    return 1 if failed else 0


def _say(text: str) -> None:
    print(f"{text}\n", flush=True)


async def _with_room(name: str, quick: bool) -> str:
    module = import_module(f"benchmarks.{name}")
    with on_core(cores()[0]):
        text: str = (await module.run(quick=quick)).markdown()
    return text


def _in_process(name: str) -> None:
    _say(f"### {name}")
    with on_core(cores()[1]):
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True, timeout=WITHIN)


if __name__ == "__main__":
    sys.exit(main())
