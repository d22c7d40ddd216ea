"""What all tests share: real servers, one event loop policy, markers, a clean environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.leftover_processes import Leftover, end_leftovers, tag_this_run

pytest_plugins = ("tests.servers.nats", "tests.servers.postgres", "tests.servers.llama")

_HERE = Path(__file__).parent
_KINDS = frozenset({"unit", "contract", "property", "replay", "integration", "api", "chaos"})
_LEFTOVERS: pytest.StashKey[tuple[Leftover, ...]] = pytest.StashKey()

# --- environment -----------------------------------------------------------------------------

# The machine's own settings and keys change no result and are never spent.
for _name in tuple(os.environ):
    if _name.startswith(("CONTROL_ROOM_", "OPENAI_", "RAY_", "PG")) or _name.endswith("_API_KEY"):
        del os.environ[_name]
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"
tag_this_run()


@pytest.fixture(scope="session", autouse=True)
def _data_directory(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test writes into the data directory of the person who runs it."""
    os.environ["CONTROL_ROOM_HOME"] = str(tmp_path_factory.mktemp("home"))


# --- hypothesis ------------------------------------------------------------------------------

# Run time says nothing on a busy machine, so no deadline; a failure prints how to repeat it.
settings.register_profile(
    "ci",
    max_examples=50,
    deadline=None,
    print_blob=True,
    derandomize=False,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("dev", settings.get_profile("ci"), max_examples=500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# --- event loop ------------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    """Every `async def test_` runs on anyio without a mark of its own."""
    config.option.anyio_mode = "auto"


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """The product's loop: asyncio on uvloop."""
    return "asyncio", {"use_uvloop": True}


# --- markers ---------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks each test with the names of its folders, so that `-m unit` selects tests/unit."""
    for item in items:
        if item.path.is_relative_to(_HERE):
            for folder in item.path.relative_to(_HERE).parts[:-1]:
                if folder in _KINDS:
                    item.add_marker(folder)


# --- processes -------------------------------------------------------------------------------


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A run that leaves processes behind has failed, whatever its tests say."""
    left = end_leftovers(grace=10.0)
    session.config.stash[_LEFTOVERS] = left
    if left and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Names what was left, and by which test."""
    left = config.stash.get(_LEFTOVERS, ())
    if left:
        terminalreporter.section("processes left behind (ended now)", red=True)
        for process in left:
            terminalreporter.line(f"{process.pid}  {process.command}\n    of {process.test}")
