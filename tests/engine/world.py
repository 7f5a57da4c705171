"""A whole world in virtual time: queue, executor and store outlive the engine, which can be killed anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import looptime

from scaler.engine.crew import Crew
from scaler.engine.limits import Limits
from scaler.engine.sessions import Sessions
from scaler.engine.sources import Resolve
from scaler.engine.supervisor import EnginePorts, Supervisor
from scaler.model.execution import ExecutionState, ExecutionStatus
from scaler.model.job import (
    Combine,
    Container,
    EnvVar,
    EventTrigger,
    Job,
    ManualTrigger,
    ScaleRule,
    Strategy,
    StrategyName,
    Template,
)
from scaler.model.secret import Secret
from scaler.ports.scaler import AnyScalerType
from scaler.ports.trace import Recorder, Unrecorded
from scaler.testing import fake_queue, fake_topic
from scaler.testing.crash_points import CrashPoints, Killed
from scaler.testing.fake_queue import FakeQueue, FakeScaler
from scaler.testing.fake_topic import FakeTopic, TopicScaler
from scaler.testing.loop_clock import LoopClock
from scaler.testing.memory_store import MemoryStore
from scaler.testing.mock_executor import MockExecutor


class Pulse:
    """Counts calls of ports and kills the engine at the chosen one, before or after its effect."""

    def __init__(self, kill_at: int = 0, *, after: bool = False) -> None:
        self.calls = 0
        self.dead = False
        self.is_lethal = kill_at > 0
        self._kill_at = kill_at
        self._after = after

    async def through(self, call: Callable[[], Awaitable[Any]]) -> Any:
        self.check()
        self.calls += 1
        fatal = self.calls == self._kill_at
        if fatal and not self._after:
            self.dead = True
            raise Killed
        answer = await call()
        if fatal:
            self.dead = True
        self.check()
        return answer

    def check(self) -> None:
        if self.dead:
            raise Killed


class Mortal:
    """A port whose every call may be the engine's last, and takes its time."""

    def __init__(self, port: object, pulse: Pulse, *, takes_s: float = 0.0) -> None:
        self._port, self._pulse, self._takes_s = port, pulse, takes_s

    def __getattr__(self, name: str) -> Any:
        target = getattr(self._port, name)
        if not asyncio.iscoroutinefunction(target):
            return target

        async def call(*args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(self._takes_s)
            return await self._pulse.through(lambda: target(*args, **kwargs))

        return call


def event_job(
    name: str = "drain",
    *,
    count: str = "all",
    low: int = 0,
    high: int = 3,
    interval_s: float = 30,
    refill: bool = True,
    strategy: StrategyName = StrategyName.AUTO,
    queues: tuple[str, ...] = ("q",),
    retries: int = 0,
    timeout_s: float = 600,
) -> Job:
    rules = tuple(
        ScaleRule(name=queue, type="fake", metadata={"queue": queue, "count": count}) for queue in queues
    )
    return Job(
        name=name,
        trigger=EventTrigger(
            rules=rules,
            min_executions=low,
            max_executions=high,
            polling_interval=timedelta(seconds=interval_s),
            strategy=Strategy(name=strategy),
            combine=Combine.SUM if len(rules) > 1 else Combine.MAX,
            refill=refill,
        ),
        template=Template(
            container=Container(name="main", image="x", env=(EnvVar(name="KEY", secret_ref="key"),))
        ),
        executor="mock",
        replica_timeout=timedelta(seconds=timeout_s),
        replica_retry_limit=retries,
        secrets={"key": Secret("only the definition has it")},
    )


def manual_job(name: str = "by-hand", **kw: Any) -> Job:
    return Job(
        name=name,
        trigger=ManualTrigger(),
        template=Template(container=Container(name="main", image="x")),
        executor="mock",
        replica_timeout=timedelta(seconds=60),
        **kw,
    )


def topic_job(name: str = "drain", *, retries: int = 0, **kw: Any) -> Job:
    """A job whose rule hands each execution a partition."""
    job = event_job(name, retries=retries, **kw)
    assert isinstance(job.trigger, EventTrigger)
    rule = ScaleRule(name="t", type="fake-topic", metadata={"topic": "t"})
    return replace(job, trigger=replace(job.trigger, rules=(rule,)))


def resolve(_job: Job, rule: ScaleRule) -> tuple[AnyScalerType, Any]:
    """Give the fake scaler of a rule's type."""
    scaler: AnyScalerType = {"fake": fake_queue.SCALER, "fake-topic": fake_topic.SCALER}[rule.type]
    return scaler, scaler.metadata.model_validate(dict(rule.metadata))


class World:
    """Everything but the engine. `engine()` starts one on it."""

    def __init__(self, **worker: float) -> None:
        self.clock = LoopClock()
        self.queue = FakeQueue()
        FakeScaler.queues["q"] = self.queue
        self.executor = MockExecutor(self.queue.worker(**worker), start_delay_s=0.3)
        self.store = MemoryStore()
        self.limits = Limits()
        self.resolve: Resolve = resolve
        self.leap = timedelta()  # by how much the host's clock was set forth or back
        self.recorder: Recorder = Unrecorded()

    @asynccontextmanager
    async def engine(
        self, *jobs: Job, pulse: Pulse | None = None, crash: CrashPoints | None = None
    ) -> AsyncIterator[Supervisor]:
        """Run an engine with these jobs; it ends without stopping replicas, by a kill or at the exit."""
        pulse = pulse or Pulse()
        crash = crash or CrashPoints()
        store = crash.wrap(Mortal(self.store, pulse, takes_s=0.004), "store")

        @asynccontextmanager
        async def open_executor(_name: str) -> AsyncIterator[Any]:
            yield crash.wrap(Mortal(self.executor, pulse), "executor")

        async with AsyncExitStack() as stack:
            sessions = await stack.enter_async_context(Sessions())
            crew = await stack.enter_async_context(Crew(open_executor, sessions))
            supervisor = Supervisor(
                EnginePorts(
                    clock=self.clock,
                    store=store,
                    crew=crew,
                    sessions=sessions,
                    resolve=self.resolve,
                    instance="test",
                    wall=lambda: self.clock.now() + self.leap,
                    limits=self.limits,
                    recorder=self.recorder,
                )
            )
            serving = asyncio.get_running_loop().create_task(supervisor.serve())
            try:
                await _either(supervisor.ready(), serving)
                await asyncio.sleep(0.2)  # job files are read
                for job in jobs:
                    if not serving.done():
                        await _either(supervisor.put(job), serving)
                if not serving.done():
                    supervisor.take_up()
                yield supervisor
            finally:
                supervisor.close()
                try:
                    await serving
                except BaseExceptionGroup as group:
                    if not (pulse.dead or crash.dead) or group.split(Killed)[1] is not None:
                        raise

    async def until(
        self, done: Callable[[], bool], *, limit_s: float = 600, pulse: Pulse | None = None
    ) -> bool:
        """Let time pass until something holds; False if it never did or the engine was killed."""
        end = self.clock.monotonic() + limit_s
        while self.clock.monotonic() < end:
            if done():
                return True
            if pulse is not None and pulse.dead:
                return False
            await asyncio.sleep(0.05)
        return done()

    async def drained(self, count: int, **kw: Any) -> bool:
        """Wait until `count` messages are consumed and nothing of the executor is left."""
        return await self.until(lambda: len(self.queue.consumed) >= count and not self.executor._things, **kw)

    async def executions(self, job: str = "drain") -> tuple[ExecutionState, ...]:
        return (await self.store.executions(job, limit=10_000)).items

    async def statuses(self, job: str = "drain") -> dict[ExecutionStatus, int]:
        found = await self.store.status_counts(job)
        return {status: number for status, number in found.items() if number}


class TopicWorld(World):
    """A world whose source is a topic of so many partitions."""

    def __init__(self, partitions: int, **worker: float) -> None:
        super().__init__()
        self.topic = FakeTopic(partitions)
        TopicScaler.topics["t"] = self.topic
        self.executor.behaviour = self.topic.worker(**worker)

    async def drained(self, count: int, **kw: Any) -> bool:
        """Wait until `count` messages are committed and nothing of the executor is left."""
        return await self.until(lambda: len(self.topic.consumed) >= count and not self.executor._things, **kw)


async def _either(work: Any, serving: asyncio.Task[None]) -> None:
    task = asyncio.ensure_future(work)
    await asyncio.wait([task, serving], return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        task.cancel()
    await asyncio.wait([task])


def in_virtual_time(story: Callable[[], Awaitable[None]]) -> None:
    """Run a story on a loop whose time jumps to the next thing due."""
    loop = looptime.new_event_loop(start=0)
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(asyncio.wait_for(story(), 100_000))
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    finally:
        loop.close()
        asyncio.set_event_loop(None)
