"""A scheduled job and a world to run it in, for tests of the schedule's loop."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from scaler.model.job import Container, Job, ScheduleTrigger, Template
from scaler.model.replica import ReplicaSpec
from scaler.testing.mock_executor import MockExecutor
from tests.engine.world import World

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)  # where the clock of a world begins
MINUTE = 60.0


def scheduled_job(name: str = "tidy", cron: str = "*/10 * * * *", **schedule: Any) -> Job:
    return Job(
        name=name,
        trigger=ScheduleTrigger(cron=cron, **schedule),
        template=Template(container=Container(name="main", image="x")),
        executor="mock",
        replica_timeout=timedelta(hours=5),
    )


def world_of(works_s: float = 1.0) -> World:
    """Give a world whose executions take so long."""

    async def work(_spec: ReplicaSpec) -> int:
        await asyncio.sleep(works_s)
        return 0

    world = World()
    world.executor = MockExecutor(work, start_delay_s=0.3)
    return world
