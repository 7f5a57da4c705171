"""Fixtures of the whole run. Each service starts when the first test asks for it: unit tests touch none."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Iterator

import pytest
import structlog

from tests.infra import engine, host, images
from tests.infra.azurite import Azurite, start_azurite
from tests.infra.choose import Unavailable, absent
from tests.infra.engine import Engine
from tests.infra.kafka import Kafka, start_kafka
from tests.infra.rabbitmq import RabbitMQ, start_rabbitmq
from tests.infra.second_try import SecondTry
from tests.infra.service_bus import ServiceBus, start_service_bus
from tests.infra.skip_guard import guard_skips


def pytest_configure(config: pytest.Config) -> None:
    """Register what watches over the whole run: skips and second tries."""
    guard_skips(config)
    config.pluginmanager.register(SecondTry(), "second-try")


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitMQ]:
    """A RabbitMQ broker with management API; one a run, so use queue names of your own."""
    broker = start_rabbitmq()
    yield broker
    broker.close()


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """An Azure storage queue service; one a run, so use queue names of your own."""
    service = start_azurite()
    yield service
    service.close()


@pytest.fixture(scope="session")
def kafka() -> Iterator[Kafka]:
    """A Kafka broker that creates topics by itself; one a run, so use topic and group names of your own."""
    broker = start_kafka()
    yield broker
    broker.close()


@pytest.fixture(scope="session")
def service_bus() -> Iterator[ServiceBus]:
    """A Service Bus; one a run, so use names of your own."""
    bus = start_service_bus()
    yield bus
    bus.close()


@pytest.fixture(scope="session")
def docker_engine() -> Engine:
    """A Docker engine, shared and left running: never restart it, remove what you start."""
    return engine.docker_engine()


@pytest.fixture(scope="session")
def worker_image(docker_engine: Engine) -> str:
    """Tag of the image with the worker scripts, under /worker."""
    try:
        return images.worker_image(docker_engine)
    except Unavailable as exc:
        absent("docker", f"worker image: {exc}")


@pytest.fixture(scope="session")
def spare_engine(docker_engine: Engine, worker_image: str) -> Iterator[Engine]:
    """A second Docker engine with the worker image, which tests may stop, kill and restart (host network only)."""
    spare = engine.spare_engine()
    images.copy_image(worker_image, docker_engine, spare)
    yield spare
    spare.start()
    engine.remove_all(spare)
    spare.stop()


@pytest.fixture(autouse=True)
def _services_up_again() -> Iterator[None]:
    """After each test, start what it stopped and left so."""
    yield
    host.revive()


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """After each test, undo what a command that ran in this process has set up: it would silence later tests."""
    loggers, config = [logging.getLogger(), logging.getLogger("asyncio")], structlog.get_config()
    handlers = [logger.handlers[:] for logger in loggers]
    yield
    structlog.configure(**config)
    for logger, before in zip(loggers, handlers, strict=True):
        logger.handlers[:] = before


@pytest.fixture
def queue_name(request: pytest.FixtureRequest) -> str:
    """A name no other test uses, legal for every broker: lower case, digits, single hyphens, under 63 long."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:40].strip("-")
    return f"{words}-{uuid.uuid4().hex[:8]}"
