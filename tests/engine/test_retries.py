"""Retries and time limits in the engine's hands: pauses, stops during them, restarts of the daemon."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from scaler.model.execution import Cause, ExecutionState, ExecutionStatus, Trigger
from scaler.model.replica import Fault, ReplicaExit, ReplicaSpec, ReplicaStatus
from scaler.planning.retries import INFRA_RESTARTS
from tests.engine.world import World, event_job, in_virtual_time, manual_job

SECOND = timedelta(seconds=1)


async def _fails(_spec: ReplicaSpec) -> int:
    await asyncio.sleep(1)
    return 3


def _world(behaviour: object = _fails) -> World:
    world = World()
    world.executor.behaviour = behaviour  # type: ignore[assignment]
    return world


async def _only(world: World, job: str = "by-hand") -> ExecutionState:
    (state,) = await world.executions(job)
    return state


def _pauses(state: ExecutionState) -> list[float]:
    """Seconds between the failure of each replica and the launch of the next, as recorded."""
    pairs = zip(state.replicas, state.replicas[1:], strict=False)
    return [
        (after.launched_at - before.ended_at).total_seconds()
        for before, after in pairs
        if after.launched_at and before.ended_at
    ]


async def _ended(world: World, job: str = "by-hand", *, limit_s: float = 900) -> ExecutionState:
    for _ in range(int(limit_s * 10)):
        state = await _only(world, job)
        if state.execution.is_final and all(r.removed for r in state.replicas):
            return state
        await asyncio.sleep(0.1)
    raise AssertionError(f"not over after {limit_s} s: {await _only(world, job)}")


def test_each_retry_comes_after_a_longer_pause_and_every_phase_is_recorded() -> None:
    async def story() -> None:
        world = _world()
        async with world.engine(manual_job(replica_retry_limit=3)) as engine:
            await engine.start("by-hand", None, by="cli:ann")
            state = await _ended(world)
        assert (state.execution.status, state.execution.reason) == ("Failed", "BackoffLimitExceeded")
        assert [round(pause) for pause in _pauses(state)] == [1, 2, 4]
        assert state.execution.trigger == Trigger(kind=Cause.MANUAL, by="cli:ann")
        for replica in state.replicas:
            phases = (
                replica.created_at, replica.launched_at, replica.started_at, replica.ended_at, replica.removed_at,
            )  # fmt: skip
            known = [moment for moment in phases if moment is not None]
            assert len(known) == 5
            assert known == sorted(known)

    in_virtual_time(story)


def test_a_stop_ends_the_pause_and_starts_nothing_more() -> None:
    async def story() -> None:
        world = _world()
        async with world.engine(manual_job(replica_retry_limit=9)) as engine:
            name = (await engine.start("by-hand", None)).execution.id
            while len((await _only(world)).replicas) < 6:
                await asyncio.sleep(0.1)
            began = world.clock.monotonic()
            await engine.stop("by-hand", name)
            state = await _ended(world, limit_s=5)
            assert world.clock.monotonic() - began < 5  # the pause before the sixth is 16 s
        last = state.replicas[-1]
        assert state.execution.status is ExecutionStatus.STOPPED
        assert (last.status, last.reason, last.started_at) == (ReplicaStatus.STOPPED, "NeverStarted", None)
        assert last.id not in world.executor.launches

    in_virtual_time(story)


def test_a_daemon_that_restarts_during_a_pause_waits_for_what_is_left_of_it() -> None:
    async def story() -> None:
        world = _world()
        job = manual_job(replica_retry_limit=6)
        async with world.engine(job) as engine:
            await engine.start("by-hand", None)
            while len((await _only(world)).replicas) < 5:
                await asyncio.sleep(0.1)
            await asyncio.sleep(3)  # of 8 s
        async with world.engine(job):
            await world.until(lambda: len(world.executor.launches) == 5)
            await asyncio.sleep(1)
            state = await _only(world)
        assert round(_pauses(state)[3]) == 8
        assert set(world.executor.launches.values()) == {1}

    in_virtual_time(story)


def test_a_pause_never_grows_when_the_clock_is_set_back() -> None:
    async def story() -> None:
        world = _world()
        async with world.engine(manual_job(replica_retry_limit=1)) as engine:
            await engine.start("by-hand", None)
            while len((await _only(world)).replicas) < 2:
                await asyncio.sleep(0.1)
        waiting = await _only(world)
        later = replace(waiting.replicas[1], not_before=world.clock.now() + timedelta(hours=1))
        await world.store.apply(replace(waiting, replicas=(waiting.replicas[0], later)))
        async with world.engine(manual_job(replica_retry_limit=1)):
            assert await world.until(lambda: len(world.executor.launches) == 2, limit_s=70)

    in_virtual_time(story)


@pytest.mark.parametrize("down_s", [5, 500])
def test_what_ended_while_no_daemon_ran_is_judged_by_how_it_ended(down_s: float) -> None:
    """Also if its time limit passed meanwhile: it was over before."""

    async def works(_spec: ReplicaSpec) -> int:
        await asyncio.sleep(4)
        return 0

    async def story() -> None:
        world = _world(works)
        async with world.engine(manual_job()) as engine:
            await engine.start("by-hand", None)
            await asyncio.sleep(2)
        await asyncio.sleep(down_s)
        async with world.engine(manual_job()):
            state = await _ended(world)
        assert (state.execution.status, state.execution.reason) == ("Succeeded", "Completed")

    in_virtual_time(story)


def test_a_replica_that_overran_while_no_daemon_ran_is_stopped_by_the_next_one() -> None:
    async def hangs(_spec: ReplicaSpec) -> int:
        await asyncio.sleep(10_000)
        return 0

    async def story() -> None:
        world = _world(hangs)
        async with world.engine(manual_job()) as engine:
            await engine.start("by-hand", None)
            await asyncio.sleep(2)
        await asyncio.sleep(100)
        async with world.engine(manual_job()):
            state = await _ended(world, limit_s=30)
        (replica,) = state.replicas
        assert (state.execution.status, state.execution.reason) == ("Failed", "ReplicaTimeout")
        assert (replica.timed_out, replica.fault) == (True, Fault.APP)

    in_virtual_time(story)


def test_trouble_of_the_engine_costs_no_retry_and_what_stays_unknown_ends_as_unknown() -> None:
    async def story() -> None:
        world = _world()
        wait = world.executor.wait

        async def lost(handle: object) -> ReplicaExit:
            how = await wait(handle)  # type: ignore[arg-type]
            return replace(how, code=143, reason="EngineLost", fault=Fault.INFRA)

        world.executor.wait = lost  # type: ignore[assignment,method-assign]
        async with world.engine(manual_job(replica_retry_limit=0)) as engine:
            await engine.start("by-hand", None)
            state = await _ended(world)
        assert (state.execution.status, state.execution.reason) == (ExecutionStatus.UNKNOWN, "EngineLost")
        assert [r.status for r in state.replicas] == [ReplicaStatus.UNKNOWN] * (INFRA_RESTARTS + 1)
        assert [round(pause) for pause in _pauses(state)] == [1, 2, 4, 8, 16]

    in_virtual_time(story)


def test_trouble_of_the_engine_holds_back_no_message_and_a_refused_launch_holds_back_launches() -> None:
    async def story() -> None:
        world = World(work_s=1)
        world.queue.publish(3)
        wait = world.executor.wait
        ends = 0

        async def lost_at_first(handle: object) -> ReplicaExit:
            nonlocal ends
            how, ends = await wait(handle), ends + 1  # type: ignore[arg-type]
            return how if ends > 3 else replace(how, code=None, reason="Lost", fault=Fault.INFRA)

        world.executor.wait = lost_at_first  # type: ignore[assignment,method-assign]
        async with world.engine(event_job(high=3, interval_s=5)) as engine:
            await world.until(lambda: len(world.executor.launches) == 6)
            await asyncio.sleep(5)
            healthy = {c.type: c.status for c in engine.job("drain").conditions}["Healthy"]
        states = await world.executions()
        assert healthy == "True"
        assert {state.execution.status for state in states} == {ExecutionStatus.SUCCEEDED}

    in_virtual_time(story)


def test_replicas_are_told_who_they_are_and_why_they_were_started() -> None:
    seen: list[dict[str, str]] = []

    async def second_try(spec: ReplicaSpec) -> int:
        seen.append({name: value.reveal() for name, value in spec.env.items() if name.startswith("SCALER_")})
        await asyncio.sleep(1)
        return 0 if len(seen) > 1 else 1

    def told(index: int, attempt: int) -> dict[str, str]:
        return {
            "SCALER_REPLICA_INDEX": str(index),
            "SCALER_REPLICA_COUNT": "2",
            "SCALER_REPLICA_ATTEMPT": str(attempt),
            "SCALER_TRIGGER": "Event",
            "SCALER_TRIGGERED_BY": "q",
        }

    async def story() -> None:
        world = _world(second_try)
        world.queue.publish(1)
        job = event_job(high=1, interval_s=1000, retries=1, refill=False)
        job = replace(job, replica_completion_count=2)
        async with world.engine(job):
            state = await _poll(world)
        assert seen == [told(0, 1), told(0, 2), told(1, 1)]
        assert state.execution.trigger == Trigger(kind=Cause.EVENT, by="q", reading=1)
        assert state.execution.template_hash is not None

    async def _poll(world: World) -> ExecutionState:
        await world.until(lambda: len(seen) == 3)
        await asyncio.sleep(2)
        return (await world.executions())[-1]

    in_virtual_time(story)
