"""What becomes of a received message: completed, abandoned, dead-lettered, deferred, or its lock runs out."""

import asyncio
import datetime as dt
import time

import pytest
from azure.servicebus import (
    ServiceBusMessage,
    ServiceBusReceivedMessage,
    ServiceBusReceiveMode,
    ServiceBusSubQueue,
)
from azure.servicebus.aio import AutoLockRenewer
from azure.servicebus.exceptions import MessageLockLostError

from .conftest import Bus, Counts

pytestmark = pytest.mark.asyncio(loop_scope="session")
EMPTY = Counts(active=0, dead=0, scheduled=0)


async def test_a_completed_message_is_gone_and_a_locked_one_still_counts(bus: Bus) -> None:
    await bus.fill("a", "b")
    async with bus.receiver() as receiver:
        (message,) = await receiver.receive_messages(1, 5)
        assert (str(message), message.delivery_count, message.sequence_number) == ("a", 0, 1)
        assert await bus.counts() == Counts(active=2, dead=0, scheduled=0)
        await receiver.complete_message(message)
    assert await bus.counts() == Counts(active=1, dead=0, scheduled=0)


async def test_an_abandoned_message_returns_until_its_deliveries_are_used_up(bus: Bus) -> None:
    await bus.fill("x")
    async with bus.receiver() as receiver:
        for attempt in range(3):
            (message,) = await receiver.receive_messages(1, 5)
            assert message.delivery_count == attempt
            await receiver.abandon_message(message)
    assert await bus.counts() == Counts(active=0, dead=1, scheduled=0)
    async with bus.receiver(sub_queue=ServiceBusSubQueue.DEAD_LETTER) as receiver:
        (message,) = await receiver.receive_messages(1, 5)
        assert message.dead_letter_reason == "MaxDeliveryCountExceeded"
        await receiver.complete_message(message)
    assert await bus.counts() == EMPTY


async def test_a_dead_letter_keeps_its_reason_and_description(bus: Bus) -> None:
    await bus.fill("x")
    async with bus.receiver() as receiver:
        (message,) = await receiver.receive_messages(1, 5)
        await receiver.dead_letter_message(message, reason="bad", error_description="very bad")
    assert await bus.counts() == Counts(active=0, dead=1, scheduled=0)
    async with bus.receiver(sub_queue="deadletter") as receiver:
        (message,) = await receiver.receive_messages(1, 5)
        assert (message.dead_letter_reason, message.dead_letter_error_description) == ("bad", "very bad")
        await receiver.complete_message(message)
    assert await bus.counts() == EMPTY


async def test_a_message_whose_lock_expired_is_delivered_again_and_counted(bus: Bus) -> None:
    await bus.fill("x")
    async with bus.receiver() as receiver:
        (first,) = await receiver.receive_messages(1, 5)
        started = time.monotonic()
        (second,) = await receiver.receive_messages(1, 3 * bus.short_lock_s + 5)
        waited_s = time.monotonic() - started
        assert bus.short_lock_s * 0.6 < waited_s < bus.short_lock_s + 2
        assert second.delivery_count == 1
        with pytest.raises(MessageLockLostError):
            await receiver.complete_message(first)
        await receiver.complete_message(second)
    assert await bus.counts() == EMPTY


async def test_the_broker_itself_says_that_a_lock_is_lost(bus: Bus) -> None:
    await bus.fill("x")
    async with bus.receiver() as receiver:
        (message,) = await receiver.receive_messages(1, 5)
        assert message.locked_until_utc is not None
        message._expiry = message.locked_until_utc + dt.timedelta(hours=1)  # defeat the client's own check
        await asyncio.sleep(bus.short_lock_s + 0.3)
        with pytest.raises(MessageLockLostError):
            await receiver.complete_message(message)


async def test_a_renewed_lock_lasts_longer(bus: Bus) -> None:
    await bus.fill("x")
    async with bus.receiver() as receiver:
        (message,) = await receiver.receive_messages(1, 5)
        for _ in range(3):
            await asyncio.sleep(bus.short_lock_s / 2)
            until = await receiver.renew_message_lock(message)
            assert until > dt.datetime.now(dt.UTC)
        await receiver.complete_message(message)
    assert await bus.counts() == EMPTY


async def test_the_automatic_renewer_keeps_a_lock_past_its_duration(bus: Bus) -> None:
    slow, lock_s = f"{bus.queue}-slow", 3 * bus.short_lock_s
    await bus.admin.create_queue(slow, lock_duration=dt.timedelta(seconds=lock_s))
    async with bus.client.get_queue_sender(slow) as sender:
        await sender.send_messages(ServiceBusMessage("x"))
    async with (
        AutoLockRenewer(max_lock_renewal_duration=20) as renewer,
        bus.client.get_queue_receiver(slow) as receiver,
    ):
        (message,) = await receiver.receive_messages(1, 5)
        renewer.register(receiver, message)
        await asyncio.sleep(lock_s + 0.5)
        await receiver.complete_message(message)
    found = await bus.admin.get_queue_runtime_properties(slow)
    await bus.admin.delete_queue(slow)
    assert found.total_message_count == 0


async def test_a_deferred_message_comes_back_by_its_number_only(bus: Bus) -> None:
    await bus.fill("x")
    async with bus.receiver() as receiver:
        (message,) = await receiver.receive_messages(1, 5)
        await receiver.defer_message(message)
        assert await receiver.receive_messages(1, 0.5) == []
        assert message.sequence_number is not None
        (deferred,) = await receiver.receive_deferred_messages(message.sequence_number)
        assert str(deferred) == "x"
        await receiver.complete_message(deferred)
    assert await bus.counts() == EMPTY


async def test_receive_and_delete_takes_the_message_at_once(bus: Bus) -> None:
    await bus.fill("a", "b", "c")
    mode = ServiceBusReceiveMode.RECEIVE_AND_DELETE
    async with bus.receiver(receive_mode=mode) as receiver:
        messages = await receiver.receive_messages(2, 5)
        assert [str(message) for message in messages] == ["a", "b"]
    assert await bus.counts() == Counts(active=1, dead=0, scheduled=0)


async def test_prefetched_messages_are_released_uncounted_on_close(bus: Bus) -> None:
    await bus.fill(*"abcdef")
    async with bus.client.get_queue_receiver(bus.queue, prefetch_count=5) as receiver:
        (message,) = await receiver.receive_messages(1, 5)
        await receiver.complete_message(message)
    found: list[ServiceBusReceivedMessage] = []
    async with bus.receiver() as receiver:
        while len(found) < 5:
            messages = await receiver.receive_messages(5, 5)
            assert messages
            found += messages
            for message in messages:
                await receiver.complete_message(message)
    assert sorted((str(message), message.delivery_count) for message in found) == [(x, 0) for x in "bcdef"]
    assert await bus.counts() == EMPTY


async def test_an_idle_receiver_gives_back_a_message_it_was_pushed(bus: Bus) -> None:
    async with bus.receiver() as idle:
        assert await idle.receive_messages(1, 0.5) == []  # leaves its credit at the broker
        await bus.fill("x")
        async with bus.receiver() as other:
            (message,) = await other.receive_messages(1, 12)
            assert str(message) == "x"
            await other.complete_message(message)
