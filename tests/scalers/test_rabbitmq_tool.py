"""The `rabbitmq` scaler beside `rabbitmqctl`: the same figures through every turn of a message's life."""

from __future__ import annotations

import asyncio

import aio_pika

from tests.infra.rabbitmq import QueueCounts, RabbitMQ
from tests.scalers.rabbitmq_kit import opened

EXPIRY_MS = 300


async def figures(rabbitmq: RabbitMQ, *queues: str) -> dict[str, QueueCounts]:
    """Read the queues by AMQP and by HTTP as the scaler does, and see that both agree."""
    found = {}
    for queue in queues:
        async with opened({"queueName": queue, "host": rabbitmq.amqp_url}) as scaler:
            by_amqp = await scaler.poll()
        async with opened({"queueName": queue, "host": rabbitmq.http_url}) as scaler:
            by_http = await scaler.poll()
        assert by_http.taken is not None
        assert by_amqp.value == by_http.value - by_http.taken
        found[queue] = QueueCounts(ready=int(by_amqp.value), unacked=int(by_http.taken))
    return found


async def test_its_figures_are_those_of_rabbitmqctl_while_messages_are_taken_acknowledged_expire_and_die(
    rabbitmq: RabbitMQ, queue_name: str
) -> None:
    work, dead = queue_name, f"{queue_name}-dead"

    async def agreed(expected: dict[str, tuple[int, int]]) -> None:
        told = await asyncio.to_thread(rabbitmq.told, work, dead)
        assert {name: (counts.ready, counts.unacked) for name, counts in told.items()} == expected
        assert await figures(rabbitmq, work, dead) == told

    async with await aio_pika.connect(rabbitmq.amqp_url, timeout=10) as connection:
        channel = await connection.channel()
        await channel.declare_queue(dead, durable=True)
        arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
        queue = await channel.declare_queue(work, durable=True, arguments=arguments)

        await rabbitmq.publish(work, [f"m{number}" for number in range(7)])
        await agreed({work: (7, 0), dead: (0, 0)})

        held = [await queue.get(timeout=5) for _ in range(4)]
        await agreed({work: (3, 4), dead: (0, 0)})

        await held[0].ack()
        await held[1].ack()
        await held[2].reject(requeue=False)
        await held[3].nack(requeue=True)
        await agreed({work: (4, 0), dead: (1, 0)})

        brief = aio_pika.Message(b"brief", expiration=EXPIRY_MS / 1000)
        short = await channel.declare_queue(
            f"{queue_name}-short", durable=True, arguments={**arguments, "x-message-ttl": EXPIRY_MS}
        )
        for _ in range(3):
            await channel.default_exchange.publish(brief, routing_key=short.name, timeout=5)
        await asyncio.sleep(EXPIRY_MS / 1000 + 0.5)
        await agreed({work: (4, 0), dead: (4, 0)})
        assert await figures(rabbitmq, short.name) == {short.name: QueueCounts(ready=0, unacked=0)}
        await rabbitmq.delete(work, dead, short.name)
