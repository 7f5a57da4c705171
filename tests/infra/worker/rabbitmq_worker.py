"""Takes one message from a RabbitMQ queue, works, reports it to a result queue, and exits.

Stands for the workload of a job. The report is confirmed by the broker before the message is acknowledged,
so a worker that dies in between leaves its message in the queue.

Environment: AMQP_URL, QUEUE, RESULT_QUEUE (not written if unset), WORKER_TAKE (`consume`: push with prefetch 1;
`get`: one basic.get; `ack-first`: acknowledged before the work), START_DELAY, WORK and WAIT in seconds,
CONTAINER_APP_JOB_EXECUTION_NAME.
"""

import asyncio
import json
import os
import sys

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

TAKES = ("consume", "get", "ack-first")


async def main() -> int:
    """Handle one message, or report an empty queue after WAIT seconds; both end with exit code 0."""
    env = os.environ
    take = env.get("WORKER_TAKE", "consume")
    if take not in TAKES:
        print(f"WORKER_TAKE={take}: must be one of {', '.join(TAKES)}", file=sys.stderr)
        return 2
    await asyncio.sleep(float(env.get("START_DELAY", "0")))
    async with await aio_pika.connect(env["AMQP_URL"], timeout=10) as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=1)
        queue = await channel.get_queue(env["QUEUE"], ensure=False)
        wait_s = float(env.get("WAIT", "5"))
        message = await (pulled(queue, wait_s) if take == "get" else pushed(queue, wait_s))
        if message is None:
            await report(channel, {"empty": True})
            return 0
        if take == "ack-first":
            await message.ack()
        await asyncio.sleep(float(env.get("WORK", "0")))
        await report(channel, {"body": message.body.decode()})
        if take != "ack-first":
            await message.ack()
    return 0


async def pushed(queue: AbstractQueue, wait_s: float) -> AbstractIncomingMessage | None:
    """Consume one message; the consumer is cancelled before the acknowledgement, or a second would come."""
    first: asyncio.Future[AbstractIncomingMessage] = asyncio.get_running_loop().create_future()

    async def on_message(message: AbstractIncomingMessage) -> None:
        if not first.done():
            first.set_result(message)

    tag = await queue.consume(on_message)
    try:
        async with asyncio.timeout(wait_s):
            return await first
    except TimeoutError:
        return None
    finally:
        await queue.cancel(tag)


async def pulled(queue: AbstractQueue, wait_s: float) -> AbstractIncomingMessage | None:
    """Get one message, asking five times a second."""
    deadline = asyncio.get_running_loop().time() + wait_s
    while True:
        message = await queue.get(fail=False)
        if message is not None or asyncio.get_running_loop().time() >= deadline:
            return message
        await asyncio.sleep(0.2)


async def report(channel: AbstractChannel, facts: dict[str, object]) -> None:
    """Write one line to stdout and, if asked, one persistent and confirmed message to the result queue."""
    facts["execution"] = os.environ.get("CONTAINER_APP_JOB_EXECUTION_NAME", "")
    line = json.dumps(facts)
    target = os.environ.get("RESULT_QUEUE")
    if target:
        body = aio_pika.Message(line.encode(), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(body, routing_key=target, timeout=10)
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
