"""`azure-servicebus` beside the SDK's own counts of the same entity, through all that befalls its messages.

Runs against whatever SERVICEBUS_CONNECTION_STRING names, else against the development broker as a process.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver

from scaler.engine.sessions import Sessions
from scaler.ports.scaler import Scaler
from scaler.scalers._azure_bus_entity import Ask, Entity
from scaler.scalers._azure_bus_peek import amqp_host, open_peek
from scaler.scalers._azure_errors import Subject
from scaler.scalers._azure_strings import read_bus
from tests.infra.service_bus import ServiceBus
from tests.scalers.azure_rules import opened, real_now

KIND = "azure-servicebus"
SUBSCRIPTION = "audit"
SETTLED_S = 20.0


@dataclass(slots=True, kw_only=True)
class Place:
    """A queue or a subscription, and all who look at it."""

    bus: ServiceBus
    client: ServiceBusClient
    scaler: Scaler
    name: str
    subscription: str | None

    async def send(self, *messages: ServiceBusMessage) -> None:
        """Send messages."""
        client, name = self.client, self.name
        sender = client.get_topic_sender(name) if self.subscription else client.get_queue_sender(name)
        async with sender:
            await sender.send_messages(list(messages))

    def receiver(self) -> ServiceBusReceiver:
        """Give a receiver; to be entered."""
        if self.subscription:
            return self.client.get_subscription_receiver(self.name, self.subscription)
        return self.client.get_queue_receiver(self.name)

    async def check(self, active: int, *, dead: int = 0, scheduled: int = 0) -> None:
        """Have the scaler say what the SDK says, and both what we know. Counters of a real service may lag."""
        async with asyncio.timeout(SETTLED_S):
            while True:
                told = await self.bus.counts(self.name, self.subscription)
                found = (told.active_message_count, told.dead_letter_message_count)
                if found == (active, dead):
                    break
                await asyncio.sleep(0.2)
        sample = await self.scaler.poll()
        assert (sample.value, sample.active) == (told.active_message_count, active > 0)
        assert sample.lower_bound is None
        if self.subscription is None:
            assert told.scheduled_message_count == scheduled  # of a topic the topic has them


@asynccontextmanager
async def place(bus: ServiceBus, name: str, subscription: str | None) -> AsyncIterator[Place]:
    """Make the entity, open a rule on it, and delete it at the end."""
    lock_s = 5.0
    if subscription:
        await bus.create_topic(name, subscription, lock_s=lock_s)
        texts = {"topicName": name, "subscriptionName": subscription}
    else:
        await bus.create(name, lock_s=lock_s, deliveries=3)
        texts = {"queueName": name}
    try:
        async with AsyncExitStack() as stack:
            pool = await stack.enter_async_context(Sessions())
            client = await stack.enter_async_context(bus.client())
            rule = opened(KIND, pool, {**texts, **bus.metadata}, bus.connection_string)
            scaler = await stack.enter_async_context(rule)
            yield Place(bus=bus, client=client, scaler=scaler, name=name, subscription=subscription)
    finally:
        await (bus.delete(topics=[name]) if subscription else bus.delete(name))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("subscription", [None, SUBSCRIPTION], ids=["queue", "subscription"])
async def test_the_value_is_the_sdks_count_through_a_messages_life(
    service_bus: ServiceBus, queue_name: str, subscription: str | None
) -> None:
    async with place(service_bus, queue_name, subscription) as it:
        await it.check(0)
        await it.send(*[ServiceBusMessage(f"m{number}") for number in range(8)])
        await it.check(8)
        async with it.receiver() as receiver:
            taken = await receiver.receive_messages(max_message_count=5, max_wait_time=5)
            assert len(taken) == 5
            await it.check(8)  # locked ones count
            await receiver.complete_message(taken[0])
            await it.check(7)
            await receiver.abandon_message(taken[1])
            await it.check(7)
            await receiver.dead_letter_message(taken[2], reason="bad")
            await it.check(6, dead=1)
            await receiver.defer_message(taken[3])
            told = await it.bus.counts(it.name, it.subscription)
            assert (
                await it.scaler.poll()
            ).value == told.active_message_count  # deferred: as the service says
        await asyncio.sleep(5.5)  # the lock of the fifth ends without anybody's word
        told = await it.bus.counts(it.name, it.subscription)
        assert (await it.scaler.poll()).value == told.active_message_count


@pytest.mark.timeout(120)
async def test_scheduled_and_expired_messages_are_told_as_the_sdk_tells_them(
    service_bus: ServiceBus, queue_name: str
) -> None:
    async with place(service_bus, queue_name, None) as it:
        now = dt.datetime.now(dt.UTC)
        async with it.client.get_queue_sender(queue_name) as sender:
            await sender.schedule_messages(ServiceBusMessage("tomorrow"), now + dt.timedelta(days=1))
            await sender.schedule_messages(ServiceBusMessage("soon"), now + dt.timedelta(seconds=4))
        await it.check(0, scheduled=2)
        await it.check(1, scheduled=1)  # waits until it is due
        await it.send(ServiceBusMessage("brief", time_to_live=dt.timedelta(seconds=3)))
        told = await it.bus.counts(queue_name)
        assert (await it.scaler.poll()).value == told.active_message_count
        if service_bus.is_ours:  # the service removes expired messages when it pleases
            await asyncio.sleep(3)
            await it.check(1, scheduled=1)


@pytest.mark.timeout(120)
async def test_a_list_and_a_pattern_tell_what_the_sdk_tells_of_each(
    service_bus: ServiceBus, queue_name: str
) -> None:
    names = [f"{queue_name[-30:].strip('-')}-{number}" for number in range(4)]
    await service_bus.create(*names)
    try:
        for number, name in enumerate(names[1:], start=1):
            await service_bus.send(name, [f"m{n}" for n in range(number)])
        told = [(await service_bus.counts(name)).active_message_count for name in names]
        async with AsyncExitStack() as stack:
            pool = await stack.enter_async_context(Sessions())
            texts: list[dict[str, str]] = [{"queueName": name} for name in names]
            pattern = f"{names[0][:-1]}."
            texts += [{"queueName": pattern, "useRegex": "true", "operation": op} for op in ("sum", "max")]
            rules = [
                await stack.enter_async_context(
                    opened(KIND, pool, {**each, **service_bus.metadata}, service_bus.connection_string)
                )
                for each in texts
            ]
            async with asyncio.TaskGroup() as group:
                polls = [group.create_task(rule.poll()) for rule in rules]
        assert [poll.result().value for poll in polls] == [*told, 6, 3]
        assert told == [0, 1, 2, 3]
    finally:
        await service_bus.delete(*names)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("subscription", [None, SUBSCRIPTION], ids=["queue", "subscription"])
async def test_a_look_over_amqp_finds_what_the_sdk_counts_but_for_deferred_messages(
    service_bus: ServiceBus, queue_name: str, subscription: str | None
) -> None:
    namespace = read_bus(service_bus.connection_string)
    host = amqp_host(namespace, int(service_bus.metadata.get("adminPort", "5300")))
    subject = Subject(name=queue_name, missing="", rights="", timeout_s=10)
    entity = Entity(name=subscription or queue_name, topic=queue_name if subscription else None)
    async with place(service_bus, queue_name, subscription) as it:
        async with open_peek(namespace, host, None, real_now) as peek:

            async def look() -> int:
                peeked = await peek.count(entity, Ask(subject=subject), 10)
                assert peeked.is_all
                return peeked.active

            await it.send(*[ServiceBusMessage(f"m{number}") for number in range(6)])
            await it.check(6)
            assert await look() == 6
            async with it.receiver() as receiver:
                taken = await receiver.receive_messages(max_message_count=4, max_wait_time=5)
                assert await look() == 6  # locked ones are shown
                await receiver.complete_message(taken[0])
                await receiver.dead_letter_message(taken[1])
                await it.check(4, dead=1)
                assert await look() == 4
                await receiver.abandon_message(taken[2])
                assert await look() == 4
                await receiver.defer_message(taken[3])
                assert await look() == 3
