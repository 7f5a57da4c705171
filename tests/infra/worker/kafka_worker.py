"""Takes one message from a Kafka topic, works, reports it to a result topic, commits, and exits.

Stands for the workload of a job, in both ways that Kafka has. With SCALER_KAFKA_PARTITION it assigns the partition
that was handed to it and joins no group; without, it is a plain member of the group GROUP. The report is
acknowledged by the broker before the commit, so a worker that dies in between leaves its message in the topic.

Environment: KAFKA_BOOTSTRAP, QUEUE, GROUP, RESULT_QUEUE (not written if unset), SCALER_KAFKA_TOPIC,
SCALER_KAFKA_PARTITION and SCALER_KAFKA_GROUP, START_DELAY, WORK and WAIT in seconds,
CONTAINER_APP_JOB_EXECUTION_NAME.
"""

import asyncio
import json
import os
import sys
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError


async def main() -> int:
    """Handle one message, or report that none came within WAIT seconds; 1 if the commit was refused."""
    env = os.environ
    await asyncio.sleep(float(env.get("START_DELAY", "0")))
    began = time.monotonic()
    consumer, place = made(env["KAFKA_BOOTSTRAP"])
    async with consumer:
        if place is None:
            consumer.subscribe([env["QUEUE"]])
        message = await taken(consumer, float(env.get("WAIT", "5")))
        waited_s = round(time.monotonic() - began, 3)
        if message is None:
            await report({"empty": True, "waited_s": waited_s})
            return 0
        await asyncio.sleep(float(env.get("WORK", "0")))
        facts = {"body": message.value.decode(), "partition": message.partition, "waited_s": waited_s}
        await report(facts)
        done = {TopicPartition(message.topic, message.partition): message.offset + 1}
        try:
            await consumer.commit(done)
        except (CommitFailedError, IllegalStateError) as exc:
            print(f"the partition was given to another consumer meanwhile: {exc!r}", file=sys.stderr)
            return 1
    return 0


def made(bootstrap: str) -> tuple[AIOKafkaConsumer, TopicPartition | None]:
    """Make a consumer that begins at the group's commit, or else at the oldest message; and its partition."""
    env = os.environ
    number = env.get("SCALER_KAFKA_PARTITION")
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=env["GROUP"] if number is None else env["SCALER_KAFKA_GROUP"],
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    if number is None:
        return consumer, None
    place = TopicPartition(env["SCALER_KAFKA_TOPIC"], int(number))
    consumer.assign([place])
    return consumer, place


async def taken(consumer: AIOKafkaConsumer, wait_s: float) -> ConsumerRecord | None:
    """Take the next message, or None if there is none in time."""
    try:
        async with asyncio.timeout(wait_s):
            return await consumer.getone()
    except TimeoutError:
        return None


async def report(facts: dict[str, object]) -> None:
    """Write one line to stdout and, if asked, one acknowledged message to the result topic."""
    facts["execution"] = os.environ.get("CONTAINER_APP_JOB_EXECUTION_NAME", "")
    line = json.dumps(facts)
    target = os.environ.get("RESULT_QUEUE")
    if target:
        async with AIOKafkaProducer(bootstrap_servers=os.environ["KAFKA_BOOTSTRAP"], acks="all") as producer:
            await producer.send_and_wait(target, line.encode())
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
