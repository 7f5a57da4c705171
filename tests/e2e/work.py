"""A job of real workers on a real queue: its file, its messages, its reports, its containers."""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Protocol, TypeVar

from docker.errors import NotFound  # type: ignore[import-untyped]

from tests.infra.azurite import Azurite
from tests.infra.engine import Engine
from tests.infra.rabbitmq import RabbitMQ
from tests.infra.results import Drain, drain_azure_queue, drain_rabbitmq, drain_service_bus
from tests.infra.service_bus import SUBSCRIPTION, ServiceBus

T = TypeVar("T")
FINAL = frozenset({"Succeeded", "Failed", "Stopped", "Unknown"})
JOB_LABEL = "io.scaler.job"


def size(small: T, full: T) -> T:
    """Give the small one of two measures, or with SCALER_FLOOD=full the full one."""
    return full if os.environ.get("SCALER_FLOOD") == "full" else small


class Queue(Protocol):
    """One kind of source: how to fill it, read its reports, and write its scale rule."""

    worker: ClassVar[str]
    """Script of the worker."""
    variable: ClassVar[str]
    """Variable that the worker takes its address from."""
    rule_type: ClassVar[str]
    """Scaler."""

    @property
    def secret(self) -> str:
        """What the worker connects with."""

    @property
    def auth(self) -> Mapping[str, str]:
        """What the scaler connects with."""

    def metadata(self, queue: str) -> dict[str, str]:
        """Give the rule's metadata."""

    async def create(self, *queues: str) -> None:
        """Create queues."""

    async def publish(self, queue: str, bodies: Iterable[str]) -> None:
        """Send messages."""

    async def left(self, queue: str) -> int:
        """Count messages, those in a worker's hands included."""

    def drain(self, queue: str) -> Drain:
        """Give the call that takes all reports."""


@dataclass(frozen=True, slots=True)
class RabbitQueue:
    """RabbitMQ, counted over AMQP or the management API."""

    broker: RabbitMQ
    protocol: str

    worker: ClassVar[str] = "rabbitmq_worker.py"
    variable: ClassVar[str] = "AMQP_URL"
    rule_type: ClassVar[str] = "rabbitmq"

    @property
    def secret(self) -> str:
        """What the worker connects with."""
        return self.broker.amqp_url

    @property
    def auth(self) -> Mapping[str, str]:
        """What the scaler connects with."""
        return {"host": self.broker.http_url if self.protocol == "http" else self.broker.amqp_url}

    def metadata(self, queue: str) -> dict[str, str]:
        """Give the rule's metadata."""
        return {"queueName": queue, "protocol": self.protocol, "mode": "QueueLength", "value": "1"}

    async def create(self, *queues: str) -> None:
        """Create queues."""
        await self.broker.declare(*queues)

    async def publish(self, queue: str, bodies: Iterable[str]) -> None:
        """Send messages."""
        await self.broker.publish(queue, bodies)

    async def left(self, queue: str) -> int:
        """Count messages, those in a worker's hands included."""
        counts = await self.broker.counts(queue)
        return counts.ready + counts.unacked

    def drain(self, queue: str) -> Drain:
        """Give the call that takes all reports."""
        return partial(drain_rabbitmq, self.broker.amqp_url, queue)


@dataclass(frozen=True, slots=True)
class AzureQueue:
    """An Azure storage queue."""

    service: Azurite

    worker: ClassVar[str] = "azure_queue_worker.py"
    variable: ClassVar[str] = "AZURE_STORAGE_CONNECTION_STRING"
    rule_type: ClassVar[str] = "azure-queue"

    @property
    def secret(self) -> str:
        """What the worker connects with."""
        return self.service.connection_string

    @property
    def auth(self) -> Mapping[str, str]:
        """What the scaler connects with."""
        return {"connection": self.service.connection_string}

    def metadata(self, queue: str) -> dict[str, str]:
        """Give the rule's metadata."""
        return {"queueName": queue, "queueLength": "1"}

    async def create(self, *queues: str) -> None:
        """Create queues."""
        await self.service.create(*queues)

    async def publish(self, queue: str, bodies: Iterable[str]) -> None:
        """Send messages."""
        await self.service.send(queue, bodies)

    async def left(self, queue: str) -> int:
        """Count messages, those in a worker's hands included."""
        return await self.service.count(queue)

    def drain(self, queue: str) -> Drain:
        """Give the call that takes all reports."""
        return partial(drain_azure_queue, self.service.connection_string, queue)


