"""What the property tests share."""

from __future__ import annotations

import pytest

from tests.property.tampered_store import TamperedStore


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> TamperedStore:
    """A store in which only copies are tampered with."""
    return TamperedStore(tmp_path_factory.mktemp("tampering"))
