"""One scheduled job's loop: sleeps until the next fire time, then starts an execution. Times are UTC."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

import structlog

from scaler.model.job import Job, ScheduleTrigger
from scaler.planning.schedule import next_fire
from scaler.ports.clock import Clock

log = structlog.get_logger("scaler")

LONGEST_NAP_S = 30.0
"""The sleep is cut so that a host that was suspended notices soon after it wakes."""


class ScheduleLoop:
    """Fires one job. A fire time that passed while the daemon was down is not made up for."""

    def __init__(
        self,
        job: Job,
        trigger: ScheduleTrigger,
        clock: Clock,
        fire: Callable[[Job, datetime], Awaitable[None]],
    ) -> None:
        self.job = job
        self.next_poll: datetime | None = None
        self._trigger = trigger
        self._clock = clock
        self._fire = fire

    async def run(self) -> None:
        """Fire until cancelled."""
        last = self._clock.now()
        while True:
            due = next_fire(self._trigger.cron, last)
            self.next_poll = due
            while (left := (due - self._clock.now()).total_seconds()) > 0:
                await self._clock.sleep(min(left, LONGEST_NAP_S))
            log.info("job.fire", job=self.job.name, due=due.isoformat())
            await self._fire(self.job, due)
            last = max(due, self._clock.now())
