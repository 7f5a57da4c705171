"""Moving a poison message out of a real queue: the one that was delivered so often, whole, and no other one."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aio_pika
import pytest
from azure.servicebus import ServiceBusSubQueue
from azure.storage.queue.aio import QueueServiceClient

from scaler.engine.sessions import Sessions
from scaler.errors import PollError
from scaler.plugins import SCALERS
from scaler.ports.scaler import MoveOrder, Suspect
from scaler.wire.metadata import TriggerMetadata
from tests.infra.azurite import Azurite
from tests.infra.rabbitmq import RabbitMQ
from tests.infra.service_bus import ServiceBus
from tests.scalers.azure_rules import context, read


@dataclass(slots=True)
class Told:
    """What was said before a message was moved."""

    suspects: list[Suspect] = field(default_factory=list)
    looks: Counter[str] = field(default_factory=Counter)

    async def __call__(self, suspect: Suspect) -> None:
        """Keep it."""
        self.suspects.append(suspect)

    def looked(self, key: str) -> int:
        """Tell how often a message was looked at before."""
        return self.looks[key]

    async def hold(self, key: str) -> None:
        """Note that one is looked at."""
        self.looks[key] += 1


async def move(
    kind: str,
    metadata: Mapping[str, str],
    auth: Mapping[str, str],
    *,
    least: int,
    to: str | None = None,
    told: Told | None = None,
) -> tuple[Suspect | None, list[Suspect]]:
    """Have a message moved that was delivered at least so often."""
    parameters, faults = read(kind, metadata, auth)
    assert faults == ()
    mover, told = SCALERS.load(kind).mover, told or Told()
    assert mover is not None
    assert mover.refusal(parameters, to) is None
    async with Sessions() as sessions:
        order = MoveOrder(least=least, to=to, before=told, looks=told.looked, hold=told.hold)
        moved = await mover.move(parameters, context(sessions), order)
    return moved, told.suspects


@pytest.fixture
def name() -> str:
    """Give a queue of its own to each test."""
    return f"poison{uuid.uuid4().hex[:10]}"


# --- azure-queue ----------------------------------------------------------------------------------------


@pytest.fixture
async def storage(azurite: Azurite) -> AsyncIterator[QueueServiceClient]:
    """Give a client of the service."""
    async with QueueServiceClient.from_connection_string(azurite.connection_string) as client:
        yield client


async def _take_and_fail(client: QueueServiceClient, queue: str, times: int) -> None:
    target = client.get_queue_client(queue)
    for _ in range(times):
        held: Any = await target.receive_message(visibility_timeout=30)
        await target.update_message(held.id, held.pop_receipt, visibility_timeout=0)


async def test_azure_queue_moves_it_to_the_poison_queue_which_is_made(
    azurite: Azurite, storage: QueueServiceClient, name: str
) -> None:
    await azurite.create(name)
    await azurite.send(name, ["<bad> & \u00fcber"])
    await _take_and_fail(storage, name, 3)
    rule = {"queueName": name}, {"connection": azurite.connection_string}

    assert await move("azure-queue", *rule, least=4) == (None, [])
    moved, told = await move("azure-queue", *rule, least=3)

    assert moved is not None
    assert told == [moved]
    assert (moved.deliveries, moved.to) == (3, f"queue '{name}-poison'")
    assert await azurite.count(name) == 0
    there: Any = await storage.get_queue_client(f"{name}-poison").receive_message()
    assert there.content == "<bad> & \u00fcber"


async def test_azure_queue_leaves_healthy_messages_and_several_suspects_alone(
    azurite: Azurite, storage: QueueServiceClient, name: str
) -> None:
    await azurite.create(name)
    rule = {"queueName": name}, {"connection": azurite.connection_string}
    await azurite.send(name, ["one"])
    assert await move("azure-queue", *rule, least=2) == (None, [])
    await azurite.send(name, ["two"])
    target = storage.get_queue_client(name)
    for _ in range(3):
        held = [item async for item in target.receive_messages(visibility_timeout=30, max_messages=2)]
        for item in held:
            await target.update_message(item.id, item.pop_receipt, visibility_timeout=0)
    assert await move("azure-queue", *rule, least=3) == (None, [])
    assert [item.dequeue_count for item in await target.peek_messages(max_messages=5)] == [3, 3]


# --- azure-servicebus -----------------------------------------------------------------------------------


async def test_service_bus_moves_it_to_the_dead_letter_queue(service_bus: ServiceBus, name: str) -> None:
    await service_bus.create(name)
    await service_bus.send(name, ["bad", "good"])
    async with service_bus.client() as client, client.get_queue_receiver(name) as receiver:
        for _ in range(3):
            (held,) = await receiver.receive_messages(max_message_count=1, max_wait_time=10)
            assert str(held) == "bad"
            await receiver.abandon_message(held)
    rule = {"queueName": name, **service_bus.metadata}, {"connection": service_bus.connection_string}

    assert await move("azure-servicebus", *rule, least=4) == (None, [])
    moved, told = await move("azure-servicebus", *rule, least=3)

    assert moved is not None
    assert told == [moved]
    assert (moved.deliveries, moved.to) == (3, "the dead-letter queue")
    async with service_bus.client() as client:
        dead = client.get_queue_receiver(name, sub_queue=ServiceBusSubQueue.DEAD_LETTER)
        async with dead, client.get_queue_receiver(name) as left:
            (there,) = await dead.receive_messages(max_message_count=1, max_wait_time=10)
            assert (str(there), there.dead_letter_reason) == ("bad", "PoisonMessage")
            (good,) = await left.receive_messages(max_message_count=1, max_wait_time=10)
            assert (str(good), good.delivery_count) == ("good", 0)


# --- rabbitmq -------------------------------------------------------------------------------------------


async def _on_channel(broker: RabbitMQ, act: Callable[[Any], Awaitable[Any]]) -> Any:
    async with await aio_pika.connect(broker.amqp_url, timeout=10) as connection:
        return await act(await connection.channel())


async def _fail(broker: RabbitMQ, queue: str, times: int) -> None:
    """Take the first message and go away with it, as a worker that crashes does."""
    for _ in range(times):
        await _on_channel(broker, lambda channel: _get(channel, queue))


async def _get(channel: Any, queue: str) -> Any:
    return await (await channel.get_queue(queue, ensure=False)).get(timeout=10)


async def _declare(broker: RabbitMQ, *queues: str, kind: str) -> None:
    for queue in queues:
        arguments = {"x-queue-type": kind, **({"x-delivery-limit": 100} if kind == "quorum" else {})}
        await _on_channel(
            broker, lambda channel, q=queue, a=arguments: channel.declare_queue(q, durable=True, arguments=a)
        )


def _amqp(broker: RabbitMQ, name: str) -> tuple[dict[str, str], dict[str, str]]:
    return {"queueName": name, "mode": "QueueLength", "value": "1"}, {"host": broker.amqp_url}


async def test_rabbitmq_moves_it_to_the_named_queue_by_the_quorum_queues_count(
    rabbitmq: RabbitMQ, name: str
) -> None:
    to = f"{name}-dead"
    await _declare(rabbitmq, name, to, kind="quorum")
    await rabbitmq.publish(name, ["bad"])
    await _fail(rabbitmq, name, 3)
    rule = _amqp(rabbitmq, name)

    moved, told = await move("rabbitmq", *rule, least=3, to=to)

    assert moved is not None
    assert told == [moved]
    assert moved.deliveries >= 3
    there = await _on_channel(rabbitmq, lambda channel: _get(channel, to))
    assert (there.body, there.headers["x-scaler-moved-from"]) == (b"bad", name)
    assert (await rabbitmq.counts(name)).ready == 0


async def test_rabbitmq_puts_a_healthy_message_back(rabbitmq: RabbitMQ, name: str) -> None:
    await _declare(rabbitmq, name, f"{name}-dead", kind="quorum")
    await rabbitmq.publish(name, ["good"])
    assert await move("rabbitmq", *_amqp(rabbitmq, name), least=3, to=f"{name}-dead") == (None, [])
    again = await _on_channel(rabbitmq, lambda channel: _get(channel, name))
    assert again.body == b"good"


async def test_rabbitmq_counts_our_own_looks_as_deliveries_and_we_do_not(
    rabbitmq: RabbitMQ, name: str
) -> None:
    await _declare(rabbitmq, name, f"{name}-dead", kind="quorum")
    await rabbitmq.publish(name, ["good"])
    told = Told()
    for _ in range(5):
        rule = _amqp(rabbitmq, name)
        assert await move("rabbitmq", *rule, least=3, to=f"{name}-dead", told=told) == (None, [])
    await _fail(rabbitmq, name, 3)
    moved, _ = await move("rabbitmq", *_amqp(rabbitmq, name), least=3, to=f"{name}-dead", told=told)
    assert moved is not None
    assert moved.deliveries == 3


async def test_rabbitmq_without_the_other_queue_keeps_the_message(rabbitmq: RabbitMQ, name: str) -> None:
    await _declare(rabbitmq, name, kind="quorum")
    await rabbitmq.publish(name, ["bad"])
    await _fail(rabbitmq, name, 3)
    with pytest.raises(PollError, match=f"no queue '{name}-dead' to move messages to"):
        await move("rabbitmq", *_amqp(rabbitmq, name), least=3, to=f"{name}-dead")
    again = await _on_channel(rabbitmq, lambda channel: _get(channel, name))
    assert again.body == b"bad"


async def test_rabbitmq_says_that_a_classic_queue_counts_no_deliveries(rabbitmq: RabbitMQ, name: str) -> None:
    await _declare(rabbitmq, name, f"{name}-dead", kind="classic")
    await rabbitmq.publish(name, ["bad"])
    await _fail(rabbitmq, name, 3)
    with pytest.raises(PollError, match="make it a quorum queue"):
        await move("rabbitmq", *_amqp(rabbitmq, name), least=3, to=f"{name}-dead")
    assert (await _on_channel(rabbitmq, lambda channel: _get(channel, name))).body == b"bad"


# --- refusals -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "metadata", "auth", "to", "said"),
    [
        (
            "azure-queue",
            {"queueName": "q"},
            {"connection": "UseDevelopmentStorage=true"},
            "q",
            "queue itself",
        ),
        (
            "azure-servicebus",
            {"queueName": "q"},
            {"connection": "Endpoint=sb://x.example/;SharedAccessKeyName=a;SharedAccessKey=b"},
            "other",
            "remove 'to'",
        ),
        (
            "azure-servicebus",
            {"queueName": "q.*", "useRegex": "true"},
            {"connection": "Endpoint=sb://x.example/;SharedAccessKeyName=a;SharedAccessKey=b"},
            None,
            "useRegex",
        ),
        ("rabbitmq", {"queueName": "q"}, {"host": "amqp://h/"}, None, "to is missing"),
        ("rabbitmq", {"queueName": "q"}, {"host": "amqp://h/"}, "q", "queue itself"),
        ("rabbitmq", {"queueName": "q"}, {"host": "http://h/"}, "dead", "over AMQP"),
    ],
)
def test_what_cannot_be_moved_is_refused_with_the_reason(
    kind: str, metadata: dict[str, str], auth: dict[str, str], to: str | None, said: str
) -> None:
    parameters, faults = read(kind, metadata, auth)
    assert faults == ()
    assert isinstance(parameters, TriggerMetadata)
    mover = SCALERS.load(kind).mover
    assert mover is not None
    assert said in (mover.refusal(parameters, to) or "")


@pytest.mark.parametrize("kind", ["kafka", "github-runner", "azure-pipelines", "external"])
def test_sources_that_count_no_deliveries_have_no_mover(kind: str) -> None:
    assert SCALERS.load(kind).mover is None
