"""The engine killed between any two steps: what a new one makes of the records and the executor."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from scaler.model.execution import FINAL, ExecutionStatus
from tests.engine.world import Pulse, World, event_job, in_virtual_time

MESSAGES, MAXIMUM = 5, 2


async def _flood(world: World, pulse: Pulse, count: str) -> bool:
    """Run one engine on the world until it has drained the queue or was killed."""
    job = event_job(high=MAXIMUM, interval_s=5, count=count)
    async with world.engine(job, pulse=pulse):
        return await world.drained(MESSAGES, limit_s=120, pulse=pulse)


def _calls_of_a_quiet_run(count: str) -> int:
    calls = 0

    async def story() -> None:
        nonlocal calls
        world, pulse = World(start_s=0.5, work_s=1.0, wait_s=2), Pulse()
        world.queue.publish(MESSAGES)
        assert await _flood(world, pulse, count)
        calls = pulse.calls

    in_virtual_time(story)
    return calls


@pytest.mark.parametrize("count", ["all", "ready", "blind"])
def test_killed_before_or_after_any_step_nothing_runs_twice_and_nothing_is_lost(count: str) -> None:
    total = _calls_of_a_quiet_run(count)
    assert total > 40
    for at in range(1, total + 1):
        for after in (False, True):

            async def story(at: int = at, after: bool = after) -> None:
                world = World(start_s=0.5, work_s=1.0, wait_s=2)
                world.queue.publish(MESSAGES)
                await _flood(world, Pulse(at, after=after), count)
                await asyncio.sleep(0.7)
                assert await _flood(world, Pulse(), count), f"killed at call {at}, after={after}"
                where = f"killed at call {at}, after={after}"
                assert set(world.queue.consumed.values()) == {1}, where
                assert set(world.executor.launches.values()) == {1}, where
                assert len(world.executor.launches) == MESSAGES, where
                assert world.queue.empty == 0, where
                assert world.executor.peak <= MAXIMUM, where
                assert await world.statuses() == {ExecutionStatus.SUCCEEDED: MESSAGES}, where

            in_virtual_time(story)


class EngineInAWorld(RuleBasedStateMachine):
    """Messages arrive, time passes, the engine is killed, the executor and the source fail, in any order."""

    played = 0

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[tuple[str, float]] = []
        self.published = 0

    @rule(count=st.integers(1, 6))
    def publish(self, count: int) -> None:
        self.steps.append(("publish", count))
        self.published += count

    @rule(seconds=st.sampled_from([0.1, 0.4, 1.0, 3.0, 12.0]))
    def wait(self, seconds: float) -> None:
        self.steps.append(("wait", seconds))

    @rule(calls=st.integers(1, 30), after=st.booleans())
    def kill(self, calls: int, after: bool) -> None:
        self.steps.append(("kill-after" if after else "kill-before", calls))

    @rule(down=st.booleans())
    def executor(self, down: bool) -> None:
        self.steps.append(("executor", float(down)))

    @invariant()
    def nothing_to_check_until_the_story_is_played(self) -> None:
        assert len(self.steps) < 1000

    def teardown(self) -> None:
        in_virtual_time(self._play)
        EngineInAWorld.played += 1

    async def _play(self) -> None:
        world = World(start_s=0.3, work_s=0.8, wait_s=3)
        pulse = Pulse()
        position = 0
        while position <= len(self.steps):
            async with world.engine(event_job(high=3, interval_s=2), pulse=pulse):
                position = await self._act(world, pulse, position)
            pulse = Pulse() if pulse.is_lethal else self._next_pulse(position)
        assert len(world.queue.consumed) == self.published
        assert set(world.queue.consumed.values()) <= {1}
        assert set(world.executor.launches.values()) <= {1}
        assert world.executor.peak <= 3
        states = await world.executions()
        assert all(s.execution.status in FINAL and s.execution.reason for s in states)
        assert world.executor._things == {}

    async def _act(self, world: World, pulse: Pulse, position: int) -> int:
        """Play steps until the next kill; the last engine heals everything and drains."""
        while position < len(self.steps):
            kind, amount = self.steps[position]
            position += 1
            if kind == "publish":
                world.queue.publish(int(amount))
            elif kind == "executor":
                world.executor.unavailable = bool(amount)
            elif kind == "wait":
                await world.until(lambda: False, limit_s=amount, pulse=pulse)
            else:
                return position
        world.executor.unavailable = False
        await world.drained(self.published, limit_s=300, pulse=pulse)
        if pulse.dead:
            return position
        await world.until(lambda: not world.executor._things, limit_s=60)
        return position + 1

    def _next_pulse(self, position: int) -> Pulse:
        """The engine after a kill step dies at the call that the step names."""
        if 0 < position <= len(self.steps):
            kind, amount = self.steps[position - 1]
            if kind.startswith("kill"):
                return Pulse(int(amount), after=kind == "kill-after")
        return Pulse()


def test_in_any_order_of_arrivals_kills_and_outages_the_sums_hold() -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        EngineInAWorld,
        settings=settings(
            max_examples=40, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
    assert EngineInAWorld.played >= 40
