"""Messages whose executions fail, through the engine in virtual time: few launches, healthy ones flow."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from scaler.engine.supervisor import Supervisor
from scaler.errors import Conflict
from scaler.model.decision import Reason
from scaler.model.execution import ExecutionStatus
from scaler.model.replica import ReplicaSpec
from tests.engine.world import World, event_job, in_virtual_time, manual_job

FAILED, SUCCEEDED = ExecutionStatus.FAILED, ExecutionStatus.SUCCEEDED


def _poisoned(
    world: World, poison: set[str], *, work_s: float = 0.5
) -> Callable[[ReplicaSpec], Awaitable[int]]:
    """Make workers that fail on some messages and put them back to the front."""
    healthy, queue = world.queue.worker(work_s=work_s), world.queue

    async def work(spec: ReplicaSpec) -> int:
        if not queue.waiting or queue.waiting[0] not in poison:
            return await healthy(spec)
        message = queue.waiting.pop(0)
        queue.taken[message] = spec.replica_id
        queue.deliveries[message] += 1
        await asyncio.sleep(work_s)
        del queue.taken[message]
        queue.waiting.insert(0, message)
        return 1

    return work


def _phase(engine: Supervisor) -> str:
    return next(c.reason for c in engine.job("drain").conditions if c.type == "Healthy")


@pytest.mark.parametrize("count", ["all", "ready", "blind"])
def test_ten_minutes_of_a_poison_message_cost_few_launches_and_healthy_ones_flow(count: str) -> None:
    async def story() -> None:
        world = World()
        world.executor.behaviour = _poisoned(world, {"m0"})
        world.queue.publish(4)
        async with world.engine(event_job(high=4, interval_s=1, count=count)):
            assert await world.until(lambda: len(world.queue.consumed) == 3, limit_s=30)
            await asyncio.sleep(570)
            found = await world.statuses()
        assert found[SUCCEEDED] == 3
        assert 8 <= found[FAILED] <= 12

    in_virtual_time(story)


def test_healthy_messages_that_arrive_later_flow_beside_a_poison_that_is_always_handed_out_first() -> None:
    async def story() -> None:
        world = World()
        world.executor.behaviour = _poisoned(world, {"m0"})
        world.queue.publish(1)
        waits = []
        async with world.engine(event_job(high=4, interval_s=1)):
            await asyncio.sleep(60)
            for number in range(30):
                world.queue.publish(1)
                began = world.clock.monotonic()
                assert await world.until(lambda n=number: len(world.queue.consumed) > n, limit_s=60)
                waits.append(world.clock.monotonic() - began)
                await asyncio.sleep(15)
            found = await world.statuses()
        assert max(waits) < 8
        assert found[FAILED] < 8 + 3 * 30

    in_virtual_time(story)


@pytest.mark.parametrize("failing", [0.01, 0.05])
def test_now_and_then_a_failure_hardly_slows_a_flood(failing: float) -> None:
    async def seconds(share: float) -> float:
        world, rng = World(), random.Random(7)
        sound = world.queue.worker(work_s=0.4)

        async def work(spec: ReplicaSpec) -> int:
            if rng.random() >= share:
                return await sound(spec)
            await asyncio.sleep(0.4)
            return 1

        world.executor.behaviour = work
        world.queue.publish(400)
        began = world.clock.monotonic()
        async with world.engine(event_job(high=8, interval_s=30)):
            assert await world.until(lambda: len(world.queue.consumed) == 400, limit_s=2000)
        return world.clock.monotonic() - began

    async def story() -> None:
        quiet, troubled = await seconds(0.0), await seconds(failing)
        assert troubled < quiet * 1.3

    in_virtual_time(story)


def test_an_outage_behind_the_workers_costs_few_launches_and_ends_without_help() -> None:
    async def story() -> None:
        world = World()
        world.queue.publish(100)
        poison = {f"m{n}" for n in range(100)}
        world.executor.behaviour = _poisoned(world, poison)
        async with world.engine(event_job(high=8, interval_s=1)) as engine:
            await asyncio.sleep(300)
            failures = (await world.statuses())[FAILED]
            assert _phase(engine) != "Closed"
            poison.clear()
            assert await world.until(lambda: len(world.queue.consumed) == 100, limit_s=400)
            assert await world.until(lambda: _phase(engine) == "Closed", limit_s=400)
        assert failures <= 8 + 9 * 6

    in_virtual_time(story)


def test_it_is_visible_and_can_be_reset() -> None:
    async def story() -> None:
        world = World()
        poison = {"m0"}
        world.executor.behaviour = _poisoned(world, poison)
        world.queue.publish(1)
        async with world.engine(event_job(high=4, interval_s=1)) as engine:
            await asyncio.sleep(150)
            healthy = next(c for c in engine.job("drain").conditions if c.type == "Healthy")
            assert (healthy.status, healthy.reason) == ("False", "BackingOff")
            assert "1 message is held back" in healthy.message
            assert Reason.BACKING_OFF in {d.reason for d in await world.store.decisions("drain")}
            poison.clear()
            await engine.reset("drain")
            assert await world.until(lambda: len(world.queue.consumed) == 1, limit_s=3)
            assert _phase(engine) == "Closed"

    in_virtual_time(story)


def test_a_restart_of_the_daemon_tries_no_poison_message_anew() -> None:
    async def story() -> None:
        world = World()
        world.executor.behaviour = _poisoned(world, {"m0"})
        world.queue.publish(1)
        for _ in range(20):  # a restart every half a minute
            async with world.engine(event_job(high=4, interval_s=1)):
                await asyncio.sleep(30)
        assert (await world.statuses())[FAILED] <= 12

    in_virtual_time(story)


def test_where_the_breaker_stood_is_seen_after_a_restart_and_a_reset_is_kept() -> None:
    async def story() -> None:
        world = World()
        world.executor.behaviour = _poisoned(world, {"m0"})
        world.queue.publish(1)
        job = event_job(high=4, interval_s=1)
        async with world.engine(job):
            await asyncio.sleep(100)
        world.queue.waiting.clear()
        async with world.engine(job) as engine:
            await asyncio.sleep(1)
            assert _phase(engine) == "BackingOff"
            await engine.reset("drain")
        async with world.engine(job) as engine:
            await asyncio.sleep(1)
            assert _phase(engine) == "Closed"

    in_virtual_time(story)


def test_an_edited_job_is_tried_at_once_since_the_edit_may_be_the_cure() -> None:
    async def story() -> None:
        world = World()
        poison = {"m0"}
        world.executor.behaviour = _poisoned(world, poison)
        world.queue.publish(1)
        async with world.engine(event_job(high=4, interval_s=1)) as engine:
            await asyncio.sleep(150)
            poison.clear()
            await engine.put(replace(event_job(high=4, interval_s=1), generation=2))
            assert await world.until(lambda: len(world.queue.consumed) == 1, limit_s=3)

    in_virtual_time(story)


def test_nothing_is_noted_for_a_job_that_never_failed() -> None:
    async def story() -> None:
        world = World()
        world.queue.publish(5)
        async with world.engine(event_job(high=4, interval_s=1)):
            assert await world.drained(5)
        assert await world.store.recall("breaker/drain") is None

    in_virtual_time(story)


def test_a_job_without_a_queue_has_nothing_to_reset() -> None:
    async def story() -> None:
        world = World()
        async with world.engine(manual_job()) as engine:
            with pytest.raises(Conflict, match="only event jobs"):
                await engine.reset("by-hand")

    in_virtual_time(story)
