"""The running engine looks at itself: well while it works, and what does not fit is told once it stays."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from scaler.planning.invariants import Promise
from scaler.testing.executor_contract import make_spec
from scaler.testing.mock_executor import MockExecutor
from tests.engine.world import World, event_job, in_virtual_time, manual_job


def test_nothing_is_broken_at_any_moment_of_a_flood() -> None:
    async def story() -> None:
        world = World(start_s=0.5, work_s=1.0, wait_s=2)
        world.queue.publish(6)
        async with world.engine(event_job(high=2, interval_s=5)) as engine:
            looks = []
            while len(world.queue.consumed) < 6 or world.executor._things:
                looks.append(await engine.inspect())
                await asyncio.sleep(0.1)
            looks.append(await engine.inspect())
        assert [look.violations for look in looks] == [()] * len(looks)
        assert (looks[-1].executions, looks[-1].silent) == (6, ())

    in_virtual_time(story)


def test_a_replica_that_no_record_speaks_of_is_told_until_the_sweep_removes_it() -> None:
    async def story() -> None:
        world = World()
        async with world.engine(manual_job()) as engine:
            await asyncio.sleep(100)
            stray = await _stray(world.executor)
            fresh = await engine.inspect()
            world.executor._things[stray].created_at = datetime(2026, 1, 1, tzinfo=UTC)
            old = await engine.inspect()
            await asyncio.sleep(150)
            swept = await engine.inspect()
        assert fresh.violations == ()
        assert [(one.promise, one.subject) for one in old.violations] == [(Promise.ORPHAN, stray)]
        assert swept.violations == ()

    in_virtual_time(story)


def test_an_executor_that_does_not_answer_is_named_and_nothing_is_said_of_what_it_holds() -> None:
    async def story() -> None:
        world = World()
        async with world.engine(manual_job()) as engine:
            await _stray(world.executor)
            world.executor.unavailable = True
            found = await engine.inspect()
        assert (found.violations, found.silent) == ((), ("mock",))

    in_virtual_time(story)


async def _stray(executor: MockExecutor) -> str:
    """Start a replica behind the engine's back."""
    spec = make_spec(["true"])
    await executor.launch(spec)
    return spec.replica_id
