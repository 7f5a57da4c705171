"""Both stores, for the suites that each must pass."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from scaler.ports.store import Store
from scaler.store import open_store
from scaler.testing.memory_store import MemoryStore


class BothStores:
    """Gives a suite its fixture `store`, once each."""

    @pytest.fixture(params=["sqlite", "memory"])
    async def store(self, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
        if request.param == "memory":
            yield MemoryStore()
            return
        async with open_store(tmp_path / "scaler.db") as store:
            yield store
