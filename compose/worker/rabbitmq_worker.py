"""Takes one message from a RabbitMQ queue. Environment: AMQP_URL, QUEUE, RESULT_QUEUE, WAIT."""

import asyncio
import os
import sys

import aio_pika
import task
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue


async def main() -> int:
    """Handle one message; what is not acknowledged goes back to the queue when the connection ends."""
    async with await aio_pika.connect(os.environ["AMQP_URL"], timeout=30) as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=1)
        queue = await channel.get_queue(os.environ["QUEUE"], ensure=False)
        message = await taken(queue)
        if message is None:
            await tell(channel, task.report(None))
            return 0
        work = task.read(message.body.decode())
        await asyncio.sleep(work.think_s)
        await tell(channel, task.report(work, poison=work.is_poison))
        if work.is_poison:
            return task.complain(work)
        await message.ack()
    return 0


async def taken(queue: AbstractQueue) -> AbstractIncomingMessage | None:
    """Get one message, asking five times a second; None if none came in time."""
    deadline = asyncio.get_running_loop().time() + task.WAIT_S
    while True:
        message = await queue.get(fail=False)
        if message is not None or asyncio.get_running_loop().time() >= deadline:
            return message
        await asyncio.sleep(0.2)


async def tell(channel: AbstractChannel, line: str) -> None:
    """Send a report, confirmed by the broker."""
    target = os.environ.get("RESULT_QUEUE")
    if target:
        body = aio_pika.Message(line.encode(), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(body, routing_key=target, timeout=30)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
