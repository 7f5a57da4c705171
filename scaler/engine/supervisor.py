"""Owns every task of the engine: one loop a job, one runner a live execution.

Runners belong to the supervisor and not to the loop that started them, so editing or removing a job never
touches its executions. A bug in one job's loop restarts that loop; a failing store ends the process, whose
next start reconciles.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

import structlog

from scaler.engine import recovery
from scaler.engine.crew import Crew
from scaler.engine.faults import FaultLog
from scaler.engine.job_loop import JobLoop, LoopPorts
from scaler.engine.ledger import Ledger
from scaler.engine.limits import Limits
from scaler.engine.pace import Pace
from scaler.engine.runner import Runner, RunnerPorts
from scaler.engine.schedule_loop import ScheduleLoop
from scaler.engine.sources import Resolve, SourcePorts
from scaler.engine.spec import build_spec
from scaler.engine.views import conditions, lateness
from scaler.errors import NotFound, ScalerError, StoreError
from scaler.model import names
from scaler.model.execution import Cause, Execution, ExecutionState
from scaler.model.job import EventTrigger, Job, ScheduleTrigger, Template
from scaler.model.replica import Replica, ReplicaSpec
from scaler.planning.advance import Begun, advance
from scaler.ports.clock import Clock
from scaler.ports.control import EngineHealth, JobView
from scaler.ports.scaler import SessionPool
from scaler.ports.store import Store

log = structlog.get_logger("scaler")


@dataclass(frozen=True, slots=True, kw_only=True)
class EnginePorts:
    """What the engine is built from."""

    clock: Clock
    store: Store
    crew: Crew
    sessions: SessionPool
    resolve: Resolve
    instance: str
    limits: Limits = field(default_factory=Limits)


class Supervisor:
    """The engine. Implements `JobControl`; `run` must be running."""

    def __init__(self, ports: EnginePorts) -> None:
        self._ports = ports
        self._faults = FaultLog()
        self._ledger = Ledger(ended_kept_s=ports.limits.ended_kept_s)
        self._pace = Pace(gap_s=ports.limits.source_gap_s)
        self._jobs: dict[str, Job] = {}
        self._loops: dict[str, JobLoop | ScheduleLoop] = {}
        self._loop_tasks: dict[str, asyncio.Task[None]] = {}
        self._runners: dict[str, Runner] = {}
        self._since: dict[tuple[str, str], tuple[str, datetime]] = {}
        self._late: deque[float] = deque(maxlen=10_000)
        self._ticks = 0
        self._started_at = ports.clock.now()
        self._file_faults: dict[str, str] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._recovered = asyncio.Event()
        self._over = asyncio.Event()

    # --- life -----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Take up what a former process left, then serve until `close` or a failure of the store."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            await self._recover()
            self._recovered.set()
            sweeper = tasks.create_task(self._sweep(), name="engine/sweep")
            await self._over.wait()
            sweeper.cancel()
            for task in self._loop_tasks.values():
                task.cancel()
            raise _Closed
        # replicas go on running: the next start adopts them

    async def serve(self) -> None:
        """Run, and treat `close` as the normal end."""
        try:
            await self.run()
        except* _Closed:
            log.info("engine.closed", unfinished=len(self._runners))

    def close(self) -> None:
        """Stop ticking and let go of replicas without stopping them."""
        self._over.set()

    async def ready(self) -> None:
        """Wait until the records of a former process are loaded; then jobs may be put."""
        await self._recovered.wait()

    async def _recover(self) -> None:
        unfinished = await self._ports.store.unfinished()
        for state in unfinished:
            self._ledger.put(state)
        by_executor: dict[str, list[ExecutionState]] = {}
        for state in unfinished:
            by_executor.setdefault(state.execution.executor, []).append(state)
        for name, states in by_executor.items():
            self._spawn(self._resume(name, tuple(states)), f"engine/recover/{name}")

    async def _resume(self, name: str, states: tuple[ExecutionState, ...]) -> None:
        executor = await self._ports.crew.get(name)
        found = await recovery.find_resumptions(
            name, executor, states,
            clock=self._ports.clock, limits=self._ports.limits, faults=self._faults,
        )  # fmt: skip
        for resumption in found:
            self._spawn(
                self._drive(resumption.state, resumption.adopted),
                f"execution:{resumption.state.execution.id}",
            )

    async def _sweep(self) -> None:
        limits = self._ports.limits
        while True:
            await self._ports.clock.sleep(limits.sweep_s)
            for name in self._ports.crew.names():
                executor = await self._ports.crew.get(name)
                await recovery.sweep(executor, self._known_replicas, self._ports.clock, limits.orphan_grace_s)

    def _known_replicas(self) -> set[str]:
        ids = self._ledger.replica_ids()
        return ids | {r.id for runner in self._runners.values() for r in runner.state.replicas}

    def _spawn(self, work: object, name: str) -> asyncio.Task[None]:
        if self._tasks is None:
            raise RuntimeError("the engine is not running")
        return self._tasks.create_task(work, name=name)  # type: ignore[arg-type]

    # --- jobs -----------------------------------------------------------------------------------------

    async def put(self, job: Job) -> None:
        """Add a job or replace its definition; executions that run are not touched."""
        known = self._jobs.get(job.name)
        if known == job:
            return
        await self._stop_loop(job.name)
        self._jobs[job.name] = job
        loop = self._make_loop(job)
        if loop is not None:
            self._loops[job.name] = loop
            task = self._spawn(self._guard(job.name, loop.run), f"job:{job.name}")
            self._loop_tasks[job.name] = task
        log.info("job.changed" if known else "job.added", job=job.name, generation=job.generation)

    async def delete(self, name: str) -> None:
        """Forget a job; executions that run go on to their end."""
        await self._stop_loop(name)
        if self._jobs.pop(name, None):
            log.info("job.removed", job=name)

    def file_faults(self, by_job: dict[str, str]) -> None:
        """Take note of broken edits that were not applied: job name (or path) to text."""
        self._file_faults = dict(by_job)

    async def _stop_loop(self, name: str) -> None:
        task = self._loop_tasks.pop(name, None)
        self._loops.pop(name, None)
        if task is not None:
            task.cancel()
            await asyncio.wait([task], timeout=self._ports.limits.close_s * 2)

    def _make_loop(self, job: Job) -> JobLoop | ScheduleLoop | None:
        trigger = job.trigger
        if isinstance(trigger, ScheduleTrigger):
            return ScheduleLoop(job, trigger, self._ports.clock, self._fire)
        if isinstance(trigger, EventTrigger):
            return JobLoop(job, trigger, self._loop_ports())
        return None

    def _loop_ports(self) -> LoopPorts:
        ports = self._ports
        return LoopPorts(
            clock=ports.clock,
            limits=ports.limits,
            store=ports.store,
            ledger=self._ledger,
            faults=self._faults,
            pace=self._pace,
            sources=SourcePorts(
                clock=ports.clock,
                sessions=ports.sessions,
                resolve=ports.resolve,
                close_s=ports.limits.close_s,
            ),
            start=self._start_many,
            late=self._note_lateness,
        )

    def _note_lateness(self, seconds: float) -> None:
        self._late.append(seconds)
        self._ticks += 1

    async def _guard(self, name: str, run: Callable[[], object]) -> None:
        """Restart a job's loop after a bug in it, with a growing pause; a store failure goes up."""
        pause = 1.0
        while True:
            try:
                await run()  # type: ignore[misc]
                return
            except* StoreError:
                raise
            except* Exception:
                log.exception("job.loop_failed", job=name, again_in_s=pause)
            await self._ports.clock.sleep(pause)
            pause = min(pause * 2, 60.0)

    # --- executions -----------------------------------------------------------------------------------

    async def _start_many(self, job: Job, count: int, decision_id: int) -> None:
        states = [
            self._new(job, Cause.EVENT, names.event_execution_name(job.name), decision_id=decision_id)
            for _ in range(count)
        ]
        await self._begin(states)

    async def _fire(self, job: Job, due: datetime) -> None:
        name = names.schedule_execution_name(job.name, due)
        if await self._ports.store.execution(job.name, name) is None:
            await self._begin([self._new(job, Cause.SCHEDULE, name)])

    def _new(
        self,
        job: Job,
        cause: Cause,
        name: str,
        *,
        template: Template | None = None,
        decision_id: int | None = None,
    ) -> ExecutionState:
        now = self._ports.clock.now()
        execution = Execution(
            id=name,
            job=job.name,
            generation=job.generation,
            cause=cause,
            template=template or job.template,
            executor=job.executor,
            replica_timeout=job.replica_timeout,
            replica_retry_limit=job.replica_retry_limit,
            parallelism=job.parallelism,
            replica_completion_count=job.replica_completion_count,
            created_at=now,
            decision_id=decision_id,
        )
        fresh = ExecutionState(execution=execution)
        return advance(fresh, Begun(), now, lambda: names.replica_name(name)).state

    async def _begin(self, states: list[ExecutionState]) -> None:
        """Record and hand over; not cut short when the loop that asked for it is cancelled."""
        await asyncio.shield(self._spawn(self._begin_now(states), "engine/begin"))

    async def _begin_now(self, states: list[ExecutionState]) -> None:
        await self._ports.store.begin(tuple(states))
        for state in states:
            self._ledger.put(state)
            self._spawn(self._drive(state, {}), f"execution:{state.execution.id}")

    async def _drive(self, state: ExecutionState, adopted: object) -> None:
        """Run one execution to its end."""
        execution = state.execution
        executor = await self._ports.crew.get(execution.executor)
        ports = RunnerPorts(
            clock=self._ports.clock,
            limits=self._ports.limits,
            store=self._ports.store,
            ledger=self._ledger,
            faults=self._faults,
            executor=executor,
            ended=self._ended,
        )
        runner = Runner(state, ports, self._build)
        self._runners[execution.id] = runner
        try:
            await runner.run(adopted)  # type: ignore[arg-type]
        finally:
            self._runners.pop(execution.id, None)

    def _build(self, state: ExecutionState, replica: Replica) -> ReplicaSpec:
        job = self._jobs.get(state.execution.job)
        return build_spec(state, replica, job.secrets if job else {}, self._ports.instance)

    def _ended(self, state: ExecutionState) -> None:
        loop = self._loops.get(state.execution.job)
        if isinstance(loop, JobLoop) and state.execution.cause is Cause.EVENT:
            loop.execution_ended(state)

    # --- JobControl -----------------------------------------------------------------------------------

    def jobs(self) -> tuple[JobView, ...]:
        """List all jobs by name."""
        return tuple(self._view(self._jobs[name]) for name in sorted(self._jobs))

    def job(self, name: str) -> JobView:
        """Find one job."""
        return self._view(self._find(name))

    def _find(self, name: str) -> Job:
        job = self._jobs.get(name) or self._jobs.get(name.lower())
        if job is None:
            raise NotFound(f"no job '{name}'")
        return job

    def _view(self, job: Job) -> JobView:
        now = self._ports.clock.now()
        counts = self._ledger.counts(job.name, now)
        loop = self._loops.get(job.name)
        decision = loop.last_decision if isinstance(loop, JobLoop) else None
        return JobView(
            job=job,
            running=counts.running,
            pending=counts.pending,
            running_other=self._ledger.other(job.name),
            conditions=conditions(job, decision, self._since, now),
            last_decision=decision,
            file_fault=self._file_faults.get(job.name),
            next_poll=loop.next_poll if loop else None,
        )

    async def start(self, job: str, template: Template | None) -> ExecutionState:
        """Start one execution by hand."""
        found = self._find(job)
        if template is not None:
            template = replace(found.template, container=template.container)
        name = names.manual_execution_name(found.name)
        state = self._new(found, Cause.MANUAL, name, template=template)
        await self._begin([state])
        log.info("execution.started_by_hand", job=found.name, execution=name)
        return state

    async def stop(self, job: str, execution_id: str) -> ExecutionState:
        """Ask an execution to stop; one that has ended is left as it is."""
        runner = self._runners.get(execution_id)
        if runner is not None and runner.state.execution.job == job.lower():
            await runner.stop("stopped on request")
            return runner.state
        live = self._ledger.find(job.lower(), execution_id)
        if live is not None:
            raise ScalerError(f"execution '{execution_id}' is being recovered; try again in a moment")
        state = await self._ports.store.execution(job.lower(), execution_id)
        if state is None:
            raise NotFound(f"no execution '{execution_id}' of job '{job}'")
        return state

    async def health(self) -> EngineHealth:
        """Say how the engine is."""
        executors = await self._ports.crew.health()
        p50, p99 = lateness(self._late)
        return EngineHealth(
            ok=self._recovered.is_set() and all(h.ok for _name, h in executors),
            started_at=self._started_at,
            executors=executors,
            lateness_p50_s=p50,
            lateness_p99_s=p99,
            ticks=self._ticks,
            file_faults=tuple(sorted(set(self._file_faults.values()))),
        )

    async def logs(
        self, job: str, execution_id: str, *, tail: int | None, follow: bool
    ) -> AsyncIterator[str]:
        """Give the log lines of an execution's replicas, one replica after the other."""
        state = await self._ports.store.execution(job.lower(), execution_id)
        if state is None:
            raise NotFound(f"no execution '{execution_id}' of job '{job}'")
        executor = await self._ports.crew.get(state.execution.executor)
        for replica in state.replicas:
            runner = self._runners.get(execution_id)
            current = (runner.state.replica(replica.id) if runner else None) or replica
            async for line in executor.logs(replica.id, current.handle, tail=tail, follow=follow):
                yield line


class _Closed(Exception):
    """Ends the task group on purpose."""
