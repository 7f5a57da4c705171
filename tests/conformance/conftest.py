"""One daemon for all rows: each has jobs of its own."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator

import pytest

from tests.conformance.place import Place
from tests.e2e.daemon import Daemon
from tests.e2e.work import remove_containers
from tests.infra.engine import Engine


@pytest.fixture(scope="module")
def place_of(
    docker_engine: Engine, worker_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Place]]:
    """Give the place of an executor; the daemon runs until the last row of the module."""
    home = tmp_path_factory.mktemp("conformance")
    executors = {"docker": {"host": docker_engine.url}}
    daemon = Daemon(home, settings={"log": {"format": "json"}, "executors": executors})
    first = Place(daemon=daemon, executor="process", image=None)
    daemon.write(first.job())
    asyncio.run(daemon.start())
    yield lambda executor: Place(
        daemon=daemon, executor=executor, image=worker_image if executor == "docker" else None
    )
    daemon.end(signal.SIGTERM)
    remove_containers(docker_engine, *daemon.written)
    assert daemon.complaints() == []
