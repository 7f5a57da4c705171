"""Edits that point a job at another queue: what runs keeps its slots, and claims no message of the new one."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from scaler.model.job import EventTrigger, Job
from scaler.testing.fake_queue import FakeQueue, FakeScaler
from tests.engine.world import World, event_job, in_virtual_time


def _other(job: Job, generation: int = 2, **metadata: str) -> Job:
    assert isinstance(job.trigger, EventTrigger)
    (rule,) = job.trigger.rules
    rule = replace(rule, metadata={**rule.metadata, **metadata})
    return replace(job, trigger=replace(job.trigger, rules=(rule,)), generation=generation)


def _world() -> tuple[World, FakeQueue]:
    world, second = World(work_s=300), FakeQueue()
    FakeScaler.queues["other"] = second
    world.queue.publish(3)
    second.publish(9)
    return world, second


@pytest.mark.parametrize("count", ["all", "ready", "blind"])
def test_another_queue_gets_the_free_slots_at_once(count: str) -> None:
    async def story() -> None:
        world, _second = _world()
        job = event_job(high=5, interval_s=1, count=count)
        async with world.engine(job) as engine:
            await asyncio.sleep(5)
            assert engine.job("drain").running == 3
            await engine.put(_other(job, queue="other"))
            await asyncio.sleep(3)
            assert engine.job("drain").running == 5
            decision = engine.job("drain").last_decision
            assert decision is not None
            assert "3 live of another source" in decision.formula

    in_virtual_time(story)


def test_it_is_known_after_a_restart_too() -> None:
    async def story() -> None:
        world, _second = _world()
        job = event_job(high=5, interval_s=1)
        async with world.engine(job):
            await asyncio.sleep(5)
        async with world.engine(_other(job, queue="other")) as engine:
            await asyncio.sleep(3)
            assert engine.job("drain").running == 5
        async with world.engine(_other(job, queue="other")) as engine:
            await asyncio.sleep(3)
            assert engine.job("drain").running == 5
        assert world.executor.peak == 5

    in_virtual_time(story)


def test_an_edit_that_keeps_the_queue_starts_no_second_execution_for_a_message() -> None:
    async def story() -> None:
        world, _second = _world()
        job = event_job(high=9, interval_s=1)
        async with world.engine(job) as engine:
            await asyncio.sleep(5)
            await engine.put(_other(job, count="blind", length="1"))
            await asyncio.sleep(3)
            assert engine.job("drain").running == 3

    in_virtual_time(story)


def test_adding_a_queue_lets_what_runs_claim_as_before() -> None:
    async def story() -> None:
        world, second = _world()
        second.waiting.clear()
        job = event_job(high=9, interval_s=1)
        both = event_job(high=9, interval_s=1, queues=("q", "other"))
        async with world.engine(job) as engine:
            await asyncio.sleep(5)
            await engine.put(replace(both, generation=2))
            await asyncio.sleep(3)
            assert engine.job("drain").running == 3

    in_virtual_time(story)
