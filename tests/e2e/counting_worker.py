"""A worker that takes one message and marks its begin and end in a file that all workers share.

Run as a program by the process executor: `AMQP_URL`, `QUEUE` and `MARKS` say where.
"""

from __future__ import annotations

import asyncio
import os

import aio_pika

WORK_S = 1.0


def mark(sign: str) -> None:
    """Append a line; the system keeps short appends apart."""
    line = f"{sign} {os.environ['CONTAINER_APP_JOB_NAME']} {os.environ['CONTAINER_APP_REPLICA_NAME']}\n"
    handle = os.open(os.environ["MARKS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, line.encode())
    os.close(handle)


async def work() -> None:
    """Take one message, work on it, acknowledge."""
    async with await aio_pika.connect(os.environ["AMQP_URL"], timeout=60) as connection:
        channel = await connection.channel()
        queue = await channel.get_queue(os.environ["QUEUE"], ensure=False)
        message = await queue.get(fail=False, timeout=60)
        if message is not None and message.body.endswith(b"bad"):
            mark("-")
            os._exit(3)  # as a crash does: the broker gets the message back
        if message is not None:
            await asyncio.sleep(WORK_S)
            await message.ack()


if __name__ == "__main__":
    mark("+")
    try:
        asyncio.run(work())
    finally:
        mark("-")
