"""A JobControl and a StoreReader that tests fill by hand, and the values to fill them with."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from scaler.errors import NotFound
from scaler.model.audit import AuditEntry, AuditPage, AuditQuery
from scaler.model.capacity import Amount, GlobalLimits
from scaler.model.decision import Bound, Decision, Occasion, Reason, RuleVerdict
from scaler.model.execution import FINAL, Cause, Execution, ExecutionState, ExecutionStatus
from scaler.model.history import ExecutionQuery
from scaler.model.job import (
    Combine,
    Container,
    EventTrigger,
    Job,
    ManualTrigger,
    ScaleRule,
    StrategyName,
    Template,
    Trigger,
)
from scaler.model.names import manual_execution_name
from scaler.model.replica import Health, Replica, ReplicaStatus
from scaler.model.suspension import Suspension
from scaler.planning.invariants import Violation
from scaler.ports.control import SOMEBODY, Condition, Draining, EngineHealth, Inspection, JobView, Usage
from scaler.ports.store import Page

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


def make_job(name: str = "orders", trigger: Trigger | None = None) -> Job:
    """Make an event job with one rule, or one with the given trigger."""
    rule = ScaleRule(name="queue", type="azure-queue", metadata={"queueName": "orders"})
    container = Container(name="main", image="worker:1", command=("python", "work.py"))
    trigger = trigger or EventTrigger(rules=(rule,), max_executions=10)
    word = "Manual" if isinstance(trigger, ManualTrigger) else "Event"
    document = {
        "name": name,
        "properties": {
            "configuration": {"triggerType": word, "replicaTimeout": 60},
            "template": {
                "containers": [
                    {
                        "name": "main",
                        "image": "worker:1",
                        "command": ["python", "work.py"],
                        "env": [{"name": "MODE", "value": "live"}, {"name": "LEVEL", "value": "1"}],
                        "resources": {"cpu": 0.5, "memory": "1Gi"},
                    }
                ]
            },
        },
    }
    return Job(
        name=name,
        trigger=trigger,
        template=Template(container=container),
        replica_timeout=timedelta(seconds=60),
        document=json.dumps(document),
    )


def make_state(
    name: str, *, job: str = "orders", status: ExecutionStatus = ExecutionStatus.RUNNING, age_s: int = 0
) -> ExecutionState:
    """Make an execution with one replica that fits its status."""
    began = NOW - timedelta(seconds=age_s)
    final = status in FINAL
    execution = Execution(
        id=name,
        job=job,
        generation=1,
        cause=Cause.EVENT,
        template=make_job(job).template,
        executor="docker",
        replica_timeout=timedelta(seconds=60),
        replica_retry_limit=0,
        parallelism=1,
        replica_completion_count=1,
        created_at=began,
        started_at=began,
        ended_at=began + timedelta(seconds=5) if final else None,
        status=status,
    )
    replica = Replica(
        id=f"{name}-abcde",
        execution_id=name,
        ordinal=0,
        attempt=1,
        status=ReplicaStatus(status.value) if final else ReplicaStatus.RUNNING,
        exit_code=0 if status is ExecutionStatus.SUCCEEDED else None,
    )
    return ExecutionState(execution=execution, replicas=(replica,))


def make_decision(
    job: str = "orders", *, number: int = 1, launch: int = 3, rules: tuple[RuleVerdict, ...] | None = None
) -> Decision:
    """Make a decision on 25 messages at 5 an execution with 2 running."""
    verdict = RuleVerdict(
        name="queue", type="azure-queue", value=25.0, taken=None, active=True, target=5.0, needed=5
    )
    return Decision(
        id=number,
        job=job,
        at=NOW,
        occasion=Occasion.TICK,
        rules=(verdict,) if rules is None else rules,
        strategy=StrategyName.AUTO,
        combine=Combine.MAX,
        min_executions=0,
        max_executions=10,
        running=2,
        pending=1,
        ended_since=0,
        wanted=5,
        waiting=3,
        launch=launch,
        bound=Bound.NONE,
        reason=Reason.LAUNCHED if launch else Reason.NO_WORK,
        formula="ceil(25 / 5) - 2 = 3",
        message="",
    )


def make_view(job: Job, last: Decision | None = None) -> JobView:
    """Make the live view of a healthy job."""
    ready = Condition(type="Ready", status="True", reason="Evaluated", message="", since=NOW)
    active = Condition(type="Active", status="False", reason="NoWork", message="empty", since=NOW)
    return JobView(
        job=job,
        running=2,
        pending=1,
        running_other=0,
        conditions=(ready, active),
        last_decision=last,
        file_fault=None,
        next_poll=NOW + timedelta(seconds=30),
    )


class FakeStore:
    """Records in lists, newest first; the cursor is a position."""

    def __init__(self) -> None:
        self.states: list[ExecutionState] = []
        self.made: list[Decision] = []
        self.entries: list[AuditEntry] = []
        self.asked: AuditQuery | None = None
        self.query: ExecutionQuery | None = None
        self.error: Exception | None = None

    def _of(self, job: str) -> list[ExecutionState]:
        if self.error is not None:
            raise self.error
        return [state for state in self.states if state.execution.job == job]

    async def execution(self, job: str, execution_id: str) -> ExecutionState | None:
        return next((s for s in self._of(job) if s.execution.id == execution_id), None)

    async def executions(
        self,
        job: str,
        *,
        limit: int = 100,
        cursor: str | None = None,
        statuses: frozenset[ExecutionStatus] | None = None,
    ) -> Page:
        return await self.find(ExecutionQuery(job=job, statuses=statuses), limit=limit, cursor=cursor)

    async def find(self, query: ExecutionQuery, *, limit: int = 100, cursor: str | None = None) -> Page:
        if self.error is not None:
            raise self.error
        self.query = query
        found = [s for s in self.states if query.fits(s.execution)]
        start = int(cursor or 0)
        rest = len(found) > start + limit
        return Page(items=tuple(found[start : start + limit]), cursor=str(start + limit) if rest else None)

    async def decisions(self, job: str, *, limit: int = 50) -> tuple[Decision, ...]:
        return tuple(decision for decision in self.made if decision.job == job)[:limit]

    async def audit(self, query: AuditQuery, *, limit: int = 100, cursor: str | None = None) -> AuditPage:
        if self.error is not None:
            raise self.error
        self.asked = query
        start = int(cursor or 0)
        rest = len(self.entries) > start + limit
        items = tuple(self.entries[start : start + limit])
        return AuditPage(items=items, cursor=str(start + limit) if rest else None)

    async def status_counts(self, job: str) -> dict[ExecutionStatus, int]:
        counts: dict[ExecutionStatus, int] = {}
        for state in self._of(job):
            counts[state.execution.status] = counts.get(state.execution.status, 0) + 1
        return counts


@dataclass
class FakeControl:
    """An engine that starts nothing: it writes down what it was asked."""

    store: FakeStore
    views: dict[str, JobView] = field(default_factory=dict)
    started: list[tuple[str, Template | None]] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    resets: list[str] = field(default_factory=list)
    callers: list[str] = field(default_factory=list)
    replicas: list[str | None] = field(default_factory=list)
    draining: Draining | None = None
    drain_timeout_s: float | None = None
    lines: list[str] = field(default_factory=lambda: ["one", "two", "three"])
    follow_until: asyncio.Event = field(default_factory=asyncio.Event)
    log_error: Exception | None = None
    error: Exception | None = None
    ok: bool = True
    violations: tuple[Violation, ...] = ()
    silent: tuple[str, ...] = ()
    file_faults: tuple[str, ...] = ()
    outcome: ExecutionStatus = ExecutionStatus.RUNNING

    def add(self, *jobs: Job) -> None:
        for job in jobs:
            self.views[job.name] = make_view(job)

    def jobs(self) -> tuple[JobView, ...]:
        if self.error is not None:
            raise self.error
        return tuple(self.views[name] for name in sorted(self.views))

    def job(self, name: str) -> JobView:
        if self.error is not None:
            raise self.error
        if name.lower() not in self.views:
            raise NotFound(f"no job '{name}'")
        return self.views[name.lower()]

    async def start(self, job: str, template: Template | None, *, by: str = SOMEBODY) -> ExecutionState:
        self.callers.append(by)
        self.started.append((job, template))
        state = make_state(manual_execution_name(job), job=job, status=self.outcome)
        self.store.states.insert(0, state)
        return state

    async def reset(self, job: str, *, by: str = SOMEBODY) -> None:
        self.callers.append(by)
        self.resets.append(job)

    async def suspend(self, job: str, *, by: str = SOMEBODY) -> None:
        self.callers.append(by)
        view = self.job(job)
        self.views[job] = replace(view, suspended=view.suspended or Suspension(by=by, at=NOW))

    async def resume(self, job: str, *, by: str = SOMEBODY) -> None:
        self.callers.append(by)
        self.views[job] = replace(self.job(job), suspended=None)

    async def stop(self, job: str, execution_id: str, *, by: str = SOMEBODY) -> ExecutionState:
        self.callers.append(by)
        state = await self.store.execution(job, execution_id)
        if state is None:
            raise NotFound(f"no execution '{execution_id}'")
        self.stopped.append(execution_id)
        if state.execution.is_final:
            return state
        message = replace(state.execution, reason="StopRequested")
        return replace(state, execution=message)

    async def inspect(self) -> Inspection:
        if self.error is not None:
            raise self.error
        return Inspection(violations=self.violations, executions=3, decisions=5, silent=self.silent)

    async def drain(self, *, by: str = SOMEBODY, timeout_s: float | None = None) -> None:
        self.callers.append(by)
        if self.error is not None:
            raise self.error
        self.draining = self.draining or Draining(by=by, at=NOW, unfinished=len(self.store.states))
        self.drain_timeout_s = timeout_s

    async def health(self) -> EngineHealth:
        return EngineHealth(
            ok=self.ok,
            started_at=NOW - timedelta(minutes=5),
            executors=(("docker", Health(ok=self.ok, message="answers" if self.ok else "no answer")),),
            lateness_p50_s=0.001,
            lateness_p99_s=0.01,
            lateness_at_most=((0.001, 2), (0.5, 4)),
            ticks=7,
            file_faults=self.file_faults,
            draining=self.draining,
            usage=Usage(
                limits=GlobalLimits(executions=4),
                used=Amount(executions=3, cpu=1.5, memory_bytes=3 << 30),
                waiting=("orders",),
            ),
        )

    async def logs(
        self, job: str, execution_id: str, *, tail: int | None, follow: bool, replica: str | None = None
    ) -> AsyncIterator[str]:
        self.replicas.append(replica)
        if self.log_error is not None and not self.lines:
            raise self.log_error
        for line in self.lines if tail is None else self.lines[len(self.lines) - tail :]:
            yield line
        if self.log_error is not None:
            raise self.log_error
        if follow:
            await self.follow_until.wait()
            yield "last"
