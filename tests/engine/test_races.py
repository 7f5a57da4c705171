"""Moments that must not meet badly: an edit and a launch, an end and a time limit, a kill and a late reading."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from scaler.engine.limits import Limits
from scaler.errors import NotFound, PollError
from scaler.model.execution import ExecutionStatus
from scaler.model.replica import ReplicaHandle, ReplicaSpec, ReplicaStatus
from scaler.model.sample import Sample
from scaler.testing.fake_queue import FakeQueue, FakeScaler
from tests.engine.world import Pulse, World, event_job, in_virtual_time

SUCCEEDED = ExecutionStatus.SUCCEEDED


def test_an_edit_while_executions_are_being_recorded_launches_none_twice() -> None:
    async def story(after_ms: int) -> None:
        world = World(start_s=2.0, wait_s=1.0)
        world.queue.publish(3)
        job = event_job(high=3, interval_s=30)
        async with world.engine(job) as engine:
            await asyncio.sleep(after_ms / 1000)
            await engine.put(replace(job, generation=2))
            assert await world.drained(3)
        assert world.executor.peak == 3, after_ms
        assert world.queue.empty == 0, after_ms
        assert await world.statuses() == {SUCCEEDED: 3}, after_ms

    for after_ms in range(12):
        in_virtual_time(lambda at=after_ms: story(at))  # type: ignore[misc]


def test_a_replica_that_ends_while_its_timeout_is_being_recorded_ends_once() -> None:
    async def story(early_ms: int) -> None:
        world = World(work_s=5.0 - early_ms / 1000)
        world.queue.publish(1)
        async with world.engine(event_job(high=1, timeout_s=5)):
            ended = await world.until(
                lambda: not world.executor._things and world.queue.polls > 1, limit_s=20
            )
            assert ended, early_ms
        (state,) = (await world.executions())[-1:]
        assert state.execution.is_final, early_ms

    for early_ms in range(-6, 12):
        in_virtual_time(lambda early=early_ms: story(early))  # type: ignore[misc]


def test_who_asks_for_a_stop_may_leave_before_it_is_recorded() -> None:
    async def story() -> None:
        world = World(work_s=5.0)
        world.queue.publish(1)
        async with world.engine(event_job(high=1)) as engine:
            await world.until(lambda: world.executor.live == 1)
            await asyncio.sleep(0.1)
            (state,) = await world.executions()
            asked = asyncio.get_running_loop().create_task(engine.stop("drain", state.execution.id))
            await asyncio.sleep(0.001)
            asked.cancel()
            await world.until(lambda: world.executor.live == 0, limit_s=3)
            await asyncio.sleep(0.1)
        states = await world.executions()
        assert states[-1].execution.status is ExecutionStatus.STOPPED

    in_virtual_time(story)


def test_a_job_removed_while_its_executions_start_lets_them_start() -> None:
    async def story(after_ms: int) -> None:
        world = World(start_s=0.1, work_s=1.0)
        world.queue.publish(3)
        async with world.engine(event_job(high=3)) as engine:
            await asyncio.sleep(after_ms / 1000)
            await engine.delete("drain")
            begun = len(await world.executions())
            assert await world.until(lambda: len(world.queue.consumed) >= begun, limit_s=10), after_ms
            await asyncio.sleep(1)
        statuses = await world.statuses()
        assert set(statuses) <= {SUCCEEDED}, after_ms

    for after_ms in range(2, 12):
        in_virtual_time(lambda at=after_ms: story(at))  # type: ignore[misc]


@pytest.mark.parametrize("died_after_s", [0.1, 1.0, 3.0])
def test_figures_that_lag_start_nothing_for_executions_that_ended_before_a_restart(
    died_after_s: float,
) -> None:
    """The source tells what was true 5 s ago, and says so; the engine dies after the last end."""
    past: list[tuple[float, int]] = []

    async def keep(world: World) -> None:
        while True:
            past.append((world.clock.monotonic(), world.queue.depth))
            await asyncio.sleep(0.05)

    async def story() -> None:
        world = World(work_s=1.0)
        recorder = asyncio.get_running_loop().create_task(keep(world))
        world.queue.publish(4)

        async def poll(_self: FakeScaler) -> Sample:
            then = world.clock.monotonic() - 5.0
            value = float(next((n for at, n in reversed(past) if at <= then), 0))
            as_of = world.clock.now() - timedelta(seconds=5)
            return Sample(value=value, active=value > 0, as_of=as_of)

        job = event_job(high=4, interval_s=1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(FakeScaler, "poll", poll)
            async with world.engine(job):
                assert await world.drained(4)
                await asyncio.sleep(died_after_s)
            async with world.engine(job):
                await asyncio.sleep(10)
        recorder.cancel()
        assert world.queue.empty == 0
        assert await world.statuses() == {SUCCEEDED: 4}

    in_virtual_time(story)


@pytest.mark.parametrize("count", ["all", "ready"])
def test_waiting_messages_of_one_queue_start_beside_those_that_work_on_another(count: str) -> None:
    async def story() -> None:
        world = World(work_s=20.0, wait_s=100.0)
        other = FakeScaler.queues["other"] = FakeQueue()
        job = event_job(high=10, queues=("q", "other"), count=count, interval_s=1)
        world.queue.publish(3)
        async with world.engine(job):
            await asyncio.sleep(1.5)
            assert world.executor.live == 3
            other.publish(5)
            await asyncio.sleep(3)
            assert len(await world.executions()) == 8

    in_virtual_time(story)


@pytest.mark.parametrize(("value", "target"), [(1e308, 1e-3), (1e308, 1.0), (1.7e308, 5e-324)])
def test_a_number_beyond_all_bounds_is_cut_to_the_maximum(value: float, target: float) -> None:
    async def story() -> None:
        world = World(work_s=1.0)
        world.queue.publish(3)

        async def poll(_self: FakeScaler) -> Sample:
            return Sample(value=value, active=True, target=target)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(FakeScaler, "poll", poll)
            async with world.engine(event_job(high=3)):
                await asyncio.sleep(0.5)
                assert len(await world.executions()) == 3

    in_virtual_time(story)


def test_all_jobs_of_a_source_that_is_back_hear_of_it_within_their_interval() -> None:
    async def story() -> None:
        world = World(work_s=1.0)
        world.queue.fault = PollError("gone", reason="Unreachable")
        world.queue.poll_delay_s = 0.01
        jobs = [event_job(f"job-{n}", high=1, interval_s=30) for n in range(5)]
        async with world.engine(*jobs) as engine:
            await asyncio.sleep(100)
            world.queue.fault = None
            await asyncio.sleep(31)
            decisions = [view.last_decision for view in engine.jobs()]
            assert [d.rules[0].error for d in decisions if d is not None] == [None] * 5

    in_virtual_time(story)


def test_a_replica_without_a_log_hides_no_other_ones_log() -> None:
    async def story() -> None:
        world = World(work_s=5.0)
        world.queue.publish(1)
        async with world.engine(event_job(high=1, retries=1)) as engine:
            await world.until(lambda: world.executor.live == 1)
            await asyncio.sleep(0.1)
            (lost,) = world.executor._things
            world.executor.lose(lost)
            assert await world.until(lambda: len(world.executor.launches) == 2)
            (state,) = await world.executions()
            second = state.replicas[1].id

            async def logs(replica_id: str, *_args: object, **_kw: object) -> AsyncIterator[str]:
                if replica_id == lost:
                    raise NotFound(f"replica {lost}: no log")
                yield f"log of {replica_id}"

            world.executor.logs = logs  # type: ignore[method-assign]
            lines = [line async for line in engine.logs("drain", state.execution.id, tail=None, follow=False)]
        assert lines == [f"log of {second}"]

    in_virtual_time(story)


def test_an_execution_none_of_whose_replicas_has_a_log_is_told_as_such() -> None:
    async def story() -> None:
        world = World(work_s=5.0)
        world.queue.publish(1)
        async with world.engine(event_job(high=1)) as engine:
            await world.until(lambda: world.executor.live == 1)
            (state,) = await world.executions()

            async def logs(replica_id: str, *_args: object, **_kw: object) -> AsyncIterator[str]:
                raise NotFound(f"replica {replica_id}: no log")
                yield ""

            world.executor.logs = logs  # type: ignore[method-assign]
            with pytest.raises(NotFound, match="no log"):
                _ = [line async for line in engine.logs("drain", state.execution.id, tail=None, follow=False)]

    in_virtual_time(story)


def test_a_bug_in_a_scaler_is_logged_with_its_traceback_once_until_it_changes() -> None:
    async def story() -> None:
        world = World()

        async def poll(_self: FakeScaler) -> Sample:
            raise OverflowError("int too large")

        with pytest.MonkeyPatch.context() as patch, capture_logs() as lines:
            patch.setattr(FakeScaler, "poll", poll)
            async with world.engine(event_job(interval_s=1)):
                await asyncio.sleep(10)
        assert [line["event"] for line in lines if "exc_info" in line] == ["rule.fault"]

    in_virtual_time(story)


def test_a_source_that_is_slower_than_a_short_interval_is_read_all_the_same() -> None:
    async def story() -> None:
        world = World(start_s=0.5, work_s=1.0)
        world.queue.poll_delay_s = 2.0
        world.queue.publish(12)
        async with world.engine(event_job(high=4, interval_s=1)):
            assert await world.drained(12, limit_s=60)
            await asyncio.sleep(5)
        assert world.queue.empty == 0
        assert await world.statuses() == {SUCCEEDED: 12}

    in_virtual_time(story)


@pytest.mark.parametrize(
    ("setting_s", "interval_s", "limit_s"), [(10, 1, 3), (10, 5, 5), (10, 30, 10), (0.5, 1, 0.5), (2, 30, 2)]
)
def test_a_poll_may_take_the_interval_but_3_s_in_any_case_and_never_more_than_the_setting(
    setting_s: float, interval_s: float, limit_s: float
) -> None:
    assert Limits(poll_s=setting_s).poll_timeout(interval_s) == limit_s


def test_what_ended_while_no_engine_was_there_is_not_started_again_however_slow_launches_are() -> None:
    async def story(kill_at: int) -> None:
        world = World(work_s=0.05)
        world.queue.publish(2)
        job = event_job(high=2)
        pulse = Pulse(kill_at, after=True)
        async with world.engine(job, pulse=pulse):
            await world.until(lambda: pulse.dead, limit_s=5)
        await asyncio.sleep(1)
        launch = world.executor.launch

        async def queued(spec: ReplicaSpec) -> ReplicaHandle:
            await asyncio.sleep(1)
            return await launch(spec)

        world.executor.launch = queued  # type: ignore[method-assign]
        async with world.engine(job) as engine:
            assert await world.drained(2), kill_at
            await asyncio.sleep(5)
            assert len(engine._fleet) == 0, kill_at
        assert set(world.executor.launches.values()) == {1}, kill_at
        assert world.queue.empty == 0, kill_at
        assert await world.statuses() == {SUCCEEDED: 2}, kill_at

    for kill_at in range(1, 16):
        in_virtual_time(lambda at=kill_at: story(at))  # type: ignore[misc]


def test_a_stop_that_was_recorded_before_a_kill_ends_what_was_never_started() -> None:
    async def story() -> None:
        world = World(work_s=1.0)
        world.executor.unavailable = True
        world.queue.publish(1)
        job = event_job(high=1, interval_s=300)
        pulse = Pulse()
        async with world.engine(job, pulse=pulse) as engine:
            await asyncio.sleep(1)
            (state,) = await world.executions()
            await engine.stop("drain", state.execution.id)
            pulse.dead = True
        world.executor.unavailable = False
        async with world.engine(job):
            await asyncio.sleep(5)
        states = {s.execution.id: s for s in await world.executions()}
        stopped = states[state.execution.id]
        assert stopped.execution.status is ExecutionStatus.STOPPED
        assert stopped.replicas[0].status is ReplicaStatus.STOPPED
        assert world.executor.launches.keys().isdisjoint({stopped.replicas[0].id})

    in_virtual_time(story)


def test_a_stopped_replica_whose_start_is_under_way_at_a_restart_is_stopped_and_not_forgotten() -> None:
    async def story() -> None:
        world = World(work_s=30.0)
        world.executor.start_delay_s = 2.0
        world.queue.publish(1)
        job = event_job(high=1, interval_s=300, refill=False)
        pulse = Pulse()
        async with world.engine(job, pulse=pulse) as engine:
            await asyncio.sleep(0.5)
            (state,) = await world.executions()
            await engine.stop("drain", state.execution.id)
            pulse.dead = True
        async with world.engine(event_job(high=0, interval_s=300)):
            await asyncio.sleep(5)
            assert world.executor.live == 0
        assert await world.statuses() == {ExecutionStatus.STOPPED: 1}
        assert world.executor._things == {}

    in_virtual_time(story)


def test_a_job_removed_right_after_a_restart_lets_what_was_recorded_start() -> None:
    async def story() -> None:
        world = World(work_s=0.5)
        world.executor.unavailable = True
        world.queue.publish(2)
        pulse = Pulse()
        async with world.engine(event_job(high=2), pulse=pulse):
            await asyncio.sleep(1)
            pulse.dead = True
        async with world.engine(event_job(high=2)) as engine:
            await engine.delete("drain")
            world.executor.unavailable = False
            assert await world.drained(2, limit_s=30)
        assert await world.statuses() == {SUCCEEDED: 2}

    in_virtual_time(story)
