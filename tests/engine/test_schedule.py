"""Scheduled jobs through the engine, in virtual time: due times, overlap, downtime, jitter."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from scaler.model.decision import Reason
from scaler.model.execution import Cause, ExecutionState, ExecutionStatus
from scaler.model.job import CatchUp, Overlap, ScheduleTrigger
from scaler.planning.firing import delay
from tests.engine.schedule_kit import MINUTE, START, scheduled_job, world_of
from tests.engine.world import Pulse, World, in_virtual_time


async def _minutes(world: World) -> list[int]:
    """Give when executions were created, in whole minutes since the start, oldest first."""
    found = await world.executions("tidy")
    return sorted(int((s.execution.created_at - START).total_seconds() // 60) for s in found)


async def _due(world: World) -> list[str]:
    """Give the due times that executions stand for, by their names."""
    names = [int(s.execution.id.removeprefix("tidy-")) * 60 for s in await world.executions("tidy")]
    return [datetime.fromtimestamp(at, UTC).strftime("%H:%M") for at in sorted(names)]


async def _reasons(world: World) -> list[Reason]:
    return [d.reason for d in reversed(await world.store.decisions("tidy", limit=1000))]


def _run(story: Callable[[], Awaitable[None]]) -> None:
    in_virtual_time(story)


def test_each_due_time_starts_one_execution_that_says_by_what_it_was_started() -> None:
    async def story() -> None:
        world = world_of()
        async with world.engine(scheduled_job()):
            await asyncio.sleep(35 * MINUTE)
        assert await _due(world) == ["12:10", "12:20", "12:30"]
        assert {s.execution.cause for s in await world.executions("tidy")} == {Cause.SCHEDULE}
        assert await _reasons(world) == [Reason.LAUNCHED] * 3
        decisions = {d.id for d in await world.store.decisions("tidy")}
        assert {s.execution.decision_id for s in await world.executions("tidy")} == decisions

    _run(story)


@pytest.mark.parametrize(
    ("overlap", "due", "created"),
    [
        # 12 minutes of work, due each 5 minutes, for 50 minutes
        (Overlap.ALLOW, 10, [5, 10, 15, 20, 25, 30, 35, 40, 45, 50]),
        (Overlap.FORBID, 4, [5, 20, 35, 50]),
        (Overlap.QUEUE, 4, [5, 17, 29, 41]),
    ],
)
def test_what_overlaps_does_as_it_is_told(overlap: Overlap, due: int, created: list[int]) -> None:
    async def story() -> None:
        world = world_of(works_s=12 * MINUTE)
        async with world.engine(scheduled_job(cron="*/5 * * * *", overlap=overlap)):
            await asyncio.sleep(50.5 * MINUTE)
        assert len(await _due(world)) == due
        assert await _minutes(world) == created

    _run(story)


def test_a_replaced_execution_is_stopped_and_two_never_run_at_once() -> None:
    async def story() -> None:
        world = world_of(works_s=12 * MINUTE)
        async with world.engine(scheduled_job(cron="*/5 * * * *", overlap=Overlap.REPLACE)):
            await asyncio.sleep(21 * MINUTE)
            assert await world.statuses("tidy") == {ExecutionStatus.STOPPED: 3, ExecutionStatus.RUNNING: 1}
        stopped = [s.execution for s in await world.executions("tidy") if s.execution.is_final]
        assert world.executor.peak == 1
        assert all("replaced by the execution due 2026-03-01T12:" in e.message for e in stopped)

    _run(story)


@pytest.mark.parametrize(
    ("down_min", "catch_up", "window_min", "due"),
    [
        # due at :10, :20, :30 …; the daemon is down from 12:15 on
        (0.5, CatchUp.NONE, 60, ["12:10", "12:20"]),
        (30, CatchUp.NONE, 60, ["12:10", "12:50"]),
        (30, CatchUp.LATEST, 60, ["12:10", "12:40", "12:50"]),
        (30, CatchUp.ALL, 60, ["12:10", "12:20", "12:30", "12:40", "12:50"]),
        (30, CatchUp.ALL, 20, ["12:10", "12:30", "12:40", "12:50"]),
        (30, CatchUp.LATEST, 1, ["12:10", "12:50"]),
        (5.5, CatchUp.NONE, 60, ["12:10", "12:20", "12:30"]),  # half a minute late is not missed
    ],
)
def test_downtime_is_made_up_for_as_the_policy_says(
    down_min: float, catch_up: CatchUp, window_min: float, due: list[str]
) -> None:
    async def story() -> None:
        world = world_of()
        job = scheduled_job(catch_up=catch_up, catch_up_window=timedelta(minutes=window_min))
        async with world.engine(job):
            await asyncio.sleep(15 * MINUTE)
        await asyncio.sleep(down_min * MINUTE)
        async with world.engine(job):
            await asyncio.sleep(10 * MINUTE)
        assert await _due(world) == due
        skipped = down_min == 30 and len(due) < 5
        assert (Reason.MISSED in await _reasons(world)) == skipped

    _run(story)


def test_a_new_schedule_begins_now_and_so_does_one_whose_times_were_edited() -> None:
    async def story() -> None:
        world = world_of()
        job = scheduled_job(cron="0 11 * * *", catch_up=CatchUp.ALL, catch_up_window=timedelta(days=1))
        async with world.engine(job) as engine:
            await asyncio.sleep(MINUTE)
            trigger = ScheduleTrigger(
                cron="30 11 * * *", catch_up=CatchUp.ALL, catch_up_window=timedelta(days=1)
            )
            await engine.put(replace(job, trigger=trigger, generation=2))
            await asyncio.sleep(5 * MINUTE)
        assert await _due(world) == []

    _run(story)


def test_jitter_puts_each_start_off_by_its_own_fixed_time() -> None:
    async def story() -> None:
        world, job = world_of(), scheduled_job(jitter=timedelta(minutes=5))
        async with world.engine(job):
            await asyncio.sleep(60 * MINUTE)
        assert isinstance(job.trigger, ScheduleTrigger)
        due = [START + timedelta(minutes=m) for m in (10, 20, 30, 40, 50)]
        wanted = [at + delay(job.trigger, "tidy", at) for at in due]
        created = sorted(s.execution.created_at for s in await world.executions("tidy"))
        assert await _due(world) == ["12:10", "12:20", "12:30", "12:40", "12:50"]
        late_s = [(c - w).total_seconds() for c, w in zip(created, wanted, strict=True)]
        assert all(0 <= s < 1 for s in late_s)

    _run(story)


@pytest.mark.parametrize("overlap", [Overlap.FORBID, Overlap.QUEUE])
@pytest.mark.parametrize("kill_at", range(1, 14))
@pytest.mark.parametrize("after", [True, False])
def test_a_kill_at_any_step_starts_no_due_time_twice(kill_at: int, overlap: Overlap, *, after: bool) -> None:
    async def story() -> None:
        world = world_of(works_s=30)
        job = scheduled_job(overlap=overlap)
        pulse = Pulse(kill_at, after=after)
        async with world.engine(job, pulse=pulse):
            await world.until(lambda: pulse.dead, limit_s=11 * MINUTE)
        async with world.engine(job):
            await asyncio.sleep(10 * MINUTE)
        found: tuple[ExecutionState, ...] = await world.executions("tidy")
        names = [s.execution.id for s in found]
        assert len(set(names)) == len(names)
        assert world.executor.peak <= 1
        assert {s.execution.status for s in found} <= {ExecutionStatus.SUCCEEDED, ExecutionStatus.RUNNING}
        assert (await _due(world))[:1] == ["12:10"] or kill_at == 1

    _run(story)
