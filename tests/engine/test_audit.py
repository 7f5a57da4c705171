"""Who did what: recorded by the engine before it is done, and by the roster of the files."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from scaler.engine.roster import Roster
from scaler.errors import Conflict
from scaler.model.audit import AuditQuery
from scaler.testing.loop_clock import LoopClock
from scaler.testing.memory_store import MemoryStore
from tests.engine.world import World, event_job, in_virtual_time, manual_job


async def told(store: MemoryStore) -> list[tuple[str, str, str | None]]:
    """Who did what to which job, oldest first."""
    page = await store.audit(AuditQuery(), limit=1000)
    return [(entry.by, entry.action.value, entry.job) for entry in reversed(page.items)]


def test_starts_and_stops_tell_who_caused_them() -> None:
    async def story() -> None:
        world = World(work_s=100)
        world.queue.publish(1)
        job = event_job(high=1, interval_s=1000, refill=False)
        async with world.engine(job, manual_job()) as engine:
            await asyncio.sleep(2)
            (first,) = await world.executions()
            await engine.start("by-hand", None, by="cli:ann")
            await engine.stop("drain", first.execution.id, by="api:token")
            await engine.reset("drain", by="cli:bob")
            with pytest.raises(Conflict):
                await engine.reset("by-hand", by="cli:bob")
        assert await told(world.store) == [
            ("rule q", "execution.started", "drain"),
            ("cli:ann", "execution.started", "by-hand"),
            ("api:token", "execution.stopped", "drain"),
            ("cli:bob", "job.reset", "drain"),
        ]
        page = await world.store.audit(AuditQuery(execution=first.execution.id))
        assert [entry.action.value for entry in page.items] == ["execution.stopped", "execution.started"]

    in_virtual_time(story)


def test_a_stop_of_what_has_ended_is_not_told() -> None:
    async def story() -> None:
        world = World(work_s=1)
        world.queue.publish(1)
        async with world.engine(event_job(high=1, interval_s=1)) as engine:
            assert await world.drained(1)
            await asyncio.sleep(5)
            (state,) = await world.executions()
            await engine.stop("drain", state.execution.id, by="cli:ann")
        assert [action for _by, action, _job in await told(world.store)] == ["execution.started"]

    in_virtual_time(story)


def test_jobs_of_files_are_created_changed_and_deleted_also_while_no_daemon_ran() -> None:
    async def story() -> None:
        store, clock = MemoryStore(), LoopClock()
        a, b = replace(manual_job(), name="a", document="1"), replace(manual_job(), name="b", document="1")
        first = Roster(store, clock)
        assert [(await first.number(job, "x.yaml:1:1")).generation for job in (a, b)] == [1, 1]
        await first.settle({"a", "b"}, is_whole=True)

        second = Roster(store, clock)  # the daemon starts again: a is unchanged, b is gone
        assert (await second.number(a, "x.yaml:1:1")).generation == 1
        await second.settle({"a"}, is_whole=True)
        assert (await second.number(replace(a, document="2"), "x.yaml:1:1")).generation == 2
        await second.settle(set(), is_whole=False)  # a fault hides a: it may still be there
        assert (await second.number(b, "y.yaml:1:1")).generation == 1
        await second.settle({"a", "b"}, is_whole=True)
        assert await told(store) == [
            ("file", "job.created", "a"),
            ("file", "job.created", "b"),
            ("file", "job.deleted", "b"),
            ("file", "job.changed", "a"),
            ("file", "job.created", "b"),
        ]
        details = [entry.detail for entry in (await store.audit(AuditQuery(job="a"))).items]
        assert details == ["x.yaml:1:1; generation 2", "x.yaml:1:1; generation 1"]

    in_virtual_time(story)
