"""Suspended jobs start nothing, by whatever way, durably; what runs goes on."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from scaler.errors import Conflict, NotFound
from scaler.model.audit import AuditAction, AuditQuery
from scaler.model.decision import Occasion, Reason
from scaler.model.execution import ExecutionStatus
from scaler.model.job import CatchUp, Container, Job, ScheduleTrigger, Template
from scaler.ports.control import JobView
from tests.engine.world import World, event_job, in_virtual_time, manual_job

MINUTE = 60.0


def _scheduled(catch_up: CatchUp = CatchUp.NONE) -> Job:
    return Job(
        name="tidy",
        trigger=ScheduleTrigger(cron="*/10 * * * *", catch_up=catch_up, catch_up_window=timedelta(hours=2)),
        template=Template(container=Container(name="main", image="x")),
        executor="mock",
        replica_timeout=timedelta(hours=5),
    )


def _said(view: JobView) -> list[tuple[str, str, str]]:
    return [(c.type, c.status, c.reason) for c in view.conditions]


def test_nothing_of_a_suspended_job_starts_and_what_runs_goes_on() -> None:
    async def story() -> None:
        world = World(work_s=20)
        world.queue.publish(9)
        async with world.engine(event_job(high=3)) as engine:
            assert await world.until(lambda: world.executor.live == 3)
            await engine.suspend("Drain", by="cli:ann")
            assert await world.drained(3)
            await asyncio.sleep(10 * MINUTE)
            assert len(world.queue.consumed) == 3
            assert await world.statuses() == {ExecutionStatus.SUCCEEDED: 3}
            view = engine.job("drain")
            assert view.suspended is not None
            assert view.suspended.by == "cli:ann"
            assert view.next_poll is None
            assert _said(view)[:2] == [("Ready", "False", "Suspended"), ("Active", "Unknown", "Suspended")]
            await engine.resume("drain", by="cli:ann")
            assert await world.drained(9)
            assert engine.job("drain").suspended is None

    in_virtual_time(story)


def test_a_suspension_is_a_decision_that_names_who_asked() -> None:
    async def story() -> None:
        world = World()
        async with world.engine(event_job()) as engine:
            await asyncio.sleep(1)
            for _ in range(2):  # the second one changes nothing, not even who did it
                await engine.suspend("drain", by="cli:ann")
                await engine.suspend("drain", by="api:token")
            newest, before, *_ = await world.store.decisions("drain")
            assert (newest.occasion, newest.reason, newest.launch) == (Occasion.SUSPEND, Reason.SUSPENDED, 0)
            assert newest.message.startswith("suspended by cli:ann at 20")
            assert before.reason is not Reason.SUSPENDED
            assert engine.job("drain").last_decision == newest
            await engine.resume("drain", by="api:token")
            await engine.resume("drain", by="cli:ann")
            page = await world.store.audit(AuditQuery(job="drain"))
            assert [(entry.action, entry.by) for entry in page.items] == [
                (AuditAction.JOB_RESUMED, "api:token"),
                (AuditAction.JOB_SUSPENDED, "cli:ann"),
            ]

    in_virtual_time(story)


@pytest.mark.parametrize("job", [manual_job("drain"), event_job()], ids=["manual", "event"])
def test_a_suspended_job_is_not_started_by_hand_either(job: Job) -> None:
    async def story() -> None:
        world = World()
        async with world.engine(job) as engine:
            await engine.suspend("drain", by="cli:ann")
            with pytest.raises(Conflict, match="suspended by cli:ann at .*; 'scaler job resume drain'"):
                await engine.start("drain", None)
            assert await world.executions() == ()
            await engine.resume("drain")
            await engine.start("drain", None)
            assert len(await world.executions()) == 1

    in_virtual_time(story)


def test_only_jobs_that_are_there_are_suspended_or_resumed() -> None:
    async def story() -> None:
        async with World().engine() as engine:
            with pytest.raises(NotFound):
                await engine.suspend("nothing")
            with pytest.raises(NotFound):
                await engine.resume("nothing")

    in_virtual_time(story)


def test_a_suspension_outlives_restarts_edits_and_the_file_itself() -> None:
    async def story() -> None:
        world = World(work_s=1)
        world.queue.publish(5)
        job = event_job(high=1)
        async with world.engine(manual_job("drain")) as engine:
            await engine.suspend("drain", by="cli:ann")
        async with world.engine(job) as engine:
            await asyncio.sleep(MINUTE)
            await engine.put(replace(job, replica_retry_limit=3, generation=2))
            await asyncio.sleep(MINUTE)
            await engine.delete("drain")
            await engine.put(job)
            await asyncio.sleep(MINUTE)
            assert not world.queue.consumed
            assert engine.job("drain").suspended is not None
            await engine.resume("drain")
        async with world.engine(job):
            assert await world.drained(5)

    in_virtual_time(story)


@pytest.mark.parametrize(
    ("catch_up", "due"),
    [(CatchUp.NONE, [10, 50]), (CatchUp.LATEST, [10, 40, 50]), (CatchUp.ALL, [10, 20, 30, 40, 50])],
)
def test_due_times_missed_while_suspended_follow_the_catch_up_policy(
    catch_up: CatchUp, due: list[int]
) -> None:
    async def story() -> None:
        world = World()
        async with world.engine(_scheduled(catch_up)) as engine:
            start = world.clock.now()
            await asyncio.sleep(15 * MINUTE)
            await engine.suspend("tidy")
            await asyncio.sleep(30 * MINUTE)
            assert len(await world.executions("tidy")) == 1
            await engine.resume("tidy")
            await asyncio.sleep(10 * MINUTE)
        names = [int(s.execution.id.removeprefix("tidy-")) for s in await world.executions("tidy")]
        assert sorted(at - int(start.timestamp() // 60) for at in names) == due

    in_virtual_time(story)


def test_suspending_resuming_and_editing_at_once_leaves_one_loop() -> None:
    async def story() -> None:
        world = World(work_s=5)
        world.queue.publish(40)
        job = event_job(high=2, interval_s=1)
        async with world.engine(job) as engine:
            async with asyncio.TaskGroup() as tasks:
                for number in range(12):
                    tasks.create_task(engine.suspend("drain"))
                    tasks.create_task(engine.put(replace(job, generation=number + 2)))
                    tasks.create_task(engine.resume("drain"))
            await engine.resume("drain")
            assert await world.drained(40)
        assert world.executor.peak == 2

    in_virtual_time(story)
