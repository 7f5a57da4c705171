"""A recorded run decides the same again: over fakes, with everything that bears on a decision."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from scaler.engine.limits import Limits
from scaler.errors import PollError
from scaler.model.capacity import GlobalLimits
from scaler.model.job import Overlap, ScheduleTrigger
from scaler.model.replica import ReplicaSpec
from scaler.trace.lines import Decided, Due, Ended
from scaler.trace.read import Trace
from scaler.trace.recorder import TraceFile, open_recorder
from scaler.trace.verify import Replay, replay
from tests.engine.world import TopicWorld, World, event_job, in_virtual_time, manual_job, topic_job
from tests.planning.builders import NOW


def beginning() -> datetime:
    return NOW


def recorded(world: World, path: Path, story: object, *jobs: object) -> Replay:
    """Run a story on an engine that is recorded; give the replay of its trace."""

    async def run() -> None:
        async with world.engine(*jobs):  # type: ignore[arg-type]
            await story()  # type: ignore[operator]

    with open_recorder(TraceFile(path=path), version="1", now=beginning) as recorder:
        world.recorder = recorder
        in_virtual_time(run)
    return replay(Trace(path))


@pytest.mark.parametrize("count", ["all", "ready", "blind"])
def test_a_flood_replays_to_the_same_launches(tmp_path: Path, count: str) -> None:
    world = World(start_s=0.4, work_s=2.0, wait_s=1.0)
    world.queue.publish(25)

    async def story() -> None:
        assert await world.drained(25)
        world.queue.publish(5)
        assert await world.drained(30)

    found = recorded(world, tmp_path / "t.jsonl", story, event_job(high=6, count=count, interval_s=3))
    assert (found.differences, found.dropped, found.torn) == ((), 0, 0)
    assert found.launches == 30
    entries = [placed.entry for placed in Trace(tmp_path / "t.jsonl")]
    assert sum(isinstance(entry, Ended) for entry in entries) == 30


def test_failures_backing_off_and_unknown_counts_replay(tmp_path: Path) -> None:
    world = World(work_s=0.5)
    world.queue.publish(6)
    worker = world.queue.worker(work_s=0.5)

    async def behave(spec: ReplicaSpec) -> int:
        if "m0" in world.queue.waiting[:1]:
            world.queue.waiting.append(world.queue.waiting.pop(0))
            await asyncio.sleep(0.2)
            return 1
        return await worker(spec)

    async def story() -> None:
        world.executor.behaviour = behave
        await asyncio.sleep(20)
        world.queue.fault = PollError("down", reason="Unreachable")
        await asyncio.sleep(10)
        world.queue.fault = None
        world.executor.refuse = "no such image"
        await asyncio.sleep(60)

    found = recorded(world, tmp_path / "t.jsonl", story, event_job(high=3, interval_s=2))
    assert found.differences == ()
    decided = [p.entry for p in Trace(tmp_path / "t.jsonl") if isinstance(p.entry, Decided)]
    reasons = {entry.outcome.reason.value for entry in decided}
    assert {"Launched", "BackingOff", "UnknownCount", "LaunchBackoff"} <= reasons


def test_shares_replay_to_the_same_hands(tmp_path: Path) -> None:
    world = TopicWorld(4, work_s=0.5)
    world.topic.publish(12)

    async def story() -> None:
        assert await world.drained(12)

    found = recorded(world, tmp_path / "t.jsonl", story, topic_job(high=3, interval_s=2))
    assert found.differences == ()
    decided = [p.entry for p in Trace(tmp_path / "t.jsonl") if isinstance(p.entry, Decided)]
    assert sum(len(entry.outcome.handed) for entry in decided) == found.launches > 0


def test_a_decision_that_comes_out_otherwise_is_told_with_its_place(tmp_path: Path) -> None:
    world = World(work_s=1.0)
    world.queue.publish(3)

    async def story() -> None:
        assert await world.drained(3)

    path = tmp_path / "t.jsonl"
    recorded(world, path, story, event_job(high=3, interval_s=2))
    lines = path.read_text().splitlines()
    number = next(n for n, line in enumerate(lines) if json.loads(line).get("outcome", {}).get("launch") == 3)
    changed = json.loads(lines[number])
    changed["outcome"]["launch"] = 2
    path.write_text("\n".join([*lines[:number], json.dumps(changed), *lines[number + 1 :], ""]))
    (difference,) = replay(Trace(path)).differences
    assert (difference.place, difference.field) == (f"{path}:{number + 1}", "launch")
    assert (difference.recorded, difference.replayed) == ("2", "3")


def test_a_changed_job_decides_by_its_new_trigger(tmp_path: Path) -> None:
    world = World(work_s=1.0)
    job = event_job(high=2, interval_s=1)

    async def run() -> None:
        async with world.engine(job) as engine:
            world.queue.publish(8)
            await asyncio.sleep(1.5)
            await engine.put(replace(event_job(high=5, interval_s=1), generation=2))
            assert await world.drained(8)

    path = tmp_path / "t.jsonl"
    with open_recorder(TraceFile(path=path), version="1", now=beginning) as recorder:
        world.recorder = recorder
        in_virtual_time(run)
    assert replay(Trace(path)).differences == ()
    decided = [p.entry for p in Trace(path) if isinstance(p.entry, Decided)]
    assert {entry.inputs.trigger.max_executions for entry in decided} == {2, 5}


def test_limits_of_the_daemon_replay(tmp_path: Path) -> None:
    world = World(work_s=2.0)
    world.limits = Limits(overall=GlobalLimits(executions=2))
    world.queue.publish(6)

    async def story() -> None:
        assert await world.drained(6)

    path = tmp_path / "t.jsonl"
    assert recorded(world, path, story, event_job(high=5, interval_s=2)).differences == ()
    decided = [p.entry for p in Trace(path) if isinstance(p.entry, Decided)]
    cut = [entry for entry in decided if entry.inputs.cut is not None]
    assert cut
    assert sum(entry.outcome.launch for entry in decided) == 6


@pytest.mark.parametrize("overlap", list(Overlap))
def test_due_times_replay(tmp_path: Path, overlap: Overlap) -> None:
    world = World()
    trigger = ScheduleTrigger(cron="*/5 * * * *", overlap=overlap, jitter=timedelta(seconds=30))
    job = replace(manual_job("nightly"), trigger=trigger, replica_timeout=timedelta(hours=1))

    async def work(_spec: ReplicaSpec) -> int:
        await asyncio.sleep(400)
        return 0

    async def story() -> None:
        world.executor.behaviour = work
        await asyncio.sleep(1800)

    path = tmp_path / "t.jsonl"
    found = recorded(world, path, story, job)
    assert found.differences == ()
    dues = [placed for placed in Trace(path) if isinstance(placed.entry, Due)]
    launched = [placed.entry.outcome.launch for placed in dues]
    assert sum(launched) == found.launches >= 3
    assert (0 in launched) == (overlap is not Overlap.ALLOW)
    first = dues[0]
    assert isinstance(first.entry, Due)
    due = first.entry.inputs.due
    path.write_text(path.read_text().replace(due.isoformat(), (due - timedelta(minutes=1)).isoformat()))
    assert [item.place for item in replay(Trace(path)).differences][:1] == [first.place]
