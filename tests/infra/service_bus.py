"""A Service Bus: the one that the environment names, or our development broker in a process of its own.

`SERVICEBUS_CONNECTION_STRING` opts in to the official emulator or a namespace; the key needs the right Manage.
`SERVICEBUS_ADMIN_CONNECTION_STRING` is needed only where an emulator's management API is not on port 5300.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, Final

import requests
from azure.core.exceptions import AzureError
from azure.core.pipeline.transport import AioHttpTransport
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient
from azure.servicebus.aio.management import ServiceBusAdministrationClient
from azure.servicebus.management import QueueRuntimeProperties, SubscriptionRuntimeProperties

from tests.infra.choose import Broken, Unavailable, Way, obtain
from tests.infra.host import DOWN, External, Host
from tests.infra.process import LocalProcess, free_ports, wait_until

CONNECTION_VARIABLE: Final = "SERVICEBUS_CONNECTION_STRING"
ADMIN_VARIABLE: Final = "SERVICEBUS_ADMIN_CONNECTION_STRING"
SUBSCRIPTION: Final = "workers"
_EMULATOR: Final = "UseDevelopmentEmulator=true"
_BATCH: Final = 100

Counts = QueueRuntimeProperties | SubscriptionRuntimeProperties


class PlainHttpTransport(AioHttpTransport):  # type: ignore[misc]  # untyped in azure-core
    """The administration client builds https addresses only; an emulator speaks http."""

    async def send(self, request: Any, **options: Any) -> Any:
        """Send over plain http."""
        request.url = request.url.replace("https://", "http://", 1)
        return await super().send(request, **options)


def open_admin(connection_string: str) -> ServiceBusAdministrationClient:
    """Open an administration client that fails fast and speaks what the service speaks."""
    options: dict[str, Any] = {"transport": PlainHttpTransport()} if _EMULATOR in connection_string else {}
    return ServiceBusAdministrationClient.from_connection_string(connection_string, retry_total=0, **options)


def admin_of(connection_string: str) -> str:
    """Derive the management connection string of an emulator: same host, port 5300."""
    if _EMULATOR not in connection_string:
        return connection_string
    return re.sub(r"(?<=sb://)([^;:/]+)(:\d+)?", r"\1:5300", connection_string)


def from_environment() -> tuple[str, str] | None:
    """Give both connection strings of the Service Bus that the environment names, if it does."""
    given = os.environ.get(CONNECTION_VARIABLE)
    return (given, os.environ.get(ADMIN_VARIABLE) or admin_of(given)) if given else None


class ServiceBus:
    """One Service Bus; its entities are made and counted by the SDK's own clients."""

    def __init__(self, *, connection_string: str, admin_string: str, host: Host, is_ours: bool) -> None:
        self.connection_string = connection_string
        self.is_ours = is_ours
        self._admin_string = admin_string
        self._host = host

    @property
    def shortest_lock_s(self) -> float:
        """The shortest lock that a queue may have; Azure and the official emulator take 5 s at least."""
        return 1.0 if self.is_ours else 5.0

    @property
    def metadata(self) -> dict[str, str]:
        """What a scale rule needs beside the connection string to find the management API."""
        port = re.search(r"sb://[^;]*:(\d+)", self._admin_string)
        return {"adminPort": port[1]} if port and _EMULATOR in self._admin_string else {}

    def client(self) -> ServiceBusClient:
        """Give a client for messages; to be entered."""
        return ServiceBusClient.from_connection_string(self.connection_string, retry_total=1)

    def admin(self) -> ServiceBusAdministrationClient:
        """Give a client for entities; to be entered."""
        return open_admin(self._admin_string)

    async def create(self, *queues: str, lock_s: float = 60.0, deliveries: int = 10) -> None:
        """Create queues that do not exist yet."""
        async with self.admin() as admin:
            for queue in queues:
                await admin.create_queue(
                    queue, lock_duration=dt.timedelta(seconds=lock_s), max_delivery_count=deliveries
                )

    async def create_topic(self, topic: str, *subscriptions: str, lock_s: float = 60.0) -> None:
        """Create a topic with subscriptions."""
        async with self.admin() as admin:
            await admin.create_topic(topic)
            for name in subscriptions:
                lock = dt.timedelta(seconds=lock_s)
                await admin.create_subscription(topic, name, lock_duration=lock)

    async def delete(self, *queues: str, topics: Iterable[str] = ()) -> None:
        """Delete queues and topics with whatever they hold."""
        async with self.admin() as admin:
            for queue in queues:
                await admin.delete_queue(queue)
            for topic in topics:
                await admin.delete_topic(topic)

    async def send(self, entity: str, bodies: Iterable[str], *, is_topic: bool = False) -> None:
        """Send messages in batches."""
        async with self.client() as client:
            sender = client.get_topic_sender(entity) if is_topic else client.get_queue_sender(entity)
            async with sender:
                for batch in _batches(bodies):
                    await sender.send_messages([ServiceBusMessage(body) for body in batch])

    async def counts(self, queue: str, subscription: str | None = None) -> Counts:
        """Read the SDK's own counts of a queue, or of a topic's subscription."""
        async with self.admin() as admin:
            if subscription is None:
                return await admin.get_queue_runtime_properties(queue)
            return await admin.get_subscription_runtime_properties(queue, subscription)

    def start(self) -> None:
        """Start it again: the development broker is empty then."""
        self._host.start()
        DOWN.discard(self)

    def stop(self) -> None:
        """Stop it; the development broker forgets everything."""
        self._host.stop()
        DOWN.add(self)

    def close(self) -> None:
        """End it for good."""
        self._host.close()
        DOWN.discard(self)


