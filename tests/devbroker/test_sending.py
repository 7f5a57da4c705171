"""What can be sent: big bodies, batches, properties, messages with a time to live or a time to start."""

import asyncio
import datetime as dt
import os
import uuid

import pytest
from azure.servicebus import ServiceBusMessage

from .conftest import Bus, Counts

pytestmark = pytest.mark.asyncio(loop_scope="session")
EMPTY = Counts(active=0, dead=0, scheduled=0)


async def test_scheduled_messages_wait_for_their_time_and_can_be_cancelled(bus: Bus) -> None:
    when = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=2)
    async with bus.client.get_queue_sender(bus.queue) as sender:
        numbers = await sender.schedule_messages([ServiceBusMessage("a"), ServiceBusMessage("b")], when)
        await sender.cancel_scheduled_messages(numbers[1])
    await bus.send(ServiceBusMessage("c", scheduled_enqueue_time_utc=when))
    assert await bus.counts() == Counts(active=0, dead=0, scheduled=2)
    bodies: list[str] = []
    async with bus.receiver() as receiver:
        while len(bodies) < 2:
            messages = await receiver.receive_messages(2, 8)
            assert messages
            for message in messages:
                bodies.append(str(message))
                await receiver.complete_message(message)
    assert sorted(bodies) == ["a", "c"]


async def test_peeking_shows_messages_in_order_and_takes_none(bus: Bus) -> None:
    await bus.fill(*"abcde")
    async with bus.receiver() as receiver:
        assert [str(message) for message in await receiver.peek_messages(3)] == ["a", "b", "c"]
        assert [str(message) for message in await receiver.peek_messages(10)] == ["d", "e"]
        assert await receiver.peek_messages(10, sequence_number=100) == []
    assert await bus.counts() == Counts(active=5, dead=0, scheduled=0)


async def test_a_body_of_900_kb_comes_through_whole(bus: Bus) -> None:
    body = os.urandom(900_000)
    await bus.send(ServiceBusMessage(body))
    async with bus.receiver() as receiver:
        (message,) = await receiver.receive_messages(1, 15)
        assert b"".join(message.body) == body
        await receiver.complete_message(message)


async def test_every_property_comes_back_as_it_was_sent(bus: Bus) -> None:
    number = uuid.uuid4()
    sent = ServiceBusMessage(
        b"\x00\x01",
        message_id="id1",
        correlation_id="c",
        subject="s",
        content_type="ct",
        reply_to="r",
        to="t",
        application_properties={"i": 1, "f": 1.5, "b": True, "s": "str", "u": number},
        time_to_live=dt.timedelta(seconds=60),
        partition_key="p",
    )
    await bus.send(sent)
    async with bus.receiver() as receiver:
        (got,) = await receiver.receive_messages(1, 5)
        texts = (got.message_id, got.correlation_id, got.subject, got.content_type, got.reply_to, got.to)
        assert texts == ("id1", "c", "s", "ct", "r", "t")
        assert got.application_properties == {b"i": 1, b"f": 1.5, b"b": True, b"s": b"str", b"u": number}
        assert (got.time_to_live, got.partition_key) == (dt.timedelta(seconds=60), "p")
        assert b"".join(got.body) == b"\x00\x01"
        assert got.enqueued_time_utc is not None
        assert abs((got.enqueued_time_utc - dt.datetime.now(dt.UTC)).total_seconds()) < 3
        await receiver.complete_message(got)


async def test_a_message_past_its_time_to_live_is_not_counted(bus: Bus) -> None:
    await bus.send(ServiceBusMessage("x", time_to_live=dt.timedelta(seconds=1)))
    await asyncio.sleep(1.2)
    assert await bus.counts() == EMPTY


async def test_a_batch_of_a_thousand_is_counted_and_drained(bus: Bus) -> None:
    messages = [ServiceBusMessage(f"m{n}", application_properties={"n": n}) for n in range(1000)]
    await bus.send(messages)
    assert await bus.counts() == Counts(active=1000, dead=0, scheduled=0)
    bodies: set[str] = set()
    async with bus.receiver() as receiver:
        while len(bodies) < 1000:
            got = await receiver.receive_messages(250, 5)
            assert got
            await asyncio.gather(*(receiver.complete_message(message) for message in got))
            bodies |= {str(message) for message in got}
    assert bodies == {f"m{n}" for n in range(1000)}
    assert await bus.counts() == EMPTY


async def test_iterating_a_receiver_ends_after_its_wait(bus: Bus) -> None:
    await bus.fill(*"abc")
    bodies: list[str] = []
    async with bus.receiver(max_wait_time=0.5) as receiver:
        async for message in receiver:
            bodies.append(str(message))
            await receiver.complete_message(message)
    assert bodies == ["a", "b", "c"]


async def test_the_synchronous_client_sends_receives_and_settles(bus: Bus) -> None:
    def run() -> int:
        from azure.servicebus import ServiceBusClient

        with ServiceBusClient.from_connection_string(bus.connection_string) as client:
            with client.get_queue_sender(bus.queue) as sender:
                sender.send_messages([ServiceBusMessage("a"), ServiceBusMessage("b")])
            with client.get_queue_receiver(bus.queue) as receiver:
                receiver.complete_message(receiver.receive_messages(1, 5)[0])
                receiver.abandon_message(receiver.receive_messages(1, 5)[0])
                again = receiver.receive_messages(1, 5)[0]
                receiver.dead_letter_message(again, "r", "d")
                return again.delivery_count or 0

    assert await asyncio.to_thread(run) == 1
    assert await bus.counts() == Counts(active=0, dead=1, scheduled=0)
