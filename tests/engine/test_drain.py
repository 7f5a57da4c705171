"""A drained engine starts nothing, waits for what runs, then closes; what is left after its time is left running."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from scaler.errors import Conflict
from scaler.model.audit import AuditAction, AuditQuery
from scaler.model.execution import ExecutionStatus
from scaler.model.replica import ReplicaSpec
from scaler.testing.mock_executor import MockExecutor
from tests.engine.world import World, event_job, in_virtual_time, manual_job


def test_a_drain_waits_for_what_runs_and_starts_nothing() -> None:
    async def story() -> None:
        world = World(work_s=30)
        world.queue.publish(9)
        async with world.engine(event_job(high=3), manual_job()) as engine:
            assert await world.until(lambda: world.executor.live == 3)
            await engine.drain(by="cli:ann")
            await engine.drain(by="api:token")  # changes nothing
            health = await engine.health()
            assert health.draining is not None
            assert (health.draining.by, health.draining.unfinished) == ("cli:ann", 3)
            with pytest.raises(Conflict, match="being drained by cli:ann"):
                await engine.start("by-hand", None)
            await engine.put(event_job("late", high=3))  # an edit meanwhile starts nothing either
            assert await world.until(engine._over.is_set, limit_s=60)
            assert (await engine.health()).draining == replace(health.draining, unfinished=0)
        assert await world.statuses() == {ExecutionStatus.SUCCEEDED: 3}
        assert not world.executor._things  # remains are removed, too
        assert len(world.queue.consumed) == 3
        page = await world.store.audit(AuditQuery())
        drained = [entry.by for entry in page.items if entry.action is AuditAction.DAEMON_DRAINED]
        assert drained == ["cli:ann"]
        async with world.engine(event_job(high=3)):  # the next one knows of no drain
            assert await world.drained(9)

    in_virtual_time(story)


def test_retries_of_what_runs_belong_to_it() -> None:
    async def story() -> None:
        async def fail(_spec: ReplicaSpec) -> int:
            await asyncio.sleep(5)
            return 1

        world = World()
        world.executor = MockExecutor(fail, start_delay_s=0.3)
        async with world.engine(manual_job("drain", replica_retry_limit=2)) as engine:
            await engine.start("drain", None)
            await engine.drain()
            assert await world.until(engine._over.is_set, limit_s=600)
        (state,) = await world.executions()
        assert state.execution.status is ExecutionStatus.FAILED
        assert len(state.replicas) == 3

    in_virtual_time(story)


def test_what_is_left_after_the_time_runs_on_for_the_next_daemon() -> None:
    async def story() -> None:
        world = World(work_s=300)
        world.queue.publish(2)
        async with world.engine(event_job(high=2)) as engine:
            assert await world.until(lambda: world.executor.live == 2)
            await engine.drain(timeout_s=60)
            began = world.clock.monotonic()
            assert await world.until(engine._over.is_set, limit_s=100)
            assert 59 <= world.clock.monotonic() - began <= 62
        assert world.executor.live == 2
        async with world.engine(event_job(high=2)):
            assert await world.drained(2)
        assert await world.statuses() == {ExecutionStatus.SUCCEEDED: 2}

    in_virtual_time(story)


def test_a_drain_may_be_cut_short_at_once() -> None:
    async def story() -> None:
        world = World(work_s=50)
        world.queue.publish(1)
        async with world.engine(event_job(high=1)) as engine:
            assert await world.until(lambda: world.executor.live == 1)
            asked = asyncio.get_running_loop().create_task(engine.drain())
            await asyncio.sleep(0)
            engine.close()  # while it is being recorded who asked
            await asked
        assert world.executor.live == 1

    in_virtual_time(story)


def test_an_idle_engine_is_drained_at_once_and_one_in_recovery_is_waited_for() -> None:
    async def story() -> None:
        world = World(work_s=50)
        world.queue.publish(1)
        async with world.engine(event_job(high=1)):
            assert await world.until(lambda: world.executor.live == 1)
        async with world.engine(event_job(high=1)) as engine:
            await engine.drain()
            assert await world.until(engine._over.is_set, limit_s=100)
            assert await world.statuses() == {ExecutionStatus.SUCCEEDED: 1}
        async with world.engine(event_job(high=1)) as engine:
            await engine.drain()
            await asyncio.sleep(1)
            assert engine._over.is_set()

    in_virtual_time(story)


def test_the_end_tells_how_many_executions_run_on() -> None:
    async def story() -> None:
        world = World(work_s=600)
        world.queue.publish(2)
        with capture_logs() as lines:
            async with world.engine(event_job(high=3)):
                assert await world.until(lambda: world.executor.live == 2)
        assert [line["unfinished"] for line in lines if line["event"] == "engine.closed"] == [2]

    in_virtual_time(story)
