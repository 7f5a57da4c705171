"""The clock set by an hour, forth and back, at any moment: no storm, no end before its start, nothing twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from scaler.model.execution import ExecutionStatus
from scaler.model.job import CatchUp, Job, ScheduleTrigger
from scaler.planning.invariants import Violation
from scaler.testing.loop_clock import LoopClock
from tests.engine.world import World, event_job, in_virtual_time, manual_job

HOUR = timedelta(hours=1)
START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)  # where the clock of a world begins
PART = timedelta(minutes=13)


def _set(world: World, offset: timedelta, *, restarted: bool) -> None:
    """Set the host's clock: beside a running daemon, or for one that starts now."""
    if restarted:
        world.clock, world.leap = LoopClock(START + offset), timedelta()
    else:
        world.leap = offset


STEPS: dict[str, tuple[timedelta, ...]] = {
    "forth": (HOUR,),
    "back": (-HOUR,),
    "forth and back": (HOUR, timedelta()),
    "back and forth": (-HOUR, timedelta()),
}


BESIDE = pytest.mark.parametrize("restarted", [False, True], ids=["beside", "restarted"])


async def _told(
    world: World, job: Job, steps: tuple[timedelta, ...], part: timedelta, *, restarted: bool
) -> tuple[Violation, ...]:
    """Run a job's engine, set the clock after each part, and give what is broken at the end."""
    remaining = list(steps)
    while True:
        async with world.engine(job) as engine:
            while True:
                await asyncio.sleep(part.total_seconds())
                if not remaining:
                    await asyncio.sleep(40)
                    return (await engine.inspect()).violations
                if restarted:
                    break
                _set(world, remaining.pop(0), restarted=False)
        _set(world, remaining.pop(0), restarted=True)


@BESIDE
@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS.keys())
def test_a_flood_is_drained_within_its_maximum_whatever_the_clock_does(
    steps: tuple[timedelta, ...], restarted: bool
) -> None:
    async def story() -> None:
        world = World(start_s=0.5, work_s=2.0, wait_s=2)
        world.queue.publish(12)
        job = event_job(high=2, interval_s=5, timeout_s=7200)  # longer than the step, see the page
        assert await _told(world, job, steps, timedelta(seconds=3.3), restarted=restarted) == ()
        assert (world.queue.depth, world.executor.peak) == (0, 2)
        assert set(world.queue.consumed.values()) == {1}
        assert await world.statuses() == {ExecutionStatus.SUCCEEDED: 12}

    in_virtual_time(story)


def _expected(steps: tuple[timedelta, ...], catch_up: CatchUp) -> set[datetime]:
    """Say which due times are served: those that the clock passed by itself, and those made up for at a jump."""
    found: set[datetime] = set()
    at, offset = START, timedelta()
    for step in (*steps, None):
        found |= _due(at, at := at + PART)
        if step is None:
            return found
        jumped = _due(at, at + step - offset)
        made_up = {
            CatchUp.NONE: set(),
            CatchUp.LATEST: {max(jumped, default=at)} & jumped,
            CatchUp.ALL: jumped,
        }
        found |= made_up[catch_up]
        at, offset = at + step - offset, step
    return found


def _due(begin: datetime, end: datetime) -> set[datetime]:
    """Give the whole tens of minutes after `begin`, up to `end`."""
    return {
        at for at in (START + timedelta(minutes=ten) for ten in range(-120, 240, 10)) if begin < at <= end
    }


@BESIDE
@pytest.mark.parametrize("catch_up", CatchUp)
@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS.keys())
def test_a_schedule_serves_what_the_clock_passes_and_what_its_policy_makes_up_for_each_once(
    steps: tuple[timedelta, ...], catch_up: CatchUp, restarted: bool
) -> None:
    async def story() -> None:
        world = World(start_s=0.5, work_s=1.0, wait_s=0.1)
        job = Job(
            name="tidy", trigger=ScheduleTrigger(cron="*/10 * * * *", catch_up=catch_up),
            template=manual_job().template, executor="mock", replica_timeout=HOUR,
        )  # fmt: skip
        assert await _told(world, job, steps, PART, restarted=restarted) == ()
        names = [state.execution.id for state in await world.executions("tidy")]
        served = [datetime.fromtimestamp(int(name.removeprefix("tidy-")) * 60, UTC) for name in names]
        assert sorted(served) == sorted(_expected(steps, catch_up))
        assert list(world.executor.launches.values()) == [1] * len(names)

    in_virtual_time(story)


def test_a_time_limit_counts_time_that_passed_and_no_step_of_the_clock() -> None:
    async def story() -> None:
        for offset in (HOUR, -HOUR):
            world = World()
            ended = _never(world)
            async with world.engine(replace(manual_job(), replica_timeout=timedelta(seconds=60))) as engine:
                await engine.start("by-hand", None)
                await asyncio.sleep(20)
                _set(world, offset, restarted=False)
                await asyncio.sleep(30)
                assert not ended()
                assert await world.until(ended, limit_s=40)
            (state,) = await world.executions("by-hand")
            assert (state.execution.status, state.execution.reason) == (
                ExecutionStatus.FAILED, "ReplicaTimeout",
            )  # fmt: skip

    in_virtual_time(story)


def test_what_began_by_a_clock_that_was_set_back_since_does_not_end_before_its_start() -> None:
    async def story() -> None:
        world = World()
        ended, job = _never(world), manual_job()
        async with world.engine(job) as engine:
            name = (await engine.start("by-hand", None)).execution.id
            await asyncio.sleep(5)
        _set(world, -HOUR, restarted=True)
        async with world.engine(job) as engine:
            await asyncio.sleep(1)
            await engine.stop("by-hand", name)
            assert await world.until(ended, limit_s=60)
            found = await engine.inspect()
        (state,) = await world.executions("by-hand")
        execution = state.execution
        assert execution.status is ExecutionStatus.STOPPED
        assert execution.started_at is not None and execution.ended_at is not None
        assert execution.ended_at >= execution.started_at
        assert found.violations == ()

    in_virtual_time(story)


def _never(world: World) -> Callable[[], bool]:
    """Have replicas work for ever; gives whether all have ended."""

    async def work(_spec: object) -> int:
        await asyncio.Event().wait()
        return 0

    world.executor.behaviour = work
    return lambda: not world.executor._things
