"""Jobs that compete for the limits of the daemon, through the engine in virtual time."""

from __future__ import annotations

import ast
import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import scaler
from scaler.engine.limits import Limits
from scaler.errors import LimitReached
from scaler.model.capacity import GlobalLimits
from scaler.model.decision import Bound, Occasion, Reason
from scaler.model.execution import ExecutionStatus
from scaler.model.job import Job, ScheduleTrigger
from scaler.model.replica import ReplicaSpec
from scaler.testing.fake_queue import FakeQueue, FakeScaler
from tests.engine.world import Pulse, World, event_job, in_virtual_time, manual_job


class Town(World):
    """A world with a queue for each job, whose workers are counted job by job."""

    def __init__(self, limits: GlobalLimits, *names: str, work_s: float = 1.0) -> None:
        super().__init__()
        self.limits = Limits(overall=limits)
        self.queues = {name: FakeQueue() for name in names}
        FakeScaler.queues.update(self.queues)
        self.live: Counter[str] = Counter()
        self.peaks: Counter[str] = Counter()
        self.begun: list[str] = []
        workers = {name: queue.worker(work_s=work_s) for name, queue in self.queues.items()}

        async def work(spec: ReplicaSpec) -> int:
            job = spec.env["CONTAINER_APP_JOB_NAME"].reveal()
            self.begun.append(job)
            self.live[job] += 1
            self.peaks[job] = max(self.peaks[job], self.live[job])
            try:
                if job in workers:
                    return await workers[job](spec)
                await asyncio.sleep(work_s)
                return 0
            finally:
                self.live[job] -= 1

        self.executor.behaviour = work

    def jobs(self, *, high: int = 100, interval_s: float = 30) -> list[Job]:
        return [event_job(name, queues=(name,), high=high, interval_s=interval_s) for name in self.queues]

    def done(self) -> bool:
        return all(queue.depth == 0 for queue in self.queues.values())


def test_two_jobs_that_flood_at_once_get_their_shares_and_the_cap_is_never_passed() -> None:
    async def story() -> None:
        town = Town(GlobalLimits(executions=4), "a", "b")
        for queue in town.queues.values():
            queue.publish(60)
        async with town.engine(*town.jobs()):
            assert await town.until(lambda: len(town.begun) >= 40)
            assert abs(town.begun.count("a") - town.begun.count("b")) <= 6
            assert await town.until(town.done)
        assert town.executor.peak == 4
        assert all(
            found == {ExecutionStatus.SUCCEEDED: 60} for found in [await town.statuses(j) for j in "ab"]
        )

    in_virtual_time(story)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    cap=st.integers(1, 5),
    floods=st.lists(st.integers(1, 15), min_size=2, max_size=4),
    priorities=st.lists(st.integers(0, 2), min_size=4, max_size=4),
    rate=st.sampled_from([None, 1.5, 8.0]),
    interval_s=st.sampled_from([2.0, 3600.0]),
)
def test_whatever_competes_the_cap_holds_all_work_is_done_and_nobody_waits_for_ever(
    cap: int, floods: list[int], priorities: list[int], rate: float | None, interval_s: float
) -> None:
    async def story() -> None:
        names = "abcd"[: len(floods)]
        town = Town(GlobalLimits(executions=cap, launch_rate=rate, launch_burst=2, pass_over=3), *names)
        for queue, count in zip(town.queues.values(), floods, strict=True):
            queue.publish(count)
        jobs = [
            replace(job, priority=priority)
            for job, priority in zip(town.jobs(interval_s=interval_s), priorities, strict=False)
        ]
        async with town.engine(*jobs):
            assert await town.until(town.done, limit_s=600)
        assert town.executor.peak <= cap
        assert Counter(town.begun) == dict(zip(names, floods, strict=True))

    in_virtual_time(story)


def test_a_job_that_was_held_back_is_looked_at_as_soon_as_there_is_room() -> None:
    async def story() -> None:
        town = Town(GlobalLimits(executions=2), "a", "b", work_s=5.0)
        for queue in town.queues.values():
            queue.publish(2)
        async with town.engine(*town.jobs(interval_s=3600)):  # b reads its queue now, and then in an hour
            assert await town.until(lambda: town.queues["b"].depth == 0, limit_s=60)
        reasons = [d for d in await town.store.decisions("b") if d.bound is Bound.GLOBAL_EXECUTIONS]
        assert reasons
        assert reasons[-1].reason is Reason.AT_GLOBAL_LIMIT
        assert Occasion.ROOM in {d.occasion for d in await town.store.decisions("b")}

    in_virtual_time(story)


def test_a_job_whose_queue_does_not_answer_keeps_no_room_from_the_others() -> None:
    async def story() -> None:
        town = Town(GlobalLimits(executions=2), "a", "b")
        for queue in town.queues.values():
            queue.publish(30)
        async with town.engine(*town.jobs(interval_s=600)):
            assert await town.until(lambda: len(town.queues["b"].consumed) >= 2)
            town.queues["b"].poll_delay_s = 10_000.0  # every later look at it runs into the time limit
            assert await town.until(lambda: town.queues["a"].depth == 0, limit_s=200)

    in_virtual_time(story)


