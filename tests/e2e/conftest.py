"""Fixtures of the proofs: the three sources, and a daemon with a home of its own."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.daemon import Daemon
from tests.e2e.work import (
    AzureQueue,
    BusQueue,
    BusSubscription,
    Queue,
    RabbitQueue,
    remove_containers,
)
from tests.infra.engine import Engine

Source = Callable[[str], Queue]
MakeDaemon = Callable[..., Daemon]


@pytest.fixture
def source(request: pytest.FixtureRequest) -> Source:
    """Give the queue of a kind: `amqp`, `http`, `azure`, `bus-queue` or `bus-subscription`.

    Its service starts when first asked for.
    """

    def find(kind: str) -> Queue:
        if kind == "azure":
            return AzureQueue(request.getfixturevalue("azurite"))
        if kind in ("bus-queue", "bus-subscription"):
            bus = request.getfixturevalue("service_bus")
            return BusQueue(bus) if kind == "bus-queue" else BusSubscription(bus)
        return RabbitQueue(request.getfixturevalue("rabbitmq"), kind)

    return find


@pytest.fixture
def make_daemon(tmp_path: Path) -> Iterator[MakeDaemon]:
    """Make a daemon on an engine, not started yet: write its job files first. Ended and cleaned up after.

    Whatever a test was about, no daemon may have printed a traceback.
    """
    made: list[tuple[Daemon, Engine]] = []

    def make(engine: Engine, *, docker: Mapping[str, Any] | None = None, **settings: Any) -> Daemon:
        executors = {"docker": {"host": engine.url, **(docker or {})}}
        daemon = Daemon(tmp_path, settings={"log": {"format": "json"}, "executors": executors, **settings})
        made.append((daemon, engine))
        return daemon

    yield make
    for daemon, engine in made:
        daemon.end(signal.SIGKILL)
        remove_containers(engine, *daemon.written)
        assert daemon.complaints() == []


@pytest.fixture
def daemon(make_daemon: MakeDaemon, docker_engine: Engine) -> Daemon:
    """A daemon with default settings on the shared engine."""
    return make_daemon(docker_engine)
