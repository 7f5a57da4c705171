"""The jobs and their loops: one loop a job at most, and none for a job that is suspended or while all is held.

A job's loop is the only thing that starts executions by itself. Whoever ended it may be sure that nothing starts.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog

from scaler.engine.crew import Crew
from scaler.engine.job_loop import JobLoop, LoopPorts
from scaler.engine.ledger import End, Ledger
from scaler.engine.schedule_loop import ScheduleLoop, SchedulePorts
from scaler.errors import NotFound
from scaler.model.audit import AuditAction, AuditEntry
from scaler.model.decision import Decision, Occasion, Reason, bare_decision
from scaler.model.execution import FINAL, Cause, ExecutionState
from scaler.model.job import EventTrigger, Job, ScheduleTrigger
from scaler.model.secret import Secret
from scaler.model.suspension import Suspension
from scaler.ports.clock import Clock
from scaler.ports.store import Store

log = structlog.get_logger("scaler")

ENDS_RECALLED = 1000
"""Executions looked through for late ends after a restart: more do not end within any source's lag."""

_SUSPENDED = "suspended"
"""Key of the note that holds all suspensions, by job."""

AnyLoop = JobLoop | ScheduleLoop
RunLoop = Callable[[AnyLoop], "asyncio.Task[None]"]
"""Starts the task of a loop, which the engine owns and starts anew after a bug in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopsPorts:
    """What the loops are made from.

    `forget` hears of jobs whose loop has ended: they wait for no room any more.
    `event` and `schedule` make what those of each kind share.
    """

    clock: Clock
    store: Store
    crew: Crew
    ledger: Ledger
    ended_kept_s: float
    run: RunLoop
    forget: Callable[[str], None]
    event: Callable[[], LoopPorts]
    schedule: Callable[[], SchedulePorts]


@dataclass(slots=True)
class Loops:
    """All jobs that are declared, each with its loop if it has one."""

    ports: LoopsPorts
    jobs: dict[str, Job] = field(default_factory=dict)
    is_held: bool = False
    _began: datetime = field(init=False)
    _loops: dict[str, AnyLoop] = field(default_factory=dict)
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _suspended: dict[str, Suspension] = field(default_factory=dict)
    _last_words: dict[str, Decision] = field(default_factory=dict)
    _is_recalled: bool = False
    _recalled: set[str] = field(default_factory=set)
    _changing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self._began = self.ports.clock.now()

    # --- asked ----------------------------------------------------------------------------------------

    def find(self, name: str) -> Job:
        """Find a job, in any letter case.

        Raises:
            NotFound: there is none.
        """
        job = self.jobs.get(name.lower())
        if job is None:
            raise NotFound(f"no job '{name}'")
        return job

    def of(self, name: str) -> AnyLoop | None:
        """Give a job's loop."""
        return self._loops.get(name)

    def suspension(self, name: str) -> Suspension | None:
        """Say whether a job is suspended, by whom and since when."""
        return self._suspended.get(name)

    def last_decision(self, name: str) -> Decision | None:
        """Give the latest decision about a job in this process."""
        loop = self._loops.get(name)
        return loop.last_decision if loop else self._last_words.get(name)

    def secrets(self, name: str) -> Mapping[str, Secret]:
        """Give a job's present secrets."""
        found = self.jobs.get(name)
        return found.secrets if found else {}

    def ended(self, state: ExecutionState) -> None:
        """Tell a job's loop of the end of one of the executions that it started."""
        loop, cause = self._loops.get(state.execution.job), state.execution.cause
        if loop is not None and cause is (Cause.EVENT if isinstance(loop, JobLoop) else Cause.SCHEDULE):
            loop.execution_ended(state)

    # --- changed --------------------------------------------------------------------------------------

    async def put(self, job: Job) -> None:
        """Add a job or replace its definition; executions that run are not touched.

        Raises:
            ConfigError: its executor is unknown or lacks its package.
        """
        known = self.jobs.get(job.name)
        if known == job:
            return
        await self.ports.crew.get(job.executor)
        await self._recall_ends(job.name)
        async with self._changing:
            await self._recall_suspensions()
            await self._end(job.name)
            self.jobs[job.name] = job
            self._begin(job.name)
        log.info("job.changed" if known else "job.added", job=job.name, generation=job.generation)

    async def delete(self, name: str) -> None:
        """Forget a job; executions that run go on to their end, and a suspension is kept."""
        async with self._changing:
            await self._end(name)
            if self.jobs.pop(name, None):
                log.info("job.removed", job=name)

    async def suspend(self, name: str, by: str) -> None:
        """Let nothing of a job start any more, durably; what runs goes on. No-op if it is suspended already.

        Raises:
            NotFound: no such job.
        """
        job = self.find(name)
        async with self._changing:
            if job.name in self._suspended:
                return
            now = self.ports.clock.now()
            await self._remember(job.name, Suspension(by=by, at=now), by)
            await self._end(job.name)
            running = self.ports.ledger.counts(job.name, now).running
            message = f"{self._suspended[job.name]}; 'scaler job resume {job.name}' ends that"
            said = bare_decision(job.name, now, Occasion.SUSPEND, Reason.SUSPENDED, message, running=running)
            self._last_words[job.name] = replace(said, id=await self.ports.store.decide(said))
        log.info("job.suspended", job=job.name, by=by)

    async def resume(self, name: str, by: str) -> None:
        """Let a job start executions again. No-op if it is not suspended.

        Raises:
            NotFound: no such job.
        """
        job = self.find(name)
        async with self._changing:
            if job.name not in self._suspended:
                return
            await self._remember(job.name, None, by)
            self._begin(job.name)
        log.info("job.resumed", job=job.name, by=by)

    async def hold(self) -> None:
        """End all loops and make no new ones: nothing starts by itself any more in this process."""
        async with self._changing:
            self.is_held = True
            for name in tuple(self._tasks):
                await self._end(name)

    def _begin(self, name: str) -> None:
        """Make a job's loop if it is to have one."""
        job = self.jobs.get(name)
        if job is None or self.is_held or name in self._suspended:
            return
        loop = self._make(job)
        if loop is not None:
            self._loops[name] = loop
            self._tasks[name] = self.ports.run(loop)

    async def _end(self, name: str) -> None:
        """End a job's loop; two loops of one job could together exceed its maximum, so wait for its end."""
        task = self._tasks.pop(name, None)
        self._loops.pop(name, None)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        self.ports.forget(name)

    def _make(self, job: Job) -> AnyLoop | None:
        trigger = job.trigger
        if isinstance(trigger, ScheduleTrigger):
            return ScheduleLoop(job, trigger, self.ports.schedule())
        if isinstance(trigger, EventTrigger):
            return JobLoop(job, trigger, self.ports.event())
        return None

    # --- recorded -------------------------------------------------------------------------------------

    async def _recall_ends(self, job: str) -> None:
        """Learn once which executions ended lately in a former process: a reading that lags counts them."""
        if job in self._recalled:
            return
        self._recalled.add(job)
        oldest = self._began - timedelta(seconds=self.ports.ended_kept_s)
        page = await self.ports.store.executions(job, limit=ENDS_RECALLED, statuses=FINAL)
        ends = [end for state in page.items if (end := End.of(state.execution))]
        self.ports.ledger.recall(job, [end for end in ends if oldest <= end.at < self._began])

    async def _recall_suspensions(self) -> None:
        """Learn once what was suspended, also of jobs that are not declared now."""
        if self._is_recalled:
            return
        kept = json.loads(await self.ports.store.recall(_SUSPENDED) or "{}")
        for name, found in kept.items():
            self._suspended[name] = Suspension(by=found["by"], at=datetime.fromisoformat(found["at"]))
        self._is_recalled = True

    async def _remember(self, name: str, suspension: Suspension | None, by: str) -> None:
        """Record it together with who asked for it."""
        after = {key: held for key, held in self._suspended.items() if key != name}
        if suspension is not None:
            after[name] = suspension
        text = json.dumps({key: {"by": held.by, "at": held.at.isoformat()} for key, held in after.items()})
        action = AuditAction.JOB_SUSPENDED if suspension else AuditAction.JOB_RESUMED
        entry = AuditEntry(at=self.ports.clock.now(), by=by, action=action, job=name)
        await self.ports.store.remember(_SUSPENDED, text, by=(entry,))
        self._suspended = after
        self._last_words.pop(name, None)