@dataclass(frozen=True, slots=True)
class BusQueue:
    """A Service Bus queue, read by the management API, or with `listen` by a string without the right Manage."""

    bus: ServiceBus
    listen: str = ""

    worker: ClassVar[str] = "service_bus_worker.py"
    variable: ClassVar[str] = "SERVICEBUS_CONNECTION_STRING"
    rule_type: ClassVar[str] = "azure-servicebus"

    @property
    def secret(self) -> str:
        """What the worker connects with."""
        return self.bus.connection_string

    @property
    def auth(self) -> Mapping[str, str]:
        """What the scaler connects with."""
        return {"connection": self.listen or self.bus.connection_string}

    def metadata(self, queue: str) -> dict[str, str]:
        """Give the rule's metadata."""
        return {"queueName": queue, "messageCount": "1", **self.bus.metadata}

    async def create(self, *queues: str) -> None:
        """Create queues."""
        await self.bus.create(*queues)

    async def publish(self, queue: str, bodies: Iterable[str]) -> None:
        """Send messages."""
        await self.bus.send(queue, bodies)

    async def left(self, queue: str) -> int:
        """Count messages, those in a worker's hands included."""
        return int((await self.bus.counts(queue)).total_message_count or 0)

    def drain(self, queue: str) -> Drain:
        """Give the call that takes all reports."""
        return partial(drain_service_bus, self.bus.connection_string, queue)


@dataclass(frozen=True, slots=True)
class BusSubscription(BusQueue):
    """A Service Bus topic with one subscription; the reports go to a queue."""

    def metadata(self, queue: str) -> dict[str, str]:
        """Give the rule's metadata."""
        names = {"topicName": queue, "subscriptionName": SUBSCRIPTION}
        return {**names, "messageCount": "1", **self.bus.metadata}

    async def create(self, *queues: str) -> None:
        """Create the topic, and the queues that follow it."""
        topic, *rest = queues
        await self.bus.create_topic(topic, SUBSCRIPTION)
        await self.bus.create(*rest)

    async def publish(self, queue: str, bodies: Iterable[str]) -> None:
        """Send messages to the topic."""
        await self.bus.send(queue, bodies, is_topic=True)

    async def left(self, queue: str) -> int:
        """Count messages of the subscription, those in a worker's hands included."""
        return int((await self.bus.counts(queue, SUBSCRIPTION)).total_message_count or 0)


@dataclass(slots=True, kw_only=True)
class Work:
    """One event job with its queues; names are its own."""

    queue: Queue
    image: str
    interval_s: int = 5
    most: int = 8
    timeout_s: int = 300
    env: dict[str, str] = field(default_factory=dict)
    name: str = field(default_factory=lambda: f"job-{uuid.uuid4().hex[:10]}")
    sent: Counter[str] = field(default_factory=Counter)

    @property
    def source(self) -> str:
        """The queue that the workers take from."""
        return f"{self.name}-in"

    @property
    def reports(self) -> str:
        """The queue that the workers report to."""
        return f"{self.name}-out"

    async def create(self) -> None:
        """Create both queues."""
        await self.queue.create(self.source, self.reports)

    async def send(self, count: int) -> None:
        """Send so many messages, each with a body of its own."""
        first = len(self.sent)
        bodies = [f"{self.name}/{number}" for number in range(first, first + count)]
        self.sent.update(bodies)
        await self.queue.publish(self.source, bodies)

    def document(self) -> dict[str, Any]:
        """Give the job file."""
        plain = {"QUEUE": self.source, "RESULT_QUEUE": self.reports, **self.env}
        env: list[dict[str, str]] = [{"name": name, "value": value} for name, value in plain.items()]
        env.append({"name": self.queue.variable, "secretRef": "worker"})
        rule = {
            "name": "queue",
            "type": self.queue.rule_type,
            "metadata": self.queue.metadata(self.source),
            "auth": [{"triggerParameter": key, "secretRef": f"rule-{key}"} for key in self.queue.auth],
        }
        secrets = {"worker": self.queue.secret} | {f"rule-{k}": v for k, v in self.queue.auth.items()}
        scale = {
            "pollingInterval": self.interval_s,
            "minExecutions": 0,
            "maxExecutions": self.most,
            "rules": [rule],
        }
        return {
            "name": self.name,
            "properties": {
                "configuration": {
                    "triggerType": "Event",
                    "replicaTimeout": self.timeout_s,
                    "replicaRetryLimit": 0,
                    "eventTriggerConfig": {"parallelism": 1, "replicaCompletionCount": 1, "scale": scale},
                    "secrets": [{"name": name, "value": value} for name, value in secrets.items()],
                },
                "template": {
                    "containers": [
                        {
                            "name": "worker",
                            "image": self.image,
                            "command": ["python", f"/worker/{self.queue.worker}"],
                            "env": env,
                            "resources": {"cpu": 2, "memory": "0.5Gi"},
                        }
                    ]
                },
            },
            "x-scaler": {"executor": "docker", "docker": {"network": "host"}},
        }


def containers(engine: Engine, job: str) -> list[str]:
    """List the names of a job's containers in any state."""
    with engine.client() as client:
        rows = client.api.containers(all=True, filters={"label": f"{JOB_LABEL}={job}"})
    return [f"{row['Names'][0]} {row['State']}" for row in rows]


def remove_containers(engine: Engine, *jobs: str) -> None:
    """Remove what a failed test left; its daemon may be removing the same, so one that is gone is no fault."""
    with engine.client() as client:
        for job in jobs:
            for container in client.containers.list(all=True, filters={"label": f"{JOB_LABEL}={job}"}):
                with suppress(NotFound):  # a daemon that still runs may be quicker
                    container.remove(force=True, v=True)
