"""The engine: owns every task, keeps one loop a job, and answers what the API asks.

A bug in one job's loop restarts that loop; a failing store ends the process, whose next start reconciles.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from scaler.engine.audit import Audit
from scaler.engine.breaker_notes import BreakerNotes
from scaler.engine.budget import Budgets
from scaler.engine.capacity import Gate
from scaler.engine.circuit import Circuits
from scaler.engine.crew import Crew
from scaler.engine.drain import Drain
from scaler.engine.faults import FaultLog
from scaler.engine.fleet import Fleet, FleetPorts
from scaler.engine.inspection import InspectionPorts, inspect
from scaler.engine.job_loop import JobLoop, LoopPorts
from scaler.engine.lateness import Lateness
from scaler.engine.ledger import Ledger
from scaler.engine.limits import Limits
from scaler.engine.loops import AnyLoop, Loops, LoopsPorts
from scaler.engine.origins import Origins
from scaler.engine.pace import Pace
from scaler.engine.poison import PoisonPorts
from scaler.engine.schedule_loop import SchedulePorts
from scaler.engine.sources import Resolve, SourcePorts
from scaler.engine.starts import Check, Starts
from scaler.engine.views import conditions
from scaler.errors import Conflict, StoreError
from scaler.model.audit import AuditAction
from scaler.model.execution import ExecutionState
from scaler.model.job import EventTrigger, Job, Template
from scaler.model.secret import Secret
from scaler.planning import breaker
from scaler.ports.clock import Clock
from scaler.ports.control import SOMEBODY, EngineHealth, Inspection, JobView
from scaler.ports.scaler import SessionPool
from scaler.ports.store import Store
from scaler.ports.trace import Recorder, Unrecorded

log = structlog.get_logger("scaler")


@dataclass(frozen=True, slots=True, kw_only=True)
class EnginePorts:
    """What the engine is built from.

    `wall` is the host's clock, by which schedules are due; None: the same as `clock`.
    """

    clock: Clock
    store: Store
    crew: Crew
    sessions: SessionPool
    resolve: Resolve
    instance: str
    wall: Callable[[], datetime] | None = None
    check: Check = lambda _job: ()
    limits: Limits = field(default_factory=Limits)
    recorder: Recorder = field(default_factory=Unrecorded)


class Supervisor:
    """The engine. Implements `JobControl`; `serve` must be running."""

    def __init__(self, ports: EnginePorts) -> None:
        self._ports = ports
        self._audit = Audit(ports.store, ports.clock)
        self._faults = FaultLog()
        self._ledger = Ledger(ended_kept_s=ports.limits.ended_kept_s)
        self._pace = Pace(gap_s=ports.limits.source_gap_s)
        self._circuits = Circuits()
        rate = ports.limits.source_requests
        self._budgets = Budgets(ports.clock, rate) if rate else None
        self._origins = Origins(ports.store, ports.resolve)
        self._gate = Gate(ports.limits.overall, ports.clock, wake=self._room_came)
        self._notes = BreakerNotes(ports.store)
        self._fleet = Fleet(self._fleet_ports())
        self._starts = Starts(self._fleet, self._gate, self._ledger, ports.store, ports.check)
        self._loops = Loops(self._loops_ports())
        self._drain = Drain(ports.clock, self._loops, self._fleet, self.close)
        self._since: dict[tuple[str, str], tuple[str, datetime]] = {}
        self._lateness = Lateness()
        self._started_at = ports.clock.now()
        self._file_faults: dict[str, str] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._recovered = asyncio.Event()
        self._over = asyncio.Event()
        self._unfinished = 0

    # --- life -----------------------------------------------------------------------------------------

    async def serve(self) -> None:
        """Load what a former process left, then work until `close`.

        Raises:
            ExceptionGroup: of StoreError: records cannot be kept; nothing may be launched any more.
        """
        try:
            async with asyncio.TaskGroup() as self._tasks:
                await self._fleet.recover()
                self._recovered.set()
                self._spawn(self._guard("sweep", self._fleet.sweep), "engine/sweep")
                await self._until_closed()
        except* _Closed:
            log.info("engine.closed", unfinished=self._unfinished)

    async def _until_closed(self) -> None:
        """End the task group from within when `close` is called."""
        await self._over.wait()
        self._unfinished = len(self._fleet)  # once the group has ended, the fleet has let go of all
        raise _Closed

    def close(self) -> None:
        """Stop ticking and let go of replicas without stopping them: the next start adopts them."""
        self._gate.close()
        self._over.set()

    async def ready(self) -> None:
        """Wait until the records of a former process are loaded; then jobs may be put, and then `take_up`."""
        await self._recovered.wait()

    def take_up(self) -> None:
        """Take up the executions of a former process. Not before the jobs are put.

        What was recorded but not started needs its job's secrets, which no record holds.
        """
        self._fleet.resume()

    def _spawn(self, work: Coroutine[object, object, None], name: str) -> asyncio.Task[None]:
        if self._tasks is None:
            work.close()
            raise RuntimeError("the engine is not running")
        return self._tasks.create_task(work, name=name)

    async def _guard(self, name: str, run: Callable[[], Coroutine[object, object, None]]) -> None:
        """Restart a loop after a bug in it, with a growing pause; a store failure goes up."""
        pause = 1.0
        while True:
            try:
                await run()
            except* StoreError:
                raise
            except* Exception:
                log.exception("loop.failed", loop=name, again_in_s=pause)
            await self._ports.clock.sleep(pause)
            pause = min(pause * 2, 60.0)

    def _fleet_ports(self) -> FleetPorts:
        ports = self._ports
        return FleetPorts(
            clock=ports.clock,
            limits=ports.limits,
            store=ports.store,
            audit=self._audit,
            ledger=self._ledger,
            gate=self._gate,
            faults=self._faults,
            crew=ports.crew,
            instance=ports.instance,
            spawn=self._spawn,
            secrets=self._secrets,
            ended=self._ended,
        )

    def _secrets(self, job: str) -> Mapping[str, Secret]:
        return self._loops.secrets(job)

    def _ended(self, state: ExecutionState) -> None:
        self._ports.recorder.ended(state)
        self._loops.ended(state)

    def _run_loop(self, loop: AnyLoop) -> asyncio.Task[None]:
        return self._spawn(self._guard(loop.job.name, loop.run), f"job:{loop.job.name}")

    def _room_came(self, job: str) -> None:
        loop = self._loops.of(job)
        if loop is not None:
            loop.room_came()

    # --- jobs -----------------------------------------------------------------------------------------

    async def put(self, job: Job) -> None:
        """Add a job or replace its definition; executions that run are not touched.

        Raises:
            ConfigError: its executor is unknown or lacks its package.
        """
        if not self._over.is_set():
            await self._loops.put(job)

    async def delete(self, name: str) -> None:
        """Forget a job; executions that run go on to their end."""
        await self._loops.delete(name)

    def file_faults(self, by_job: Mapping[str, str]) -> None:
        """Take note of broken edits that were not applied: job name (or file) to text."""
        self._file_faults = dict(by_job)

    def _loops_ports(self) -> LoopsPorts:
        ports = self._ports
        return LoopsPorts(
            clock=ports.clock,
            store=ports.store,
            crew=ports.crew,
            ledger=self._ledger,
            ended_kept_s=ports.limits.ended_kept_s,
            run=self._run_loop,
            forget=self._gate.forget,
            event=self._loop_ports,
            schedule=self._schedule_ports,
        )

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
                circuits=self._circuits,
                budgets=self._budgets,
            ),
            notes=self._notes,
            poison=self._poison_ports(),
            ask=self._gate.ask,
            start=self._starts.by_event,
            settle=self._settle_origin,
            late=self._lateness.note,
            recorder=ports.recorder,
        )

    def _poison_ports(self) -> PoisonPorts:
        ports = self._ports
        return PoisonPorts(
            clock=ports.clock, store=ports.store, audit=self._audit, faults=self._faults,
            sessions=ports.sessions, resolve=ports.resolve, timeout_s=ports.limits.poll_s,
        )  # fmt: skip

    async def _settle_origin(self, job: Job, trigger: EventTrigger) -> None:
        self._ledger.count_from(job.name, await self._origins.since(job, trigger))

    def _schedule_ports(self) -> SchedulePorts:
        return SchedulePorts(
            wall=self._ports.wall or self._ports.clock.now,
            store=self._ports.store,
            live=lambda job: len(self._ledger.scheduled(job)),
            started=self._starts.is_fired,
            ask=self._gate.ask,
            fire=self._starts.fire,
            stop_all=self._starts.stop_scheduled,
            recorder=self._ports.recorder,
        )

    # --- JobControl -----------------------------------------------------------------------------------

    def jobs(self) -> tuple[JobView, ...]:
        """List all jobs by name."""
        return tuple(self._view(self._loops.jobs[name]) for name in sorted(self._loops.jobs))

    def job(self, name: str) -> JobView:
        """Find one job."""
        return self._view(self._loops.find(name))

    def _view(self, job: Job) -> JobView:
        now = self._ports.clock.now()
        counts = self._ledger.counts(job.name, now)
        loop, suspended = self._loops.of(job.name), self._loops.suspension(job.name)
        decision = self._loops.last_decision(job.name)
        state = breaker.at(loop.breaker, now) if isinstance(loop, JobLoop) else breaker.CLOSED
        return JobView(
            job=job,
            running=counts.running,
            pending=counts.pending,
            running_other=self._ledger.other(job.name),
            conditions=conditions(job, decision, self._since, now, state, suspended),
            last_decision=decision,
            file_fault=self._file_faults.get(job.name),
            next_poll=loop.next_poll if loop else None,
            suspended=suspended,
        )

    async def start(self, job: str, template: Template | None, *, by: str = SOMEBODY) -> ExecutionState:
        """Start one execution by hand."""
        found = self._loops.find(job)
        self._check_open()
        if suspended := self._loops.suspension(found.name):
            raise Conflict(
                f"job '{found.name}' is {suspended}; 'scaler job resume {found.name}' lets it start"
            )
        if draining := self._drain.state():
            raise Conflict(f"the daemon is being drained by {draining.by} and starts nothing more")
        return await self._starts.by_hand(found, template, by=by)

    def _check_open(self) -> None:
        if self._over.is_set():
            raise Conflict("the daemon is ending and starts nothing more; ask the next one")

    async def stop(self, job: str, execution_id: str, *, by: str = SOMEBODY) -> ExecutionState:
        """Ask an execution to stop; one that has ended is left as it is."""
        return await self._fleet.stop(job.lower(), execution_id, f"stopped by {by}", by=by)

    async def reset(self, job: str, *, by: str = SOMEBODY) -> None:
        """Forget a job's failures: what its breaker holds back may be tried at once."""
        loop = self._loops.of(self._loops.find(job).name)
        if not isinstance(loop, JobLoop):
            raise Conflict(f"job '{job}' has nothing to reset: only event jobs hold messages back")
        await self._audit.record(AuditAction.JOB_RESET, by=by, job=loop.job.name)
        loop.reset_breaker()
        await self._notes.keep(loop.job, breaker.CLOSED)
        log.info("breaker.reset", job=loop.job.name, by=by)

    async def suspend(self, job: str, *, by: str = SOMEBODY) -> None:
        """Let nothing of a job start any more."""
        await self._loops.suspend(job, by)

    async def resume(self, job: str, *, by: str = SOMEBODY) -> None:
        """Let a job start executions again."""
        self._check_open()
        await self._loops.resume(job, by)

    async def drain(self, *, by: str = SOMEBODY, timeout_s: float | None = None) -> None:
        """Start nothing more, wait for what runs, then close."""
        await self._recovered.wait()
        if not self._drain.begin(by):
            return
        await self._audit.record(AuditAction.DAEMON_DRAINED, by=by)
        if not self._over.is_set():  # told to end at once meanwhile
            self._spawn(self._drain.finish(timeout_s), "engine/drain")

    def logs(
        self, job: str, execution_id: str, *, tail: int | None, follow: bool, replica: str | None = None
    ) -> AsyncIterator[str]:
        """Give the log lines of an execution's replicas, or of one, one replica after the other."""
        return self._fleet.logs(job.lower(), execution_id, tail=tail, follow=follow, only=replica)

    async def health(self) -> EngineHealth:
        """Say how the engine is."""
        executors = await self._ports.crew.health()
        p50, p99 = self._lateness.percentiles()
        return EngineHealth(
            ok=self._recovered.is_set() and all(h.ok for _name, h in executors),
            started_at=self._started_at,
            executors=executors,
            lateness_p50_s=p50,
            lateness_p99_s=p99,
            lateness_at_most=self._lateness.at_most(),
            ticks=self._lateness.ticks,
            file_faults=tuple(sorted(set(self._file_faults.values()))),
            draining=self._drain.state(),
            usage=self._gate.usage(),
        )

    async def inspect(self) -> Inspection:
        """Compare records and executors with what must hold of them."""
        ports = self._ports
        return await inspect(
            InspectionPorts(
                store=ports.store, crew=ports.crew, clock=ports.clock, limits=ports.limits,
                jobs=tuple(view.job.name for view in self.jobs()),
            )
        )  # fmt: skip


class _Closed(Exception):
    """Ends the task group on purpose."""