def _batches(bodies: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(bodies)
    while batch := list(islice(rest, _BATCH)):
        yield batch


class DevBrokerProcess:
    """`python -m scaler.devbroker` on two free ports."""

    def __init__(self) -> None:
        self.amqp_port, self.http_port = free_ports(2)
        self._home = Path(tempfile.mkdtemp(prefix="scaler-bus-"))
        ports = ["--amqp-port", str(self.amqp_port), "--http-port", str(self.http_port)]
        command = [sys.executable, "-m", "scaler.devbroker", *ports]
        self._process = LocalProcess(command, log=self._home / "devbroker.log")

    def connection_string(self, port: int) -> str:
        """Give a connection string; it takes any key."""
        return (
            f"Endpoint=sb://127.0.0.1:{port};SharedAccessKeyName=RootManageSharedAccessKey;"
            f"SharedAccessKey=SAS_KEY_VALUE;{_EMULATOR};"
        )

    def start(self) -> None:
        """Start it; returns when it serves."""
        self._process.start()
        self._process.wait_ready(self._answers, timeout_s=30)

    def _answers(self) -> bool:
        try:
            return requests.get(f"http://127.0.0.1:{self.http_port}/health", timeout=2).status_code == 200
        except requests.RequestException:
            return False

    def stop(self) -> None:
        """End it politely."""
        self._process.stop()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def close(self) -> None:
        """End it and remove its log."""
        self._process.kill()
        shutil.rmtree(self._home, ignore_errors=True)


def start_service_bus() -> ServiceBus:
    """Return a serving Service Bus: SERVICEBUS_CONNECTION_STRING, or the development broker."""
    return obtain(
        "service_bus",
        [
            Way(name=CONNECTION_VARIABLE, attempt=_given),
            Way(name="development broker", attempt=_native),
        ],
    )


def _given() -> ServiceBus:
    strings = from_environment()
    if strings is None:
        raise Unavailable("not set")
    host = External("service_bus", CONNECTION_VARIABLE)
    bus = ServiceBus(connection_string=strings[0], admin_string=strings[1], host=host, is_ours=False)
    wait_until(lambda: _serves(bus), timeout_s=20, what=f"the Service Bus of {CONNECTION_VARIABLE}")
    return bus


def _serves(bus: ServiceBus) -> bool:
    """Ask for the namespace, by a loop in a thread of its own: this one's belongs to the tests."""

    async def ask() -> None:
        async with asyncio.timeout(10), bus.admin() as admin:
            await admin.get_namespace_properties()

    try:
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, ask()).result()
    except (AzureError, TimeoutError):
        return False
    return True


def _native() -> ServiceBus:
    host = DevBrokerProcess()
    try:
        host.start()
    except Broken:
        host.close()
        raise
    return ServiceBus(
        connection_string=host.connection_string(host.amqp_port),
        admin_string=host.connection_string(host.http_port),
        host=host,
        is_ours=True,
    )
