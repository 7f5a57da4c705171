"""Kafka as a source of floods: a topic of several partitions, in both ways that workers can take from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

from aiokafka import AIOKafkaConsumer, TopicPartition  # type: ignore[import-untyped]

from tests.infra.kafka import Kafka
from tests.infra.results import Drain

PARTITIONS = 10


@dataclass(frozen=True, slots=True)
class KafkaTopic:
    """A topic of ten partitions, counted by the lag of the group `<topic>-group`.

    `hands_out`: each execution is handed its partition. Else workers are plain members of the group, which must be
    given to them as GROUP.
    """

    broker: Kafka
    hands_out: bool
    _read: dict[str, int] = field(default_factory=dict)

    worker: ClassVar[str] = "kafka_worker.py"
    variable: ClassVar[str] = "KAFKA_BOOTSTRAP"
    rule_type: ClassVar[str] = "kafka"

    @property
    def secret(self) -> str:
        """What the worker connects with."""
        return self.broker.bootstrap

    @property
    def auth(self) -> Mapping[str, str]:
        """What the scaler connects with: nothing that is secret."""
        return {}

    def metadata(self, queue: str) -> dict[str, str]:
        """Give the rule's metadata."""
        return {
            "bootstrapServers": self.broker.bootstrap,
            "consumerGroup": f"{queue}-group",
            "topic": queue,
            "lagThreshold": "1",
            "offsetResetPolicy": "earliest",
            "assignPartitions": str(self.hands_out).lower(),
        }

    async def create(self, *queues: str) -> None:
        """Create the topics."""
        for queue in queues:
            await self.broker.create(queue, partitions=PARTITIONS)

    async def publish(self, queue: str, bodies: Iterable[str]) -> None:
        """Send messages, to all partitions in turn."""
        texts = list(bodies)
        for number in range(PARTITIONS):
            await self.broker.publish(queue, texts[number::PARTITIONS], partition=number)

    async def left(self, queue: str) -> int:
        """Count messages that are not committed, those in a worker's hands included."""
        places = [TopicPartition(queue, number) for number in range(PARTITIONS)]
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.broker.bootstrap, group_id=f"{queue}-group", enable_auto_commit=False
        )
        consumer.assign(places)
        async with consumer:
            ends = await consumer.end_offsets(places)
            return sum([ends[place] - (await consumer.committed(place) or 0) for place in places])

    def drain(self, queue: str) -> Drain:
        """Give the call that takes all reports."""
        return partial(self._drain, queue)

    async def _drain(self, queue: str) -> list[str]:
        """Read on from where the last drain ended."""
        lines: list[str] = []
        places = [TopicPartition(queue, number) for number in range(PARTITIONS)]
        consumer = AIOKafkaConsumer(bootstrap_servers=self.broker.bootstrap, group_id=None)
        consumer.assign(places)
        async with consumer:
            ends = await consumer.end_offsets(places)
            for place in places:
                consumer.seek(place, self._read.get(str(place), 0))
            while any(self._read.get(str(place), 0) < ends[place] for place in places):
                for place, records in (await consumer.getmany(timeout_ms=500)).items():
                    lines += [record.value.decode() for record in records]
                    self._read[str(place)] = records[-1].offset + 1
        return lines
