"""What becomes of due times that passed while nobody looked: downtime, a clock that jumps, a queue over a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise, product

import pytest

from scaler.model.decision import Reason
from scaler.model.job import CatchUp, Overlap, ScheduleTrigger
from scaler.planning.firing import still_waiting
from tests.engine.schedule_kit import MINUTE, START, scheduled_job, world_of
from tests.engine.world import World, in_virtual_time

WINDOWS_MIN = (1, 22, 120)


async def _due(world: World, job: str = "tidy") -> list[int]:
    """Give the due times that executions stand for, by their names, in minutes after the start."""
    found = await world.executions(job)
    return sorted(int(s.execution.id.rpartition("-")[2]) - int(START.timestamp()) // 60 for s in found)


# --- downtime: every policy, window and overlap, against rules written down a second time -------------------


def _combinations() -> Iterator[tuple[str, CatchUp, int, Overlap]]:
    for catch_up, window, overlap in product(CatchUp, WINDOWS_MIN, Overlap):
        yield f"{catch_up.value}-{window}-{overlap.value}", catch_up, window, overlap


def _wanted(down_min: float, catch_up: CatchUp, window: int, overlap: Overlap) -> tuple[list[int], bool]:
    """Give due times to be started, and whether some are told as missed; down from 15 on, up for 10 minutes."""
    back = 15 + down_min
    passed = [at for at in range(20, 500, 10) if at <= back]
    timely = [at for at in passed if back - at <= 1]
    late = [at for at in passed if back - at > 1]
    made_up = [at for at in late if back - at <= window]
    if catch_up is CatchUp.NONE:
        made_up = []
    if catch_up is CatchUp.LATEST:
        made_up = made_up[-1:]
    at_once = made_up + timely
    if overlap is Overlap.FORBID:
        at_once = at_once[:1]
    if overlap is Overlap.REPLACE:
        at_once = at_once[-1:]
    later = [at for at in range(20, 500, 10) if back < at < back + 10]
    return [10, *at_once, *later], len(made_up) < len(late)


@pytest.mark.parametrize("down_min", [0.5, 5.5, 30, 152])
def test_downtime_is_made_up_for_by_policy_window_and_overlap(down_min: float) -> None:
    async def story() -> None:
        world = world_of()
        table = list(_combinations())
        jobs = [
            scheduled_job(name, catch_up=catch_up, catch_up_window=timedelta(minutes=window), overlap=overlap)
            for name, catch_up, window, overlap in table
        ]
        async with world.engine(*jobs):
            await asyncio.sleep(15 * MINUTE)
        await asyncio.sleep(down_min * MINUTE)
        async with world.engine(*jobs):
            await asyncio.sleep(9.9 * MINUTE)
        for name, catch_up, window, overlap in table:
            reasons = [d.reason for d in await world.store.decisions(name, limit=1000)]
            got = (await _due(world, name), Reason.MISSED in reasons)
            assert got == _wanted(down_min, catch_up, window, overlap), name

    in_virtual_time(story)


# --- a clock that jumps -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("catch_up", "due"),
    [
        (CatchUp.NONE, [*range(1, 6), 65, 66, 67]),
        (CatchUp.LATEST, [*range(1, 6), 64, 65, 66, 67]),
        (CatchUp.ALL, [*range(1, 6), *range(35, 68)]),  # as far back as its window says
    ],
)
def test_a_clock_that_is_set_an_hour_forth_is_like_downtime(catch_up: CatchUp, due: list[int]) -> None:
    async def story() -> None:
        world = world_of()
        job = scheduled_job(
            cron="* * * * *", catch_up=catch_up, catch_up_window=timedelta(minutes=30, seconds=40)
        )
        async with world.engine(job):
            await asyncio.sleep(5 * MINUTE + 1)
            world.leap += timedelta(hours=1)
            await asyncio.sleep(2 * MINUTE)
        assert await _due(world) == due
        reasons = [d.reason for d in await world.store.decisions("tidy", limit=1000)]
        assert reasons.count(Reason.MISSED) == 1

    in_virtual_time(story)


def test_a_clock_that_is_set_an_hour_back_starts_nothing_twice_and_no_storm() -> None:
    async def story() -> None:
        world = world_of()
        async with world.engine(scheduled_job(cron="* * * * *")) as engine:
            await asyncio.sleep(5 * MINUTE + 1)
            world.leap -= timedelta(hours=1)
            await asyncio.sleep(30 * MINUTE)
            assert engine.job("tidy").next_poll == START - timedelta(minutes=24)
            await asyncio.sleep(35 * MINUTE)
        found = [s.execution for s in await world.executions("tidy")]
        assert await _due(world) == [*range(-54, 11)]  # 1 to 5 were there already when they came again
        created = sorted(e.created_at for e in found)
        assert all(later - at > timedelta(seconds=50) for at, later in pairwise(created))

    in_virtual_time(story)


@pytest.mark.parametrize("leap_h", [1, -1])
def test_a_clock_that_jumps_while_the_daemon_is_down_starts_no_storm(leap_h: int) -> None:
    async def story() -> None:
        world = world_of()
        async with world.engine(scheduled_job(cron="* * * * *")):
            await asyncio.sleep(5 * MINUTE + 1)
        world.leap += timedelta(hours=leap_h)
        async with world.engine(scheduled_job(cron="* * * * *")):
            await asyncio.sleep(3 * MINUTE)
        here = 60 * leap_h
        new = [at for at in await _due(world) if at not in range(1, 6)]
        assert new in ([here + 6, here + 7, here + 8], [here + 5, here + 6, here + 7, here + 8])

    in_virtual_time(story)


# --- the queue ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["restart", "edit", "suspension"])
def test_the_queue_of_due_times_is_kept(how: str) -> None:
    async def story() -> None:
        world = world_of(works_s=12 * MINUTE)
        job = scheduled_job(cron="*/5 * * * *", overlap=Overlap.QUEUE)
        async with world.engine(job) as engine:
            await asyncio.sleep(26 * MINUTE)  # 5 and 10 were started; 15, 20, 25 wait
            assert await _due(world) == [5, 10]
            if how == "edit":
                await engine.put(replace(job, replica_retry_limit=1, generation=2))
            if how == "suspension":
                await engine.suspend("tidy")
            if how != "restart":
                await asyncio.sleep(2 * MINUTE)
                await engine.resume("tidy")
                await asyncio.sleep(56 * MINUTE)
        if how == "restart":
            await asyncio.sleep(2 * MINUTE)
            async with world.engine(job):
                await asyncio.sleep(56 * MINUTE)
        assert (await _due(world))[:6] == [5, 10, 15, 20, 25, 30]
        assert world.executor.peak == 1
        reasons = [d.reason for d in await world.store.decisions("tidy", limit=1000)]
        assert Reason.MISSED not in reasons

    in_virtual_time(story)


def test_a_replacement_that_waits_replaces_after_a_restart_too() -> None:
    async def story() -> None:
        world = world_of(works_s=60 * MINUTE)
        world.limits = replace(world.limits, stop_grace_s=120)
        job = scheduled_job(cron="*/10 * * * *", overlap=Overlap.REPLACE)
        async with world.engine(job):
            await asyncio.sleep(15 * MINUTE)
        await asyncio.sleep(5 * MINUTE)  # due while nobody looks, but only just
        async with world.engine(job):
            await asyncio.sleep(3 * MINUTE)
        assert await _due(world) == [10, 20]
        assert world.executor.peak == 1

    in_virtual_time(story)


@pytest.mark.parametrize(
    ("overlap", "late_min", "kept"),
    [
        (Overlap.QUEUE, 500, True),
        (Overlap.REPLACE, 500, True),
        (Overlap.ALLOW, -3, True),
        (Overlap.ALLOW, 0.9, True),
        (Overlap.ALLOW, 1.1, False),
        (Overlap.FORBID, 5, False),
    ],
)
def test_who_waited_only_for_its_moment_has_missed_it_when_it_passed(
    overlap: Overlap, late_min: float, *, kept: bool
) -> None:
    trigger = ScheduleTrigger(cron="0 0 * * *", overlap=overlap)
    now = START + timedelta(minutes=late_min)
    assert still_waiting(trigger, "tidy", [START], now=now) == ((START,) if kept else ())