def test_a_low_priority_gets_one_start_in_eleven() -> None:
    async def story() -> None:
        town = Town(GlobalLimits(executions=1), "high", "low", work_s=0.1)
        town.queues["high"].publish(44)
        town.queues["low"].publish(20)
        high, low = town.jobs()
        async with town.engine(replace(high, priority=10), low):
            assert await town.until(lambda: town.queues["high"].depth == 0)
            assert 3 <= town.begun.count("low") <= 6
            assert await town.until(town.done)

    in_virtual_time(story)


def test_cores_and_memory_are_counted_for_all_parallel_replicas() -> None:
    async def story() -> None:
        town = Town(GlobalLimits(cpu=2.0), "a", work_s=2.0)  # half a core a replica, two replicas each
        town.queues["a"].publish(12)
        job = replace(town.jobs()[0], parallelism=2, replica_completion_count=2)
        async with town.engine(job):
            assert await town.until(town.done)
            decisions = await town.store.decisions("a")
        assert town.executor.peak == 4
        assert Bound.GLOBAL_CPU in {d.bound for d in decisions}

    in_virtual_time(story)


def test_an_execution_larger_than_a_cap_never_starts_and_holds_nobody_up() -> None:
    async def story() -> None:
        town = Town(GlobalLimits(cpu=1.0), "large", "small")
        for queue in town.queues.values():
            queue.publish(3)
        large, small = town.jobs(interval_s=5)
        async with town.engine(replace(large, parallelism=8), small):
            assert await town.until(lambda: town.queues["small"].depth == 0)
            decision = (await town.store.decisions("large"))[0]
        assert (decision.reason, decision.launch) == (Reason.TOO_LARGE, 0)
        assert "it can never start" in decision.message
        assert town.begun.count("large") == 0

    in_virtual_time(story)


def test_the_launch_rate_holds_and_its_end_needs_no_polling_interval() -> None:
    async def story() -> None:
        town = Town(GlobalLimits(launch_rate=2.0, launch_burst=3), "a", work_s=0.2)
        town.queues["a"].publish(13)
        began = town.clock.monotonic()
        async with town.engine(*town.jobs(interval_s=600)):
            assert await town.until(town.done, limit_s=60)
        assert town.clock.monotonic() - began >= 5.0, "three at once, then ten at two a second"

    in_virtual_time(story)


def test_a_start_by_hand_beyond_a_limit_is_refused_and_says_why() -> None:
    async def story() -> None:
        town = Town(GlobalLimits(executions=1), work_s=5.0)
        async with town.engine(manual_job()) as engine:
            await engine.start("by-hand", None)
            with pytest.raises(
                LimitReached, match=r"limits.global.executions = 1 is reached.*try again later"
            ):
                await engine.start("by-hand", None)
            assert await town.until(lambda: town.live["by-hand"] == 0 and "by-hand" in town.begun)
            assert await town.until(lambda: town.executor.live == 0)
            await asyncio.sleep(1)
            await engine.start("by-hand", None)

    in_virtual_time(story)


def test_a_start_by_hand_that_never_fits_is_told_what_to_change_and_not_to_wait() -> None:
    async def story() -> None:
        town = Town(GlobalLimits(cpu=1.0))
        async with town.engine(replace(manual_job(), parallelism=8)) as engine:
            with pytest.raises(
                LimitReached, match=r"can never start; lower what it takes, or raise the limit$"
            ):
                await engine.start("by-hand", None)

    in_virtual_time(story)


def test_a_hundred_starts_by_hand_at_one_moment_do_not_pass_the_cap() -> None:
    async def story() -> None:
        town = Town(GlobalLimits(executions=4), "a", work_s=3.0)
        town.queues["a"].publish(10)
        async with town.engine(*town.jobs(), manual_job()) as engine:

            async def start() -> bool:
                try:
                    await engine.start("by-hand", None)
                except LimitReached:
                    return False
                return True

            async with asyncio.TaskGroup() as tasks:
                found = [tasks.create_task(start()) for _ in range(100)]
            assert 1 <= sum(task.result() for task in found) <= 4
            assert await town.until(town.done)
        assert town.executor.peak == 4

    in_virtual_time(story)


def test_a_due_time_waits_for_room_and_is_served() -> None:
    async def story() -> None:
        town = Town(GlobalLimits(executions=1), work_s=90.0)
        nightly = replace(manual_job("minutely"), trigger=ScheduleTrigger(cron="* * * * *"))
        async with town.engine(nightly, replace(manual_job(), replica_timeout=timedelta(hours=1))) as engine:
            await engine.start("by-hand", None)
            assert await town.until(lambda: "minutely" in town.begun, limit_s=200)
            decisions = await town.store.decisions("minutely")
        assert [d.reason for d in reversed(decisions)][:2] == [Reason.AT_GLOBAL_LIMIT, Reason.LAUNCHED]
        assert town.executor.peak == 1

    in_virtual_time(story)


