"""A queue in memory with both kinds of count, the scaler that reads it, and a worker that consumes one message."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

from scaler.errors import PollError
from scaler.model.replica import ReplicaSpec
from scaler.model.sample import Sample
from scaler.ports.scaler import MoveOrder, MoverType, Scaler, ScalerContext, ScalerType, Suspect
from scaler.wire.metadata import KedaInt, TriggerMetadata


class FakeQueue:
    """Messages wait, are taken by one worker each, and are done when it acknowledges.

    Attributes:
        consumed: messages by how often they were acknowledged.
        empty: how many workers found no message.
        deliveries: how often each message was handed to a worker.
        looked: how often each message was only looked at, which counts as a delivery too.
        dead: messages that were moved out of the way.
        fault: what polls raise, if not None.
        poll_delay_s: how long a poll takes; the figures are those at its start.
    """

    def __init__(self) -> None:
        self.waiting: list[str] = []
        self.taken: dict[str, str] = {}
        self.consumed: dict[str, int] = {}
        self.deliveries: Counter[str] = Counter()
        self.looked: Counter[str] = Counter()
        self.dead: list[str] = []
        self.empty = 0
        self.polls = 0
        self.fault: PollError | None = None
        self.poll_delay_s = 0.0
        self._arrived = asyncio.Condition()

    def publish(self, count: int) -> None:
        """Add messages."""
        start = len(self.waiting) + len(self.taken) + len(self.consumed) + len(self.dead)
        self.waiting.extend(f"m{start + i}" for i in range(count))

    @property
    def depth(self) -> int:
        """Messages not acknowledged yet."""
        return len(self.waiting) + len(self.taken)

    def worker(self, *, start_s: float = 0.0, work_s: float = 1.0, wait_s: float = 1.0) -> Worker:
        """Make a behaviour for `MockExecutor`."""
        return Worker(self, start_s=start_s, work_s=work_s, wait_s=wait_s)


class Worker:
    """Takes one message, works, acknowledges. Stopped in between, it gives the message back."""

    def __init__(self, queue: FakeQueue, *, start_s: float, work_s: float, wait_s: float) -> None:
        self._queue, self._start_s, self._work_s, self._wait_s = queue, start_s, work_s, wait_s

    async def __call__(self, spec: ReplicaSpec) -> int:
        """Run as a replica; 0 on success, also when no message came."""
        queue = self._queue
        await asyncio.sleep(self._start_s)
        waited = 0.0
        while not queue.waiting:
            if waited >= self._wait_s:
                queue.empty += 1
                return 0
            await asyncio.sleep(0.05)
            waited += 0.05
        message = queue.waiting.pop(0)
        queue.taken[message] = spec.replica_id
        queue.deliveries[message] += 1
        try:
            await asyncio.sleep(self._work_s)
        except asyncio.CancelledError:
            del queue.taken[message]
            queue.waiting.insert(0, message)
            raise
        del queue.taken[message]
        queue.consumed[message] = queue.consumed.get(message, 0) + 1
        return 0


class FakeMetadata(TriggerMetadata):
    """Parameters of the fake scaler.

    `count` is `all` (taken ones included), `ready` (beside taken), or `blind` (ready ones, taken not seen).
    """

    queue: str
    count: str = "all"
    length: KedaInt = 1


class FakeScaler:
    """Reads a `FakeQueue`."""

    queues: ClassVar[dict[str, FakeQueue]] = {}

    def __init__(self, queue: FakeQueue, metadata: FakeMetadata) -> None:
        self._queue, self._metadata = queue, metadata

    async def poll(self) -> Sample:
        """Read the figures as they are at the start of the poll."""
        queue = self._queue
        queue.polls += 1
        ready, taken = float(len(queue.waiting)), float(len(queue.taken))
        await asyncio.sleep(queue.poll_delay_s)
        if queue.fault is not None:
            raise queue.fault
        if self._metadata.count == "ready":
            return Sample(value=ready, active=ready > 0, includes_taken=False, taken=taken)
        if self._metadata.count == "blind":
            return Sample(value=ready, active=ready > 0, includes_taken=False)
        return Sample(value=ready + taken, active=ready + taken > 0)


@asynccontextmanager
async def _open(metadata: FakeMetadata, context: ScalerContext) -> AsyncIterator[Scaler]:
    yield FakeScaler(FakeScaler.queues[metadata.queue], metadata)


async def _move(metadata: FakeMetadata, _context: ScalerContext, order: MoveOrder) -> Suspect | None:
    queue = FakeScaler.queues[metadata.queue]
    if queue.fault is not None:
        raise queue.fault
    if not queue.waiting:
        return None
    first = queue.waiting[0]
    deliveries = queue.deliveries[first] - order.looks(first)
    await order.hold(first)
    queue.deliveries[first] += 1  # as brokers do that only hand messages out
    queue.looked[first] += 1
    if deliveries < order.least:
        return None
    suspect = Suspect(message_id=first, deliveries=deliveries, to="the dead ones")
    await order.before(suspect)
    queue.waiting.remove(first)
    queue.dead.append(first)
    return suspect


SCALER = ScalerType(
    metadata=FakeMetadata,
    target=lambda meta: float(meta.length),
    open=_open,
    source=lambda meta: f"fake://{meta.queue}",
    summary="A queue in memory, for tests.",
    entities=lambda meta: frozenset({meta.queue}),
    mover=MoverType(refusal=lambda _meta, to: f"no queue {to}" if to else None, move=_move),
)
