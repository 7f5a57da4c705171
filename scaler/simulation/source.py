"""The scaler of a simulated source: the parameters are the real scaler's, the figures come from memory.

It counts as the real one does: `rabbitmq` leaves out what workers hold and tells it beside, Kafka's lag and the queues
of Azure count it, and a rule that hands out shares tells them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from scaler.model.job import ScaleRule
from scaler.model.sample import Sample
from scaler.model.share import Share
from scaler.ports.clock import Clock
from scaler.ports.scaler import AnyScalerType, Scaler, ScalerContext
from scaler.simulation.queue import SimulatedQueue

PART_VARIABLE = "SCALER_SIMULATED_PART"
LEAVES_OUT_TAKEN = frozenset({"rabbitmq", "github-runner", "azure-pipelines"})
"""Types that count only what waits; the others count what workers hold, too."""


class SimulatedScaler:
    """Reads a simulated source."""

    def __init__(
        self,
        queue: SimulatedQueue,
        rule: ScaleRule,
        clock: Clock,
        *,
        activation: float,
        poll_s: float,
        target: float | None,
    ) -> None:
        self._queue, self._clock, self._poll_s = queue, clock, poll_s
        self._activation, self._target = activation, target
        self._ready_only = rule.type in LEAVES_OUT_TAKEN

    async def poll(self) -> Sample:
        """Give the figures as they are when the poll begins."""
        queue, started = self._queue, self._clock.now()
        ready, taken, shares = queue.ready, queue.taken, self._shares()
        if self._poll_s > 0:
            await self._clock.sleep(self._poll_s)
        value = float(ready if self._ready_only else ready + taken)
        return Sample(
            value=value,
            active=value > self._activation,
            includes_taken=not self._ready_only,
            taken=float(taken) if self._ready_only else None,
            as_of=started,
            target=self._target,
            shares=shares,
        )

    def _shares(self) -> tuple[Share, ...] | None:
        queue = self._queue
        if queue.habits.parts == 1:
            return None
        return tuple(
            Share(
                key=f"{queue.name}/{part}",
                value=float(queue.waiting_in(part)),
                env=((PART_VARIABLE, str(part)),),
            )
            for part in range(queue.habits.parts)
        )


def simulated(
    real: AnyScalerType, meta: Any, rule: ScaleRule, queue: SimulatedQueue, *, clock: Clock, poll_s: float
) -> AnyScalerType:
    """Give the real scaler's type with a source in memory."""
    target = None if real.target(meta) > 0 else 1.0

    @asynccontextmanager
    async def open_simulated(_meta: Any, _context: ScalerContext) -> AsyncIterator[Scaler]:
        yield SimulatedScaler(
            queue, rule, clock, activation=activation_of(meta), poll_s=poll_s, target=target
        )

    return replace(real, open=open_simulated)


def activation_of(meta: Any) -> float:
    """Give the activation threshold of a rule's parameters; 0 where there is none."""
    for name in type(meta).model_fields:
        value = getattr(meta, name)
        if name.startswith("activation") and isinstance(value, int | float):
            return float(value)
    return 0.0
