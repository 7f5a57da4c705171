"""Runs the engine itself, with its planner, runners and breaker, on simulated queues, replicas and time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

from scaler.engine.crew import Crew
from scaler.engine.limits import Limits
from scaler.engine.sessions import Sessions
from scaler.engine.supervisor import EnginePorts, Supervisor
from scaler.model.capacity import need_of
from scaler.model.execution import ExecutionStatus
from scaler.model.job import EventTrigger, Job, ManualTrigger, ScaleRule, ScheduleTrigger
from scaler.model.replica import ReplicaSpec
from scaler.ports.executor import Executor
from scaler.ports.scaler import AnyScalerType
from scaler.ports.store import Store
from scaler.ports.trace import Recorder, Unrecorded
from scaler.simulation.arrivals import Arrivals
from scaler.simulation.executor import SimulatedExecutor
from scaler.simulation.notes import Notes
from scaler.simulation.queue import Habits, SimulatedQueue
from scaler.simulation.result import JobResult, Outcome, Price, percentile
from scaler.simulation.source import simulated
from scaler.simulation.virtual import VirtualClock, run_virtually
from scaler.simulation.worker import Trade, Workers, poison_finder
from scaler.wire.rules import resolve_rule

Resolve = Callable[[Job, ScaleRule], tuple[AnyScalerType, Any]]

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
LOOK_S = 1.0
"""How often it is looked whether all is done, in virtual time."""
LEAST_AFTER_S = 3600.0
"""For how long it goes on at least, if need be, when nothing comes in any more."""
GIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What is simulated, apart from the jobs.

    Attributes:
        arrivals: by (job, rule).
        trades: how workers are, by job.
        habits: how brokers are; `parts` counts for rules that hand out shares.
        poison: share of messages whose every execution fails.
        span_s: messages come in for so long, seconds; then it goes on until all are done, at most as long again or
            for an hour.
        poll_s: how long a poll takes.
        outages: from when until when the daemon is down, seconds; in order. What runs goes on, and is adopted.
    """

    arrivals: Mapping[tuple[str, str], Arrivals]
    trades: Mapping[str, Trade]
    habits: Habits = field(default_factory=Habits)
    poison: float = 0.0
    span_s: float = 86_400.0
    poll_s: float = 0.05
    seed: int = 1
    begin: datetime = BEGINNING
    price: Price | None = None
    resolve: Resolve = resolve_rule
    outages: tuple[tuple[float, float], ...] = ()
    limits: Limits = field(default_factory=Limits)
    recorder: Recorder = field(default_factory=Unrecorded)


def simulate(
    jobs: Sequence[Job], scene: Scene, *, settings: str, tell: Callable[[float], None] = lambda _seconds: None
) -> Outcome:
    """Simulate until all is done or the span is over. `tell` hears of virtual seconds now and then.

    Raises:
        ConfigError: a rule's parameters are wrong.
    """
    return run_virtually(lambda loop: _Simulation(jobs, scene, loop).run(settings), tell)


