"""Executions that are handed a share: drains, failures, edits, and the engine killed between any two steps."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from scaler.engine.ledger import End, Ledger
from scaler.model.decision import Reason
from scaler.model.execution import ExecutionStatus
from scaler.model.job import Job
from scaler.testing.fake_topic import VARIABLE
from tests.engine.world import Pulse, TopicWorld, event_job, in_virtual_time, topic_job

SUCCEEDED, FAILED = ExecutionStatus.SUCCEEDED, ExecutionStatus.FAILED


def _assert_each_once(world: TopicWorld, count: int) -> None:
    assert len(world.topic.consumed) == count
    assert set(world.topic.consumed.values()) == {1}
    assert (world.topic.empty, world.topic.strangers, world.topic.most_at_once) == (0, 0, 1)


@pytest.mark.parametrize("poll_s", [0.0, 0.7])
@pytest.mark.parametrize(
    ("start_s", "work_s", "interval_s"), [(0.0, 1.0, 30), (5.0, 1.0, 1), (0.0, 0.01, 30), (0.2, 30.0, 10)]
)
def test_a_flood_drains_with_one_execution_a_message_and_one_a_partition_at_a_time(
    start_s: float, work_s: float, interval_s: float, poll_s: float
) -> None:
    async def story() -> None:
        world = TopicWorld(5, start_s=start_s, work_s=work_s)
        world.topic.poll_delay_s = poll_s
        world.topic.publish(40)
        async with world.engine(topic_job(high=3, interval_s=interval_s)):
            assert await world.drained(40)
        _assert_each_once(world, 40)
        assert world.executor.peak == 3
        assert await world.statuses() == {SUCCEEDED: 40}

    in_virtual_time(story)


def test_an_uneven_topic_is_worked_on_from_its_longest_partition() -> None:
    async def story() -> None:
        world = TopicWorld(3, work_s=1.0)
        for partition, count in enumerate((1, 9, 4)):
            world.topic.publish(count, partition=partition)
        async with world.engine(topic_job(high=1, interval_s=2)):
            assert await world.drained(14)
        _assert_each_once(world, 14)
        records = sorted(await world.executions(), key=lambda state: state.execution.created_at)
        order = [state.execution.share.key for state in records if state.execution.share]
        assert order[:6] == ["t/1"] * 5 + ["t/2"]  # of two with four left, the one not served yet
        assert Counter(order) == {"t/0": 1, "t/1": 9, "t/2": 4}

    in_virtual_time(story)


def test_steady_arrivals_get_one_execution_each() -> None:
    async def story() -> None:
        world = TopicWorld(4, start_s=0.4, work_s=0.7)
        async with world.engine(topic_job(high=8, interval_s=1)):
            for number in range(60):
                world.topic.publish(1, partition=number % 4)
                await asyncio.sleep(0.4)
            assert await world.drained(60)
        _assert_each_once(world, 60)
        assert world.executor.peak <= 4

    in_virtual_time(story)


def test_a_retry_works_on_the_same_share_and_a_failed_execution_frees_it() -> None:
    async def story() -> None:
        world = TopicWorld(2, work_s=0.5)
        world.topic.publish(1, partition=1)
        world.topic.failures = 4
        async with world.engine(topic_job(high=2, interval_s=5, retries=1)):
            assert await world.drained(1)
        _assert_each_once(world, 1)
        assert await world.statuses() == {FAILED: 2, SUCCEEDED: 1}
        records = await world.executions()
        assert [len(state.replicas) for state in records] == [1, 2, 2]
        assert {state.execution.share and state.execution.share.key for state in records} == {"t/1"}

    in_virtual_time(story)


def test_what_was_handed_out_stands_in_the_decision() -> None:
    async def story() -> None:
        world = TopicWorld(3, work_s=5.0)
        world.topic.publish(2, partition=0)
        world.topic.publish(5, partition=2)
        async with world.engine(topic_job(high=4, interval_s=2)):
            await asyncio.sleep(3)
        second, first = await world.store.decisions("drain", limit=2)
        assert (first.launch, first.handed, first.held) == (2, ("t/2", "t/0"), ())
        assert (second.launch, second.handed, second.held) == (0, (), ("t/0", "t/2"))
        assert second.reason is Reason.ALL_CLAIMED
        assert (first.rules[0].value, first.rules[0].needed, first.rules[0].shares) == (7, 2, 3)

    in_virtual_time(story)


def test_an_edit_that_begins_to_hand_out_waits_for_executions_that_have_no_share() -> None:
    """They are started by a rule of the same job on a queue, and take no partition that is known."""

    async def story() -> None:
        world = TopicWorld(2, work_s=4.0)
        world.queue.publish(2)
        world.topic.publish(2)
        async with world.engine(event_job(high=4, interval_s=2)) as engine:
            await world.until(lambda: world.topic.strangers == 2)
            world.queue.waiting.clear()
            await engine.put(topic_job(high=4, interval_s=2))
            await asyncio.sleep(2.5)
            assert world.executor.live == 2
            assert (await world.store.decisions("drain", limit=1))[0].reason is Reason.ALL_CLAIMED
            assert await world.drained(2)
        assert (world.topic.most_at_once, world.topic.empty) == (1, 0)

    in_virtual_time(story)


def test_an_execution_started_by_hand_has_no_share_and_takes_none() -> None:
    async def story() -> None:
        world = TopicWorld(1, work_s=1.0)
        world.topic.publish(2)
        async with world.engine(topic_job(high=1, interval_s=2)) as engine:
            state = await engine.start("drain", None)
            assert state.execution.share is None
            assert await world.drained(2)
        assert (world.topic.strangers, world.topic.most_at_once) == (1, 1)
        assert await world.statuses() == {SUCCEEDED: 3}

    in_virtual_time(story)


def test_what_a_former_process_saw_end_is_still_held_for_a_reading_from_before() -> None:
    ledger = Ledger(ended_kept_s=60)
    ledger.recall("drain", [End(at=_at(5), share="t/1"), End(at=_at(9)), End(at=_at(7), share="t/0")])
    counts = ledger.counts("drain", _at(10))
    assert counts.released == (("t/1", _at(5)), ("t/0", _at(7)))
    assert (counts.holders_since(_at(6)), counts.unshared_since(_at(6))) == ({"t/0"}, 1)
    assert (counts.holders_since(_at(10)), counts.unshared_since(_at(10))) == (set(), 0)
    assert ledger.counts("drain", _at(66)).released == (("t/0", _at(7)),)


def _at(seconds: float) -> datetime:
    return datetime(2026, 3, 1, 12, tzinfo=UTC) + timedelta(seconds=seconds)


# --- the engine killed ----------------------------------------------------------------------------------

MESSAGES, MAXIMUM = 5, 2


async def _flood(world: TopicWorld, pulse: Pulse, job: Job) -> bool:
    async with world.engine(job, pulse=pulse):
        return await world.drained(MESSAGES, limit_s=120, pulse=pulse)


def _world() -> TopicWorld:
    world = TopicWorld(3, start_s=0.5, work_s=1.0)
    world.topic.publish(MESSAGES)
    return world


def test_killed_before_or_after_any_step_no_partition_has_two_and_none_is_lost() -> None:
    job = topic_job(high=MAXIMUM, interval_s=5)
    quiet = Pulse()

    async def whole() -> None:
        assert await _flood(_world(), quiet, job)

    in_virtual_time(whole)
    assert quiet.calls > 40
    for at in range(1, quiet.calls + 1):
        for after in (False, True):

            async def story(at: int = at, after: bool = after) -> None:
                world, where = _world(), f"killed at call {at}, after={after}"
                await _flood(world, Pulse(at, after=after), job)
                await asyncio.sleep(0.7)
                assert await _flood(world, Pulse(), job), where
                assert world.topic.consumed == {f"{n % 3}/{n // 3}": 1 for n in range(MESSAGES)}, where
                assert (world.topic.empty, world.topic.strangers, world.topic.most_at_once) == (0, 0, 1), (
                    where
                )
                assert set(world.executor.launches.values()) == {1}, where
                assert len(world.executor.launches) == MESSAGES, where
                assert world.executor.peak <= MAXIMUM, where
                assert await world.statuses() == {SUCCEEDED: MESSAGES}, where

            in_virtual_time(story)


def test_a_replica_that_is_launched_by_the_next_process_gets_the_share_of_its_record() -> None:
    async def story() -> None:
        world = _world()
        handed: list[str] = []
        inner = world.executor.behaviour

        async def watched(spec: object) -> int:
            handed.append(spec.env[VARIABLE].reveal())  # type: ignore[attr-defined]
            return await inner(spec)  # type: ignore[arg-type]

        world.executor.behaviour = watched
        world.executor.unavailable = True
        job = topic_job(high=MAXIMUM, interval_s=5)
        async with world.engine(job):
            await asyncio.sleep(2)
        recorded = await world.executions()
        assert len(recorded) == MAXIMUM
        assert handed == []
        world.executor.unavailable = False
        assert await _flood(world, Pulse(), job)
        keys = {f"t/{partition}" for partition in handed[:MAXIMUM]}
        assert keys == {state.execution.share.key for state in recorded if state.execution.share}
        _assert_each_once(world, MESSAGES)

    in_virtual_time(story)
