"""What a simulated replica does: takes as many messages as its rule's target says, works on each, ends.

Without a message within its patience it ends well and was started for nothing. Of a job without rules it only works.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from scaler.model.replica import ReplicaSpec
from scaler.ports.clock import Clock
from scaler.simulation.chance import Spans, dice
from scaler.simulation.queue import Message, SimulatedQueue
from scaler.simulation.source import PART_VARIABLE

FAILED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """How the workers of one job are.

    Attributes:
        work, start: how long a message and a start take.
        failing: share of executions that fail on a message that is not poison.
        patience_s: how long a worker waits for its first message.
        take: messages one execution takes; None: as the rule's target says.
    """

    work: Spans
    start: Spans
    failing: float = 0.0
    patience_s: float = 1.0
    take: int | None = None


class Workers:
    """The workers of one job. `wasted`: how many found no message."""

    def __init__(
        self,
        job: str,
        trade: Trade,
        clock: Clock,
        seed: int,
        queues: Mapping[str, tuple[SimulatedQueue, float]],
    ) -> None:
        self._job, self._trade, self._clock, self._seed = job, trade, clock, seed
        self._queues = queues
        self._started = 0
        self.wasted = 0

    def start_s(self) -> float:
        """Say how long the next start takes."""
        self._started += 1
        return self._trade.start.draw(dice(self._seed, "start", self._job, self._started))

    async def run(self, spec: ReplicaSpec) -> int:
        """Work as one replica; give the exit code."""
        if not self._queues:
            return await self._work_on(self._job, self._started, 1, poison=False)
        rule, message = await self._first(spec)
        if message is None:
            self.wasted += 1
            return 0
        queue, target = self._queues[rule]
        left = self._trade.take or max(1, math.ceil(target))
        while message is not None:
            code = await self._do(queue, message)
            left -= 1
            if code or left <= 0:
                return code
            message = queue.take(message.part)
        return 0

    async def _first(self, spec: ReplicaSpec) -> tuple[str, Message | None]:
        """Take a first message: of the rule with the most, and of the part that was handed out."""
        rule = max(self._queues, key=lambda name: self._queues[name][0].ready)
        handed = spec.env.get(PART_VARIABLE)
        part = int(handed.reveal()) if handed is not None else 0
        return rule, await self._queues[rule][0].wait_for(part, self._trade.patience_s)

    async def _do(self, queue: SimulatedQueue, message: Message) -> int:
        done = False
        try:
            code = await self._work_on(queue.name, message.number, message.deliveries, poison=message.poison)
            done = code == 0
        finally:
            if done:
                queue.settle(message)
            else:
                queue.let_go(message)
        return code

    async def _work_on(self, name: str, number: int, delivery: int, *, poison: bool) -> int:
        work_s = self._trade.work.draw(dice(self._seed, "work", name, number))
        await self._clock.sleep(work_s)
        unlucky = self._trade.failing > 0 and (
            dice(self._seed, "fails", name, number, delivery).random() < self._trade.failing
        )
        return FAILED if poison or unlucky else 0


def poison_finder(seed: int, name: str, share: float) -> Callable[[int], bool]:
    """Say which messages of a queue are poison."""
    return lambda number: share > 0 and dice(seed, "poison", name, number).random() < share
