"""Makes the queues `jobs` and `results` on RabbitMQ and Azure storage, and the topics of these names on Kafka.

What is there already stays as it is. Service Bus has them from its own configuration.
"""

import asyncio
import sys
from contextlib import suppress
from pathlib import Path

import aio_pika
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError
from azure.core.exceptions import ResourceExistsError
from azure.storage.queue import QueueClient

NAMES = ("jobs", "results")
PARTITIONS = {"jobs": 8, "results": 1}


def secret(name: str) -> str:
    """Read a secret as compose mounts it."""
    return Path("/run/secrets", name).read_text(encoding="utf-8").strip()


async def rabbitmq() -> None:
    """Declare durable queues."""
    async with await aio_pika.connect(secret("rabbitmq-url"), timeout=30) as connection:
        channel = await connection.channel()
        for name in NAMES:
            await channel.declare_queue(name, durable=True)


def azure() -> None:
    """Create storage queues."""
    for name in NAMES:
        with (
            QueueClient.from_connection_string(secret("storage-connection"), name) as queue,
            suppress(ResourceExistsError),
        ):
            queue.create_queue()


async def kafka(bootstrap: str) -> None:
    """Create topics."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        for name, partitions in PARTITIONS.items():
            with suppress(TopicAlreadyExistsError):
                await admin.create_topics([NewTopic(name, partitions, replication_factor=1)])
    finally:
        await admin.close()


async def main(bootstrap: str) -> int:
    """Make all of them."""
    await rabbitmq()
    azure()
    await kafka(bootstrap)
    print("queues and topics are there", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "kafka:19092")))