@asynccontextmanager
async def _killed_before_any_launch(town: Town, count: int) -> AsyncIterator[None]:
    """Leave so many executions recorded, of which nothing was started."""
    town.executor.unavailable = True
    async with town.engine(*town.jobs()):
        assert await town.until(lambda: len(town.store._states) == count)
    town.executor.unavailable = False
    yield


def test_after_a_restart_with_a_lower_cap_what_was_not_started_waits() -> None:
    async def story() -> None:
        town = Town(GlobalLimits(executions=6), "a", work_s=2.0)
        town.queues["a"].publish(6)
        async with _killed_before_any_launch(town, 6):
            town.limits = Limits(overall=GlobalLimits(executions=2))
            async with town.engine(*town.jobs()):
                assert await town.until(town.done, limit_s=200)
                assert await town.until(lambda: town.executor.live == 0)
        assert town.executor.peak == 2
        assert sum(town.executor.launches.values()) == 6

    in_virtual_time(story)


def test_an_execution_that_waits_after_a_restart_can_be_stopped() -> None:
    async def story() -> None:
        town = Town(GlobalLimits(executions=2), "a", work_s=50.0)
        town.queues["a"].publish(2)
        async with _killed_before_any_launch(town, 2):
            town.limits = Limits(overall=GlobalLimits(executions=1))
            async with town.engine(*town.jobs()) as engine:
                assert await town.until(lambda: town.executor.live == 1)
                waits = [s for s in await town.executions("a") if s.execution.started_at is None]
                assert len(waits) == 1
                await engine.stop("a", waits[0].execution.id)
                assert await town.until(lambda: town.queues["a"].depth == 0)
        assert (await town.statuses("a"))[ExecutionStatus.STOPPED] == 1
        assert town.executor.peak == 1

    in_virtual_time(story)


def test_after_a_restart_with_a_lower_cap_what_runs_goes_on_and_nothing_begins_beside_it() -> None:
    async def story() -> None:
        town = Town(GlobalLimits(executions=4), "a", work_s=3.0)
        town.queues["a"].publish(10)
        async with town.engine(*town.jobs()):
            assert await town.until(lambda: town.executor.live == 4)
        town.limits = Limits(overall=GlobalLimits(executions=2))
        async with town.engine(*town.jobs()):
            assert await town.until(lambda: town.executor.live < 3)
            town.executor.peak = 0
            assert await town.until(town.done)
        assert town.executor.peak == 2

    in_virtual_time(story)


def _flood_killed_at(at: int, *, after: bool) -> int:
    """Kill the engine at a call, go on with a lower cap; give how many calls there were.

    Nothing begins above the cap of the time, and each message is worked on once.
    """
    calls = 0

    async def story() -> None:
        nonlocal calls
        town, pulse = Town(GlobalLimits(executions=3), "a", "b"), Pulse(at, after=after)
        cap, work, above = 3, town.executor.behaviour, []

        async def counted(spec: ReplicaSpec) -> int:
            if town.executor.live > cap:
                above.append(spec.replica_id)
            return await work(spec)

        town.executor.behaviour = counted
        for queue in town.queues.values():
            queue.publish(4)
        async with town.engine(*town.jobs(interval_s=5), pulse=pulse):
            await town.until(town.done, limit_s=120, pulse=pulse)
        await asyncio.sleep(0.4)  # a launch that was under way in the executor is through
        cap = 1
        town.limits = Limits(overall=GlobalLimits(executions=cap))
        async with town.engine(*town.jobs(interval_s=5)):
            assert await town.until(town.done, limit_s=200), f"killed at {at}, after={after}"
        assert above == [], f"killed at {at}, after={after}"
        for queue in town.queues.values():
            assert set(queue.consumed.values()) == {1}
        calls = pulse.calls

    in_virtual_time(story)
    return calls


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_step_and_started_with_a_lower_cap_nothing_begins_above_it(after: bool) -> None:
    total = _flood_killed_at(0, after=after)
    assert total > 60
    for at in range(1, total + 1, 2):
        _flood_killed_at(at, after=after)


def _calls(name: str, holder: str) -> list[str]:
    """Find files of the product that call `<something>.<holder>.<name>(…)` or `<holder>.<name>(…)`."""
    found = []
    for path in Path(scaler.__file__).parent.rglob("*.py"):
        if "testing" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            target = node.func.value
            owner = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")
            if node.func.attr == name and owner == holder:
                found.append(path.name)
    return found


def test_executions_are_recorded_in_one_place_only_and_that_place_asks_for_a_reservation() -> None:
    assert _calls("begin", "store") == ["fleet.py"]
