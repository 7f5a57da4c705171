"""Topics copy messages to subscriptions; sessions give all messages of one key to one receiver."""

import datetime as dt

import pytest
from azure.servicebus import NEXT_AVAILABLE_SESSION, ServiceBusMessage
from azure.servicebus.exceptions import OperationTimeoutError, SessionCannotBeLockedError

from .conftest import Bus

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_each_subscription_of_a_topic_gets_every_message(bus: Bus) -> None:
    topic, lock = f"{bus.queue}-topic", dt.timedelta(seconds=5)
    await bus.admin.create_topic(topic)
    for name in ("s1", "S2"):
        await bus.admin.create_subscription(topic, name, lock_duration=lock)
    async with bus.client.get_topic_sender(topic) as sender:
        await sender.send_messages([ServiceBusMessage(str(n)) for n in range(4)])
    async with bus.client.get_subscription_receiver(topic, "s1") as receiver:
        (message,) = await receiver.receive_messages(1, 5)
        await receiver.complete_message(message)
        (message,) = await receiver.receive_messages(1, 5)
        await receiver.dead_letter_message(message, reason="no")
    found = [one async for one in bus.admin.list_subscriptions_runtime_properties(topic)]
    counts = sorted((one.name, one.active_message_count, one.dead_letter_message_count) for one in found)
    assert counts == [("S2", 4, 0), ("s1", 2, 1)]
    one = await bus.admin.get_subscription_runtime_properties(topic, "s1")
    assert (one.active_message_count, one.total_message_count) == (2, 3)
    assert (await bus.admin.get_topic_runtime_properties(topic)).subscription_count == 2
    async with bus.client.get_subscription_receiver(topic, "s1", sub_queue="deadletter") as receiver:
        (message,) = await receiver.receive_messages(1, 5)
        assert message.dead_letter_reason == "no"
        await receiver.complete_message(message)
    await bus.admin.delete_topic(topic)


async def test_a_message_scheduled_on_a_topic_waits_there(bus: Bus) -> None:
    topic = f"{bus.queue}-topic"
    await bus.admin.create_topic(topic)
    await bus.admin.create_subscription(topic, "s1")
    when = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=2)
    async with bus.client.get_topic_sender(topic) as sender:
        numbers = await sender.schedule_messages([ServiceBusMessage("a"), ServiceBusMessage("b")], when)
        await sender.cancel_scheduled_messages(numbers[0])
    waiting = await bus.admin.get_topic_runtime_properties(topic)
    assert waiting.scheduled_message_count == 1
    async with bus.client.get_subscription_receiver(topic, "s1") as receiver:
        (message,) = await receiver.receive_messages(1, 8)
        assert str(message) == "b"
        await receiver.complete_message(message)
    await bus.admin.delete_topic(topic)


async def test_a_session_receiver_gets_its_session_only(bus: Bus) -> None:
    queue = f"{bus.queue}-s"
    await bus.admin.create_queue(queue, requires_session=True)
    pairs = [("a", "A"), ("b", "B"), ("a2", "A")]
    async with bus.client.get_queue_sender(queue) as sender:
        await sender.send_messages([ServiceBusMessage(body, session_id=key) for body, key in pairs])
    async with bus.client.get_queue_receiver(queue, session_id="A") as first:
        mine = await first.receive_messages(5, 3)
        assert [str(message) for message in mine] == ["a", "a2"]
        await first.session.set_state(b"st")
        assert await first.session.get_state() == b"st"
        assert await first.session.renew_lock() > dt.datetime.now(dt.UTC)
        with pytest.raises(SessionCannotBeLockedError):
            await bus.client.get_queue_receiver(queue, session_id="A").__aenter__()
        async with bus.client.get_queue_receiver(queue, session_id=NEXT_AVAILABLE_SESSION) as second:
            others = await second.receive_messages(5, 3)
            assert (second.session.session_id, [str(message) for message in others]) == ("B", ["b"])
            await second.complete_message(others[0])
        for message in mine:
            await first.complete_message(message)
    found = await bus.admin.get_queue_runtime_properties(queue)
    assert found.active_message_count == 0
    await bus.admin.delete_queue(queue)


async def test_waiting_for_a_free_session_ends_with_a_timeout(bus: Bus) -> None:
    queue = f"{bus.queue}-s"
    await bus.admin.create_queue(queue, requires_session=True)
    receiver = bus.client.get_queue_receiver(queue, session_id=NEXT_AVAILABLE_SESSION, max_wait_time=1)
    with pytest.raises(OperationTimeoutError):
        await receiver.receive_messages(1, 1)
    await receiver.close()
    await bus.admin.delete_queue(queue)
