"""A topic in memory whose partitions are handed out, and a worker that takes one message of the one it was handed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

from scaler.errors import PollError
from scaler.model.replica import ReplicaSpec
from scaler.model.sample import Sample
from scaler.model.share import Share
from scaler.ports.scaler import Scaler, ScalerContext, ScalerType
from scaler.wire.metadata import TriggerMetadata

VARIABLE = "FAKE_PARTITION"


class FakeTopic:
    """Messages wait in order in each partition, and are done when the worker commits.

    Attributes:
        consumed: messages by how often a worker committed them.
        empty: how many workers found no message.
        strangers: how many workers were handed no partition.
        most_at_once: the most workers that one partition ever had at a time (must never exceed 1).
        failures: how many more workers fail after their work, before they commit.
        fault: what polls raise, if not None.
        poll_delay_s: how long a poll takes; the figures are those at its start.
    """

    def __init__(self, partitions: int) -> None:
        self.published = [0] * partitions
        self.committed = [0] * partitions
        self.consumed: dict[str, int] = {}
        self.empty = self.strangers = 0
        self.most_at_once = 0
        self.failures = 0
        self.fault: PollError | None = None
        self.poll_delay_s = 0.0
        self._busy = [0] * partitions

    def publish(self, count: int, *, partition: int | None = None) -> None:
        """Add messages to one partition, or to all in turn."""
        for number in range(count):
            self.published[number % len(self.published) if partition is None else partition] += 1

    def worker(self, *, start_s: float = 0.0, work_s: float = 1.0) -> TopicWorker:
        """Make a behaviour for `MockExecutor`."""
        return TopicWorker(self, start_s=start_s, work_s=work_s)

    async def work(self, partition: int, work_s: float) -> int:
        """Take the next message of a partition, work, commit; give the exit code."""
        self._busy[partition] += 1
        self.most_at_once = max(self.most_at_once, self._busy[partition])
        try:
            offset = self.committed[partition]
            if offset >= self.published[partition]:
                self.empty += 1
                return 0
            await asyncio.sleep(work_s)
            if self.failures > 0:
                self.failures -= 1
                return 1
            message = f"{partition}/{offset}"
            self.consumed[message] = self.consumed.get(message, 0) + 1
            self.committed[partition] = offset + 1
            return 0
        finally:
            self._busy[partition] -= 1


class TopicWorker:
    """Works on one message of the partition that it was handed."""

    def __init__(self, topic: FakeTopic, *, start_s: float, work_s: float) -> None:
        self._topic, self._start_s, self._work_s = topic, start_s, work_s

    async def __call__(self, spec: ReplicaSpec) -> int:
        """Run as a replica."""
        await asyncio.sleep(self._start_s)
        if VARIABLE not in spec.env:
            self._topic.strangers += 1
            await asyncio.sleep(self._work_s)
            return 0
        return await self._topic.work(int(spec.env[VARIABLE].reveal()), self._work_s)


class TopicMetadata(TriggerMetadata):
    """Parameters of the fake scaler."""

    topic: str


class TopicScaler:
    """Reads a `FakeTopic`."""

    topics: ClassVar[dict[str, FakeTopic]] = {}

    def __init__(self, topic: FakeTopic, name: str) -> None:
        self._topic, self._name = topic, name

    async def poll(self) -> Sample:
        """Read the lag of each partition as it is at the start of the poll."""
        topic = self._topic
        lags = [end - done for end, done in zip(topic.published, topic.committed, strict=True)]
        await asyncio.sleep(topic.poll_delay_s)
        if topic.fault is not None:
            raise topic.fault
        shares = tuple(
            Share(key=f"{self._name}/{number}", value=float(lag), env=((VARIABLE, str(number)),))
            for number, lag in enumerate(lags)
        )
        return Sample(value=float(sum(lags)), active=sum(lags) > 0, shares=shares)


@asynccontextmanager
async def _open(metadata: TopicMetadata, _context: ScalerContext) -> AsyncIterator[Scaler]:
    yield TopicScaler(TopicScaler.topics[metadata.topic], metadata.topic)


SCALER = ScalerType(
    metadata=TopicMetadata,
    target=lambda _meta: 1.0,
    open=_open,
    source=lambda meta: f"fake://{meta.topic}",
    summary="A topic in memory, for tests.",
    shares=lambda _meta: "topic",
)
