"""Feed `kafka`: messages spread evenly over a topic's partitions; reports from the end of another topic on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import cycle
from typing import Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition  # type: ignore[import-untyped]
from aiokafka.errors import KafkaError  # type: ignore[import-untyped]

from scaler.errors import PollError, map_errors
from scaler.ports.feed import Feed, FeedPlace, FeedType

_CALL_S: Final = 60.0
_AT_ONCE: Final = 300
_WAIT_MS: Final = 200
_LOST: Final = (KafkaError, OSError, TimeoutError, ValueError)


class _KafkaFeed:
    def __init__(
        self, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str, partitions: set[int]
    ) -> None:
        self._producer = producer
        self._consumer = consumer
        self._topic = topic
        self._next = cycle(sorted(partitions))

    async def send(self, bodies: Sequence[str]) -> None:
        """Produce, acknowledged by all replicas."""
        with map_errors(transient=_LOST, where=f"kafka topic '{self._topic}'"):
            async with asyncio.timeout(_CALL_S):
                sent = [
                    await self._producer.send(self._topic, body.encode(), partition=next(self._next))
                    for body in bodies
                ]
                for one in sent:
                    await one

    async def reports(self) -> list[str]:
        """Read what is there, or comes within a fifth of a second."""
        with map_errors(transient=_LOST, where="kafka results"):
            async with asyncio.timeout(_CALL_S):
                found = await self._consumer.getmany(timeout_ms=_WAIT_MS, max_records=_AT_ONCE)
        return [record.value.decode(errors="replace") for records in found.values() for record in records]


@asynccontextmanager
async def open_feed(place: FeedPlace) -> AsyncIterator[Feed]:
    """Connect. Both topics must be there.

    Raises:
        PollError: they are not, or the brokers do not answer.
    """
    servers = place.connection.reveal()
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all", linger_ms=5)
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False)
    try:
        with map_errors(transient=_LOST, where="kafka"):
            async with asyncio.timeout(_CALL_S):
                await producer.start()
                await consumer.start()
                known = await consumer.topics()
                partitions = await _partitions(producer, place.queue, known)
                results = await _partitions(producer, place.results, known)
                places = [TopicPartition(place.results, number) for number in results]
                consumer.assign(places)
                await consumer.seek_to_end(*places)
                for one in places:
                    await consumer.position(one)  # the end of now, not of the first read
        yield _KafkaFeed(producer, consumer, place.queue, partitions)
    finally:
        async with asyncio.timeout(_CALL_S):
            await producer.stop()
            await consumer.stop()


async def _partitions(producer: AIOKafkaProducer, topic: str, known: set[str]) -> set[int]:
    if topic not in known:  # asking for a topic by name might create it
        text = f"kafka: there is no topic '{topic}'; create it"
        raise PollError(text, transient=False, reason="EntityNotFound")
    return set(await producer.partitions_for(topic))


FEED = FeedType(variable="KAFKA_BOOTSTRAP", open=open_feed)
