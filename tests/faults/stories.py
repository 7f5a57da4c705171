"""What the engine is killed in the middle of: stories that tell themselves again after a restart, and their ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta

from scaler.engine.supervisor import Supervisor
from scaler.errors import Conflict
from scaler.model.execution import ExecutionState, ExecutionStatus
from scaler.model.job import CatchUp, Container, Job, Overlap, ScheduleTrigger, Template
from scaler.model.replica import ReplicaSpec
from scaler.planning.invariants import Look, broken
from scaler.testing.crash_points import CrashPoints, Moment
from tests.engine.world import TopicWorld, World, event_job, manual_job, topic_job

LIMIT_S = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A job in a world.

    Attributes:
        act: what a user does, and does again when he got no answer.
        ends: how many executions there are at the end, and how each of them ends.
        minutes: how long it is told at least, in virtual minutes.
        look_s: pause between two looks at it; each moment of virtual time at which somebody wakes costs real time.
    """

    name: str
    job: Job
    make: Callable[[], World]
    ends: tuple[ExecutionStatus, ...]
    act: Callable[[World, Supervisor], Awaitable[None]] | None = None
    minutes: float = 0.0
    look_s: float = 0.5


async def told(story: Story, at: Moment | None = None, *, rest_s: float = 0.0) -> CrashPoints:
    """Tell a story; killed at a moment, it goes on `rest_s` later with a new engine. Asserts what must hold."""
    world, crash = story.make(), CrashPoints(at)
    async with _watched(world, story.look_s, at):
        async with world.engine(story.job, crash=crash) as engine:
            await _live(story, world, engine, crash)
        if crash.dead:
            await asyncio.sleep(rest_s)
            async with world.engine(story.job) as engine:
                await _live(story, world, engine, CrashPoints())
    await _assert_the_end(story, world, at)
    assert crash.dead == (at is not None), f"{story.name}: never came to {at}"
    return crash


async def _live(story: Story, world: World, engine: Supervisor, crash: CrashPoints) -> None:
    acting = asyncio.get_running_loop().create_task(_act(story, world, engine))
    begun = world.clock.monotonic()

    def is_over() -> bool:
        states = _states(world)
        done = len(states) >= len(story.ends) and all(s.execution.is_final for s in states)
        late = world.clock.monotonic() >= story.minutes * 60
        return crash.dead or (acting.done() and done and late and not world.executor._things)

    while not is_over() and world.clock.monotonic() - begun < LIMIT_S:
        with suppress(TimeoutError):
            async with asyncio.timeout(story.look_s / 2):
                await crash.died.wait()
    if crash.dead:
        acting.cancel()
        await asyncio.wait([acting])
    else:
        assert acting.done()
        await acting


async def _act(story: Story, world: World, engine: Supervisor) -> None:
    if story.act is not None:
        await story.act(world, engine)


def _states(world: World) -> list[ExecutionState]:
    return list(world.store._states.values())


async def _look(world: World) -> tuple[str, ...]:
    """Look at records and executor at the same instant, so that not even a single look may show a violation."""
    jobs = {state.execution.job for state in _states(world)}
    decisions = [one for job in jobs for one in await world.store.decisions(job, limit=10_000)]
    look = Look(
        now=world.clock.now(),
        states=tuple(_states(world)),
        decisions=tuple(decisions),
        owned={"mock": await world.executor.owned()},
    )
    return tuple(map(str, broken(look)))


@asynccontextmanager
async def _watched(world: World, pause_s: float, at: Moment | None) -> AsyncIterator[None]:
    """Look several times a second for as long as the story goes."""
    found: list[str] = []

    async def keep_looking() -> None:
        while not found:
            found.extend(await _look(world))
            await asyncio.sleep(pause_s)

    looking = asyncio.get_running_loop().create_task(keep_looking())
    try:
        yield
    finally:
        looking.cancel()
    assert found == [], f"killed {at}: {found}"


async def _assert_the_end(story: Story, world: World, at: Moment | None) -> None:
    where = f"{story.name}, killed {at}"
    states = _states(world)
    assert await _look(world) == (), where
    assert world.executor._things == {}, where
    assert set(world.executor.launches.values()) == {1}, where
    assert set(world.executor.launches) <= {r.id for s in states for r in s.replicas}, where
    assert sorted(s.execution.status for s in states) == sorted(story.ends), where
    assert all(s.execution.reason for s in states), where
    if isinstance(world, TopicWorld):
        assert set(world.topic.consumed.values()) == {1}, where
        assert (world.topic.most_at_once, world.topic.empty, world.topic.strangers) == (1, 0, 0), where
    if world.queue.consumed:
        assert set(world.queue.consumed.values()) == {1}, where
        assert world.queue.depth == 0, where


