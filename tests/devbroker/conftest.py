"""One Service Bus for each test: that of the environment when it names one, else our own broker.

`SERVICEBUS_CONNECTION_STRING` (and, when management listens elsewhere than on port 5300 of the same
host, `SERVICEBUS_ADMIN_CONNECTION_STRING`) point the contract tests at the official emulator or at a
namespace. Everything goes through the unmodified official SDK.
"""

import asyncio
import datetime as dt
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver, ServiceBusSender
from azure.servicebus.aio.management import ServiceBusAdministrationClient

from scaler.devbroker import DevBroker
from tests.infra.service_bus import from_environment, open_admin

__all__ = ["open_admin"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The runtime counts of a queue."""

    active: int
    dead: int
    scheduled: int


@dataclass(slots=True, kw_only=True)
class Bus:
    """What a test gets: both clients, and a queue of its own with short locks and three deliveries.

    `short_lock_s` is the lock duration of the queue; the official emulator takes 5 s at least.
    `is_ours` is false when the environment named another Service Bus.
    """

    connection_string: str
    client: ServiceBusClient
    admin: ServiceBusAdministrationClient
    short_lock_s: float
    is_ours: bool
    queue: str = ""
    sender: ServiceBusSender | None = None
    upcoming: asyncio.Task[tuple[str, ServiceBusSender]] | None = None
    closing: list[asyncio.Task[None]] = field(default_factory=list)

    def prepare(self) -> None:
        """Make the next test's queue and open its sender meanwhile: opening takes the SDK 0.5 s."""
        self.upcoming = asyncio.create_task(self._prepare())

    async def _prepare(self) -> tuple[str, ServiceBusSender]:
        queue, lock = f"test-{uuid.uuid4().hex[:12]}", dt.timedelta(seconds=self.short_lock_s)
        await self.admin.create_queue(queue, lock_duration=lock, max_delivery_count=3)
        sender = self.client.get_queue_sender(queue)
        await sender.__aenter__()
        return queue, sender

    async def take(self) -> None:
        """Take the queue that was prepared."""
        assert self.upcoming is not None
        self.queue, self.sender = await self.upcoming
        self.upcoming = None

    async def drop(self) -> None:
        """Delete the queue and close its sender in the background."""
        assert self.sender is not None
        self.closing.append(asyncio.create_task(self.sender.close()))
        await self.admin.delete_queue(self.queue)

    @asynccontextmanager
    async def receiver(self, **options: Any) -> AsyncIterator[ServiceBusReceiver]:
        """Receive from the queue; the SDK's slow close (0.5 s) goes on in the background."""
        receiver = self.client.get_queue_receiver(self.queue, **options)
        try:
            yield await receiver.__aenter__()  # opens the link, so that no wait below includes that
        finally:
            self.closing.append(asyncio.create_task(receiver.close()))

    async def fill(self, *bodies: str | bytes) -> None:
        """Send texts or bytes, one by one, in this order."""
        await self.send(*[ServiceBusMessage(body) for body in bodies])

    async def send(self, *messages: ServiceBusMessage | list[ServiceBusMessage]) -> None:
        """Send messages, or lists of them as one batch each."""
        assert self.sender is not None
        for message in messages:
            await self.sender.send_messages(message)

    async def counts(self) -> Counts:
        """Read the counts of the queue."""
        found = await self.admin.get_queue_runtime_properties(self.queue)
        return Counts(
            active=found.active_message_count or 0,
            dead=found.dead_letter_message_count or 0,
            scheduled=found.scheduled_message_count or 0,
        )


@pytest.fixture
async def broker() -> AsyncIterator[DevBroker]:
    """Our own broker, in this process, for this test alone."""
    async with DevBroker() as broker:
        yield broker


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def service() -> AsyncIterator[Bus]:
    """One Service Bus for the whole run, so that no test waits for the SDK to close."""
    async with AsyncExitStack() as stack:
        given = from_environment()
        if given:
            connection_string, admin_string = given
        else:
            broker = await stack.enter_async_context(DevBroker())
            connection_string, admin_string = broker.connection_string, broker.admin_connection_string
        client = ServiceBusClient.from_connection_string(connection_string, retry_total=0)
        bus = Bus(
            connection_string=connection_string,
            client=await stack.enter_async_context(client),
            admin=await stack.enter_async_context(open_admin(admin_string)),
            short_lock_s=5.0 if given else 1.0,
            is_ours=not given,
        )
        bus.prepare()
        yield bus
        await bus.take()
        await bus.drop()
        await asyncio.gather(*bus.closing)


@pytest_asyncio.fixture(loop_scope="session")
async def bus(service: Bus) -> AsyncIterator[Bus]:
    """The Service Bus with one empty queue of the test's own."""
    await service.take()
    service.prepare()
    yield service
    await service.drop()
