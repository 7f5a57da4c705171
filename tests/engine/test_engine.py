"""The engine over fakes, in virtual time: drains, refills, failures, and edits."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from scaler.errors import NotFound, PollError
from scaler.model.decision import Occasion, Reason
from scaler.model.execution import Cause, ExecutionStatus
from scaler.model.job import StrategyName
from tests.engine.world import World, event_job, in_virtual_time, manual_job

SUCCEEDED = ExecutionStatus.SUCCEEDED


@pytest.mark.parametrize("count", ["all", "ready", "blind"])
@pytest.mark.parametrize(
    ("start_s", "work_s", "interval_s"),
    [(0.0, 1.0, 30), (5.0, 1.0, 1), (0.0, 0.01, 30), (0.2, 30.0, 10), (7.0, 0.1, 2)],
)
def test_a_flood_drains_with_one_execution_a_message(
    count: str, start_s: float, work_s: float, interval_s: float
) -> None:
    async def story() -> None:
        world = World(start_s=start_s, work_s=work_s, wait_s=2.0)
        world.queue.publish(40)
        async with world.engine(event_job(high=8, count=count, interval_s=interval_s)):
            assert await world.drained(40)
        assert set(world.queue.consumed.values()) == {1}
        assert world.queue.empty == 0
        assert world.executor.peak <= 8
        assert await world.statuses() == {SUCCEEDED: 40}

    in_virtual_time(story)


@pytest.mark.parametrize("count", ["all", "ready"])
def test_steady_arrivals_get_one_execution_each(count: str) -> None:
    async def story() -> None:
        world = World(start_s=0.4, work_s=0.7, wait_s=2.0)
        async with world.engine(event_job(high=5, count=count, interval_s=1)):
            for _ in range(100):
                world.queue.publish(1)
                await asyncio.sleep(0.3)
            assert await world.drained(100)
        assert world.queue.empty == 0
        assert await world.statuses() == {SUCCEEDED: 100}

    in_virtual_time(story)


def test_a_slot_is_not_idle_until_the_next_interval() -> None:
    async def story() -> None:
        world = World(work_s=1.0)
        world.queue.publish(60)
        async with world.engine(event_job(high=6, interval_s=30)):
            assert await world.drained(60, limit_s=25)

    in_virtual_time(story)


def test_a_source_that_sees_ready_messages_only_keeps_slots_filled_to_the_end() -> None:
    """Workers that use basic.get show no consumer; the falls of the count tell that they have taken theirs."""

    async def story() -> None:
        world = World(work_s=1.0)
        world.queue.publish(62)
        async with world.engine(event_job(high=6, interval_s=30, count="blind")):
            assert await world.drained(62, limit_s=17)
        assert world.queue.empty == 0
        assert await world.statuses() == {SUCCEEDED: 62}

    in_virtual_time(story)


def test_without_refill_the_interval_is_strict() -> None:
    async def story() -> None:
        world = World(work_s=1.0)
        world.queue.publish(12)
        async with world.engine(event_job(high=6, interval_s=30, refill=False)):
            await asyncio.sleep(29)
            assert len(world.queue.consumed) == 6
            assert await world.drained(12, limit_s=5)

    in_virtual_time(story)


def test_a_slow_poll_does_not_count_the_same_message_twice() -> None:
    async def story() -> None:
        world = World(work_s=0.5)
        world.queue.poll_delay_s = 0.9
        world.queue.publish(30)
        async with world.engine(event_job(high=4, interval_s=1)):
            assert await world.drained(30)
        assert world.queue.empty == 0
        assert await world.statuses() == {SUCCEEDED: 30}

    in_virtual_time(story)


def test_an_unknown_count_launches_nothing_and_is_said_once() -> None:
    async def story() -> None:
        world = World()
        world.queue.publish(5)
        world.queue.fault = PollError("refused", reason="Unreachable")
        async with world.engine(event_job(low=2, interval_s=1)) as engine:
            await asyncio.sleep(20)
            assert world.executor.launches == {}
            view = engine.job("drain")
            assert [(c.type, c.status, c.reason) for c in view.conditions] == [
                ("Ready", "False", "TriggerError"),
                ("Active", "True", "ScalerActive"),
                ("Healthy", "True", "Closed"),
            ]
            world.queue.fault = None
            assert await world.until(lambda: len(world.queue.consumed) == 5)
        decisions = await world.store.decisions("drain", limit=100)
        assert {d.reason for d in decisions if d.launch == 0} >= {Reason.UNKNOWN_COUNT}

    in_virtual_time(story)


def test_a_source_that_hangs_delays_no_other_job() -> None:
    async def story() -> None:
        world = World(work_s=0.1)
        from scaler.testing.fake_queue import FakeQueue, FakeScaler

        hanging = FakeScaler.queues["hang"] = FakeQueue()
        hanging.poll_delay_s = 10_000
        async with world.engine(
            event_job("stuck", queues=("hang",), interval_s=5), event_job(interval_s=1)
        ) as engine:
            await asyncio.sleep(60)
            world.queue.publish(1)
            assert await world.drained(1, limit_s=2)
            health = await engine.health()
        assert health.lateness_p99_s < 0.1
        stuck = await world.store.decisions("stuck", limit=5)
        assert stuck[0].rules[0].error_reason == "Timeout"

    in_virtual_time(story)


def test_an_edit_touches_no_running_execution_and_applies_at_once() -> None:
    async def story() -> None:
        world = World(work_s=60)
        world.queue.publish(6)
        job = event_job(high=2, interval_s=30)
        async with world.engine(job) as engine:
            await asyncio.sleep(5)
            assert world.executor.live == 2
            wider = replace(job.trigger, max_executions=5)
            await engine.put(replace(job, trigger=wider, generation=2))
            await asyncio.sleep(1)
            assert world.executor.live == 5
            assert await world.drained(6)
        assert await world.statuses() == {SUCCEEDED: 6}
        generations = [s.execution.generation for s in await world.executions()]
        assert sorted(generations) == [1, 1, 2, 2, 2, 2]

    in_virtual_time(story)


def test_a_lowered_maximum_stops_nothing_and_starts_nothing() -> None:
    async def story() -> None:
        world = World(work_s=60)
        world.queue.publish(10)
        job = event_job(high=5, interval_s=1)
        async with world.engine(job) as engine:
            await asyncio.sleep(5)
            await engine.put(replace(job, trigger=replace(job.trigger, max_executions=2)))
            await asyncio.sleep(5)
            assert world.executor.live == 5
            assert len(world.executor.launches) == 5

    in_virtual_time(story)


def test_a_removed_job_starts_nothing_more_and_its_executions_end() -> None:
    async def story() -> None:
        world = World(work_s=10)
        world.queue.publish(10)
        async with world.engine(event_job(high=3, interval_s=1)) as engine:
            await asyncio.sleep(2)
            await engine.delete("drain")
            await asyncio.sleep(30)
        assert await world.statuses() == {SUCCEEDED: 3}

    in_virtual_time(story)


def test_an_execution_started_by_hand_takes_no_event_slot() -> None:
    async def story() -> None:
        world = World(work_s=10)
        world.queue.publish(3)
        async with world.engine(event_job(high=2, interval_s=1)) as engine:
            await engine.start("drain", None)
            await asyncio.sleep(3)
            view = engine.job("drain")
            assert (view.running, view.running_other) == (2, 1)
            assert await world.drained(3)
        causes = sorted(s.execution.cause for s in await world.executions())
        assert causes == [Cause.EVENT, Cause.EVENT, Cause.MANUAL]

    in_virtual_time(story)


def test_a_stop_ends_the_execution_and_gives_the_message_back() -> None:
    async def story() -> None:
        world = World(work_s=100)
        world.queue.publish(1)
        async with world.engine(event_job(high=1, interval_s=1000, refill=False)) as engine:
            await asyncio.sleep(2)
            (state,) = await world.executions()
            await engine.stop("drain", state.execution.id, by="cli:ann")
            assert await world.until(lambda: world.executor.live == 0, limit_s=2)
            await asyncio.sleep(1)
            again = await engine.stop("drain", state.execution.id)
            assert again.execution.status is ExecutionStatus.STOPPED
            assert again.execution.message == "stopped by cli:ann"
            with pytest.raises(NotFound):
                await engine.stop("drain", "drain-nothing")
        assert world.queue.depth == 1

    in_virtual_time(story)


def test_a_replica_that_runs_too_long_is_stopped_and_fails() -> None:
    async def story() -> None:
        world = World(work_s=1000)
        world.queue.publish(1)
        async with world.engine(event_job(high=1, interval_s=5000, timeout_s=20, refill=False)):
            await world.until(lambda: world.executor.peak == 1 and world.executor.live == 0, limit_s=60)
            await asyncio.sleep(0.1)
        (state,) = await world.executions()
        assert (state.execution.status, state.execution.reason) == (
            ExecutionStatus.FAILED,
            "ReplicaTimeout",
        )
        assert state.execution.ended_at is not None and state.execution.started_at is not None
        ran = state.execution.ended_at - state.execution.started_at
        assert timedelta(seconds=20) <= ran < timedelta(seconds=21)

    in_virtual_time(story)


def test_refused_launches_are_held_back_for_a_growing_time() -> None:
    async def story() -> None:
        world = World()
        world.queue.publish(1)
        world.executor.refuse = "no such image"
        async with world.engine(event_job(high=4, interval_s=1)) as engine:
            await asyncio.sleep(120)
            assert engine.job("drain").conditions[0].reason == "LaunchBackoff"
        assert 4 <= len(await world.executions()) <= 10
        (first, *_rest) = await world.executions()
        assert first.execution.reason == "StartFailed"

    in_virtual_time(story)


def test_an_unavailable_executor_loses_nothing_and_recovers_by_itself() -> None:
    async def story() -> None:
        world = World(work_s=1.0)
        world.queue.publish(20)
        async with world.engine(event_job(high=4, interval_s=5)):
            await asyncio.sleep(2)
            world.executor.unavailable = True
            await asyncio.sleep(60)
            world.executor.unavailable = False
            assert await world.drained(20)
        assert world.executor.peak <= 4
        assert await world.statuses() == {SUCCEEDED: 20}

    in_virtual_time(story)


def test_a_replica_that_vanishes_is_started_again_by_its_execution() -> None:
    async def story() -> None:
        world = World(work_s=20)
        world.queue.publish(1)
        async with world.engine(event_job(high=1, interval_s=5)):
            await asyncio.sleep(3)
        (replica_id,) = world.executor.launches
        world.executor.lose(replica_id)
        async with world.engine(event_job(high=1, interval_s=5)):
            assert await world.drained(1)
        (state,) = await world.executions()
        assert state.execution.status is SUCCEEDED
        lost, again = state.replicas
        assert (lost.status, lost.reason, lost.fault) == ("Unknown", "Lost", "infra")
        assert (again.attempt, again.status, again.fault) == (2, "Succeeded", None)
        assert again.started_at is not None
        assert again.not_before is not None
        assert again.started_at >= again.not_before

    in_virtual_time(story)


def test_every_tick_leaves_a_decision_with_its_occasion() -> None:
    async def story() -> None:
        world = World(work_s=1.0)
        world.queue.publish(2)
        async with world.engine(event_job(high=1, interval_s=10)):
            assert await world.drained(2)
            await asyncio.sleep(11)
        decisions = await world.store.decisions("drain", limit=100)
        occasions = [d.occasion for d in reversed(decisions)]
        assert occasions[:2] == [Occasion.TICK, Occasion.REFILL]
        assert sum(d.launch for d in decisions) == 2
        explained = {Reason.LAUNCHED, Reason.NO_WORK, Reason.ALL_CLAIMED, Reason.AT_MAX}
        assert {d.reason for d in decisions} <= explained
        assert all(d.formula and d.message for d in decisions)

    in_virtual_time(story)


def test_an_idle_job_that_reads_the_same_is_recorded_once_a_minute_and_shows_the_time_of_its_last_poll() -> (
    None
):
    async def story() -> None:
        world = World()
        async with world.engine(event_job(interval_s=1)) as engine:
            await asyncio.sleep(150)
            recorded = await world.store.decisions("drain", limit=1000)
            latest = engine.job("drain").last_decision
            polls = world.queue.polls
            world.queue.fault = PollError("gone", reason="Unreachable")
            await asyncio.sleep(3)
            world.queue.fault = None
            await asyncio.sleep(3)
            after = await world.store.decisions("drain", limit=1000)
        assert polls >= 150
        assert len(recorded) == 3
        assert latest is not None
        assert (latest.id, latest.reason) == (recorded[0].id, Reason.NO_WORK)
        assert latest.at - recorded[0].at > timedelta(seconds=20)
        assert [d.reason for d in after[: len(after) - 3]][-4:] == [
            Reason.NO_WORK,
            Reason.UNKNOWN_COUNT,
            Reason.UNKNOWN_COUNT,
            Reason.UNKNOWN_COUNT,
        ]

    in_virtual_time(story)


def test_a_day_of_polls_does_not_drift() -> None:
    async def story() -> None:
        world = World()
        async with world.engine(event_job(interval_s=30)) as engine:
            await asyncio.sleep(86_400 - 1)
            health = await engine.health()
        assert world.queue.polls == 2880
        assert health.lateness_p99_s < 0.01

    in_virtual_time(story)


@pytest.mark.parametrize("strategy", [s for s in StrategyName if s is not StrategyName.AUTO])
def test_kedas_strategies_never_exceed_the_maximum(strategy: StrategyName) -> None:
    async def story() -> None:
        world = World(start_s=1, work_s=3)
        world.queue.publish(30)
        async with world.engine(event_job(high=4, interval_s=1, strategy=strategy)):
            await world.until(lambda: len(world.queue.consumed) >= 30)
        assert world.executor.peak <= 4
        assert len(world.queue.consumed) == 30

    in_virtual_time(story)


def test_a_job_started_by_hand_runs_its_parallel_replicas() -> None:
    async def story() -> None:
        world = World()

        async def work(_spec: object) -> int:
            await asyncio.sleep(2)
            return 0

        world.executor.behaviour = work
        async with world.engine(manual_job(parallelism=3, replica_completion_count=5)) as engine:
            state = await engine.start("by-hand", None)
            assert await world.until(lambda: not engine.job("by-hand").running_other)
        final = await world.store.execution("by-hand", state.execution.id)
        assert final is not None
        assert final.execution.status is SUCCEEDED
        assert len(final.replicas) == 5
        assert world.executor.peak == 3

    in_virtual_time(story)