# --- the stories ------------------------------------------------------------------------------------------


def _flooded(messages: int) -> Callable[[], World]:
    def make() -> World:
        world = World(start_s=0.5, work_s=1.0, wait_s=2)
        world.queue.publish(messages)
        return world

    return make


def _working(seconds: float, *, failures: int = 0, first_s: float | None = None) -> Callable[[], World]:
    """Replicas that take so long, the first one `first_s`; the first `failures` of the world fail."""

    def make() -> World:
        world, started = World(), 0

        async def work(_spec: ReplicaSpec) -> int:
            nonlocal started
            started += 1
            number = started
            await asyncio.sleep(first_s if number == 1 and first_s is not None else seconds)
            return 1 if number <= failures else 0

        world.executor.behaviour = work
        return world

    return make


async def _start(world: World, engine: Supervisor) -> None:
    """Start one execution by hand, as a user who looks first whether his last try got through."""
    await asyncio.sleep(0.5)
    if not _states(world):
        await engine.start("by-hand", None)


async def _start_and_stop(world: World, engine: Supervisor) -> None:
    await _start(world, engine)
    await asyncio.sleep(1.5)
    while True:
        with suppress(Conflict):
            await engine.stop("by-hand", _states(world)[0].execution.id)
            return
        await asyncio.sleep(0.1)


async def _suspend_for_a_while(_world: World, engine: Supervisor) -> None:
    """Suspend while the first execution runs, and resume later; what runs meanwhile is left alone."""
    await asyncio.sleep(1.5)
    await engine.suspend("drain", by="somebody")
    await asyncio.sleep(3)
    await engine.resume("drain", by="somebody")


def _topic(partitions: int, messages: int) -> Callable[[], World]:
    def make() -> World:
        world = TopicWorld(partitions, start_s=0.5, work_s=0.5)
        world.topic.publish(messages)
        return world

    return make


_SUCCEEDED, _FAILED, _STOPPED = (
    ExecutionStatus.SUCCEEDED,
    ExecutionStatus.FAILED,
    ExecutionStatus.STOPPED,
)
_TIDY = Job(
    name="tidy",
    trigger=ScheduleTrigger(cron="* * * * *", overlap=Overlap.QUEUE, catch_up=CatchUp.ALL),
    template=Template(container=Container(name="main", image="x")),
    executor="mock",
    replica_timeout=timedelta(hours=1),
)

STORIES = (
    Story(
        name="event",
        job=event_job(high=2, interval_s=3, refill=False),
        make=_flooded(3),
        ends=(_SUCCEEDED,) * 3,
    ),
    Story(name="refill", job=event_job(high=1, interval_s=300), make=_flooded(3), ends=(_SUCCEEDED,) * 3),
    Story(
        name="retries",
        job=manual_job(parallelism=2, replica_completion_count=3, replica_retry_limit=2),
        make=_working(1.0, failures=2),
        act=_start,
        ends=(_SUCCEEDED,),
    ),
    Story(
        name="retries-used-up",
        job=manual_job(parallelism=2, replica_completion_count=2, replica_retry_limit=1),
        make=_working(1.0, failures=9),
        act=_start,
        ends=(_FAILED,),
    ),
    Story(name="schedule", job=_TIDY, make=_working(1.0), ends=(_SUCCEEDED,) * 2, minutes=2.1, look_s=2.0),
    Story(
        name="replaced",
        job=replace(
            _TIDY, trigger=ScheduleTrigger(cron="* * * * *", overlap=Overlap.REPLACE, catch_up=CatchUp.ALL)
        ),
        make=_working(1.0, first_s=70.0),
        ends=(_STOPPED, _SUCCEEDED),
        minutes=2.1,
        look_s=2.0,
    ),
    Story(
        name="stop",
        job=manual_job(parallelism=2, replica_completion_count=2),
        make=_working(50.0),
        act=_start_and_stop,
        ends=(_STOPPED,),
    ),
    Story(
        name="timeout",
        job=replace(manual_job(), replica_timeout=timedelta(seconds=3)),
        make=_working(50.0),
        act=_start,
        ends=(_FAILED,),
    ),
    Story(
        name="suspended",
        job=event_job(high=1, interval_s=3),
        make=_flooded(3),
        act=_suspend_for_a_while,
        ends=(_SUCCEEDED,) * 3,
    ),
    Story(name="shares", job=topic_job(high=3, interval_s=3), make=_topic(3, 4), ends=(_SUCCEEDED,) * 4),
)
