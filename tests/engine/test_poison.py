"""Moving a poison message out of the way: never one that may be innocent, and never before its record is kept."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from scaler.errors import PollError
from scaler.model.audit import AuditAction, AuditQuery
from scaler.model.decision import Reason
from scaler.model.execution import ExecutionStatus
from scaler.model.job import Job, Poison
from tests.engine.test_breaker import _phase, _poisoned
from tests.engine.world import World, event_job, in_virtual_time

FAILED = ExecutionStatus.FAILED


def _job(move_after: int | None = 4) -> Job:
    poison = None if move_after is None else Poison(move_after=move_after)
    return replace(event_job(high=4, interval_s=1), poison=poison)


def test_a_message_that_always_fails_is_moved_after_so_many_rounds_and_the_job_is_well_again() -> None:
    async def story() -> None:
        world = World()
        world.executor.behaviour = _poisoned(world, {"m0"})
        world.queue.publish(4)
        async with world.engine(_job()) as engine:
            assert await world.until(lambda: world.queue.dead == ["m0"], limit_s=60)
            assert await world.until(lambda: _phase(engine) == "Closed", limit_s=5)
            failures = (await world.statuses())[FAILED]
            world.queue.publish(2)
            assert await world.until(lambda: len(world.queue.consumed) == 5, limit_s=10)
        assert 4 <= failures <= 7
        moves = [d for d in await world.store.decisions("drain") if d.reason is Reason.POISON_MOVED]
        assert len(moves) == 1
        to_workers = world.queue.deliveries["m0"] - 1
        assert f"message 'm0' was delivered {to_workers} times" in moves[0].message
        query = AuditQuery(action=AuditAction.MESSAGE_MOVED)
        entries = (await world.store.audit(query, limit=10)).items
        assert [(entry.by, entry.job) for entry in entries] == [("daemon", "drain")]

    in_virtual_time(story)


def test_without_being_asked_for_nothing_is_moved() -> None:
    async def story() -> None:
        world = World()
        world.executor.behaviour = _poisoned(world, {"m0"})
        world.queue.publish(1)
        async with world.engine(_job(None)):
            await asyncio.sleep(600)
        assert world.queue.dead == []

    in_virtual_time(story)


def test_in_an_outage_that_fails_many_messages_none_is_moved() -> None:
    async def story() -> None:
        world = World()
        world.queue.publish(20)
        world.executor.behaviour = _poisoned(world, {f"m{n}" for n in range(20)})
        async with world.engine(_job()):
            world.queue.waiting.reverse()
            for _ in range(60):
                await asyncio.sleep(10)
                world.queue.waiting.append(world.queue.waiting.pop(0))  # brokers hand out others next
        assert world.queue.dead == []

    in_virtual_time(story)


def test_a_message_is_looked_at_a_few_times_only_since_the_broker_counts_that_also_over_restarts() -> None:
    async def story() -> None:
        world = World()
        world.queue.publish(20)
        world.executor.behaviour = _poisoned(world, {f"m{n}" for n in range(20)})
        for _ in range(6):
            async with world.engine(_job()):
                await asyncio.sleep(300)
        assert world.queue.dead == []
        assert 1 <= max(world.queue.looked.values()) <= 3

    in_virtual_time(story)


def test_a_source_that_cannot_be_asked_leaves_the_job_as_it_is() -> None:
    async def story() -> None:
        world = World()
        world.executor.behaviour = _poisoned(world, {"m0"})
        world.queue.publish(1)
        async with world.engine(_job()) as engine:
            assert await world.until(lambda: world.queue.deliveries["m0"] >= 4, limit_s=60)
            world.queue.fault = PollError("away", reason="Unreachable")
            await asyncio.sleep(60)
            assert world.queue.dead == []
            world.queue.fault = None
            assert await world.until(lambda: world.queue.dead == ["m0"], limit_s=120)
            assert await world.until(lambda: _phase(engine) == "Closed", limit_s=5)

    in_virtual_time(story)


def test_a_restart_counts_on_from_the_failures_before() -> None:
    async def story() -> None:
        world = World()
        world.executor.behaviour = _poisoned(world, {"m0"})
        world.queue.publish(1)
        for _ in range(12):
            async with world.engine(_job(5)):
                await asyncio.sleep(10)
        assert world.queue.dead == ["m0"]
        assert (await world.statuses())[FAILED] <= 8

    in_virtual_time(story)
