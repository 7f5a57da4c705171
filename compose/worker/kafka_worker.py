"""Takes one message from the partition that it was handed: SCALER_KAFKA_TOPIC, _PARTITION, _GROUP say which.

Further environment: KAFKA_BOOTSTRAP, RESULT_QUEUE, WAIT.
"""

import asyncio
import os
import sys

import task
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition


async def main() -> int:
    """Handle one message and commit behind it; one that cannot be done would block its partition, and is skipped."""
    env = os.environ
    place = TopicPartition(env["SCALER_KAFKA_TOPIC"], int(env["SCALER_KAFKA_PARTITION"]))
    consumer = AIOKafkaConsumer(
        bootstrap_servers=env["KAFKA_BOOTSTRAP"],
        group_id=env["SCALER_KAFKA_GROUP"],
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    consumer.assign([place])
    async with consumer:
        record = await taken(consumer)
        if record is None:
            await tell(task.report(None))
            return 0
        work = task.read(record.value.decode())
        await asyncio.sleep(work.think_s)
        await tell(task.report(work, poison=work.is_poison))
        await consumer.commit({place: record.offset + 1})
    return task.complain(work) if work.is_poison else 0


async def taken(consumer: AIOKafkaConsumer) -> ConsumerRecord | None:
    """Take the next record; None if none came in time."""
    try:
        async with asyncio.timeout(task.WAIT_S):
            return await consumer.getone()
    except TimeoutError:
        return None


async def tell(line: str) -> None:
    """Send a report, acknowledged by the broker."""
    target = os.environ.get("RESULT_QUEUE")
    if target:
        async with AIOKafkaProducer(bootstrap_servers=os.environ["KAFKA_BOOTSTRAP"], acks="all") as producer:
            await producer.send_and_wait(target, line.encode())


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