class _Simulation:
    """One run."""

    def __init__(self, jobs: Sequence[Job], scene: Scene, loop: asyncio.AbstractEventLoop) -> None:
        self._jobs = [job for job in jobs if not isinstance(job.trigger, ManualTrigger)]
        self._scene, self._loop = scene, loop
        self._clock = VirtualClock(scene.begin, loop)
        self._notes = Notes()
        self._real: dict[tuple[str, str], tuple[AnyScalerType, Any]] = {}
        self._queues: dict[tuple[str, str], SimulatedQueue] = {}
        self._workers: dict[str, Workers] = {}
        self._ran: dict[str, float] = {}
        self._to_come = 0
        for job in self._jobs:
            self._make(job)
        self._executor = SimulatedExecutor(self._clock, self._work, start_s=self._start_s, ran=self._note_run)

    def _make(self, job: Job) -> None:
        """Make a job's queues and workers."""
        scene, own = self._scene, {}
        for rule in job.trigger.rules if isinstance(job.trigger, EventTrigger) else ():
            real, meta = self._real[job.name, rule.name] = scene.resolve(job, rule)
            name = f"{job.name}/{rule.name}"
            parts = scene.habits.parts if real.shares(meta) else 1
            habits = Habits(
                visibility_s=scene.habits.visibility_s,
                max_deliveries=scene.habits.max_deliveries,
                parts=parts,
            )
            queue = self._queues[job.name, rule.name] = SimulatedQueue(
                name=name,
                habits=habits,
                loop=self._loop,
                is_poison=poison_finder(scene.seed, name, scene.poison),
            )
            own[rule.name] = (queue, real.target(meta))
            for at, count in scene.arrivals.get((job.name, rule.name), ()):
                self._to_come += 1
                self._loop.call_at(at, self._arrive, queue, count)
        self._workers[job.name] = Workers(job.name, scene.trades[job.name], self._clock, scene.seed, own)
        self._ran[job.name] = 0.0

    def _arrive(self, queue: SimulatedQueue, count: int) -> None:
        self._to_come -= 1
        queue.publish(count)

    def _work(self, spec: ReplicaSpec) -> Any:
        return self._workers[spec.job].run(spec)

    def _start_s(self, spec: ReplicaSpec) -> float:
        return self._workers[spec.job].start_s()

    def _note_run(self, spec: ReplicaSpec, seconds: float) -> None:
        self._ran[spec.job] += seconds

    def _resolve(self, job: Job, rule: ScaleRule) -> tuple[AnyScalerType, Any]:
        real, meta = self._real[job.name, rule.name]
        queue = self._queues[job.name, rule.name]
        return simulated(real, meta, rule, queue, clock=self._clock, poll_s=self._scene.poll_s), meta

    # --- running ----------------------------------------------------------------------------------------

    async def run(self, settings: str) -> Outcome:
        """Run, and count."""
        outages = (*self._scene.outages, (math.inf, math.inf))
        for down_s, up_s in outages:
            async with self._engine():
                await self._pass(until_s=down_s)
            if self._is_over() or self._loop.time() >= self._end_s:
                break
            await self._pass(until_s=up_s)
        simulated_s = self._loop.time()
        return Outcome(settings=settings, simulated_s=simulated_s, jobs=tuple(map(self._result, self._jobs)))

    @property
    def _end_s(self) -> float:
        return self._scene.span_s + max(self._scene.span_s, LEAST_AFTER_S)

    async def _pass(self, *, until_s: float) -> None:
        """Let time pass until a moment, the end, or until all is done."""
        until_s = min(until_s, self._end_s)
        while self._loop.time() < until_s and not self._is_over():
            await self._clock.sleep(min(LOOK_S, until_s - self._loop.time()))

    def _is_over(self) -> bool:
        """Whether nothing will come any more, nothing is left and nothing runs."""
        if self._to_come or any(queue.left for queue in self._queues.values()):
            return False
        if any(map(_starts_by_itself, self._jobs)):
            return self._loop.time() >= self._scene.span_s
        return self._notes.live == 0

    @asynccontextmanager
    async def _engine(self) -> AsyncIterator[Supervisor]:
        @asynccontextmanager
        async def open_executor(_name: str) -> AsyncIterator[Executor]:
            yield self._executor

        async with AsyncExitStack() as stack:
            sessions = await stack.enter_async_context(Sessions())
            crew = await stack.enter_async_context(Crew(open_executor, sessions))
            supervisor = Supervisor(
                EnginePorts(
                    clock=self._clock,
                    store=cast("Store", self._notes),
                    crew=crew,
                    sessions=sessions,
                    resolve=self._resolve,
                    instance="simulation",
                    limits=self._scene.limits,
                    recorder=self._scene.recorder,
                )
            )
            async with asyncio.TaskGroup() as tasks:
                serving = tasks.create_task(supervisor.serve(), name="engine")
                await supervisor.ready()
                for job in self._jobs:
                    await supervisor.put(job)
                supervisor.take_up()
                try:
                    yield supervisor
                finally:
                    supervisor.close()
                    await asyncio.wait([serving])

    # --- counting ---------------------------------------------------------------------------------------

    def _result(self, job: Job) -> JobResult:
        queues = [queue for (name, _rule), queue in self._queues.items() if name == job.name]
        notes, ran = self._notes.jobs[job.name], self._ran[job.name]
        waits = [wait for queue in queues for wait in queue.waits]
        need = need_of(job.template, 1)
        cpu_s, memory_gib_s = ran * need.cpu, ran * need.memory_bytes / GIB
        price = self._scene.price
        return JobResult(
            job=job.name,
            messages=sum(queue.arrived for queue in queues),
            done=sum(queue.done for queue in queues),
            dead=sum(queue.dead for queue in queues),
            left=sum(queue.left for queue in queues),
            twice=sum(queue.twice for queue in queues),
            drain_s=_drain_s(queues),
            wait_p50_s=percentile(waits, 0.5),
            wait_p99_s=percentile(waits, 0.99),
            wait_max_s=max(waits, default=None),
            peak=notes.peak,
            executions=notes.started,
            failed=notes.ended[ExecutionStatus.FAILED],
            wasted=self._workers[job.name].wasted,
            unended=notes.live,
            execution_s=ran,
            cpu_s=cpu_s,
            memory_gib_s=memory_gib_s,
            cost=cpu_s * price.cpu_second + memory_gib_s * price.gib_second if price else None,
            decisions=notes.decisions,
        )


def _starts_by_itself(job: Job) -> bool:
    """Whether it starts executions without messages."""
    trigger = job.trigger
    return isinstance(trigger, ScheduleTrigger) or (
        isinstance(trigger, EventTrigger) and trigger.min_executions > 0
    )


def _drain_s(queues: Sequence[SimulatedQueue]) -> float | None:
    if any(queue.left for queue in queues) or not any(queue.arrived for queue in queues):
        return None
    last = max(queue.last_arrival_s for queue in queues if queue.arrived)
    return max(0.0, max(queue.last_settled_s or 0.0 for queue in queues) - last)
