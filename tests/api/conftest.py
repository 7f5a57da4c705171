"""A server of the API on a unix socket, and a client that speaks to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from scaler.api.app import build_app
from scaler.api.serve import serve_unix
from tests.api.fakes import NOW, FakeControl, FakeStore, make_job


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def control(store: FakeStore) -> FakeControl:
    fake = FakeControl(store)
    fake.add(make_job("orders"), make_job("billing"))
    return fake


@pytest.fixture
async def client(
    control: FakeControl, store: FakeStore, tmp_path: Path
) -> AsyncIterator[aiohttp.ClientSession]:
    path = tmp_path / "scaler.sock"
    app = build_app(control, store, clock_now=lambda: NOW, version="9.9")
    async with serve_unix(app, path):
        connector = aiohttp.UnixConnector(path=str(path))
        async with aiohttp.ClientSession("http://localhost", connector=connector) as session:
            yield session
