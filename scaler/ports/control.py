"""What the API may ask of the engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from scaler.model.capacity import NOTHING, UNLIMITED, Amount, GlobalLimits
from scaler.model.decision import Decision
from scaler.model.execution import ExecutionState
from scaler.model.job import Job, Template
from scaler.model.replica import Health
from scaler.model.suspension import Suspension
from scaler.planning.invariants import Violation

SOMEBODY: Final = "somebody"
"""Who asked, where nothing better is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What a job says of itself. `status` is `True`, `False` or `Unknown`, as in Kubernetes."""

    type: str
    status: str
    reason: str
    message: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """A job as the engine has it now.

    Attributes:
        running, pending: its event executions (all / without a running replica yet).
        running_other: executions started by hand or schedule that have not ended.
        conditions: `Ready` (can it be evaluated?), `Active` (is there work?) and `Healthy` (do executions succeed?).
        file_fault: the text of a broken edit that was not applied, or None.
        next_poll: when it is evaluated next, if nothing happens before.
        suspended: who suspended it, and when; None if it is not.
    """

    job: Job
    running: int
    pending: int
    running_other: int
    conditions: tuple[Condition, ...]
    last_decision: Decision | None
    file_fault: str | None
    next_poll: datetime | None
    suspended: Suspension | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Draining:
    """That the daemon starts nothing more: who asked and when, and how many executions it waits for."""

    by: str
    at: datetime
    unfinished: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What all executions take of the limits of the daemon, and the jobs that wait for room, by name."""

    limits: GlobalLimits = UNLIMITED
    used: Amount = NOTHING
    waiting: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineHealth:
    """Whether the engine works.

    Attributes:
        executors: by name.
        lateness_p50_s, lateness_p99_s: of the latest ticks, seconds.
        lateness_at_most: bounds (seconds) and how many ticks were no later, since the daemon's start.
        ticks: all of them since then.
    """

    ok: bool
    started_at: datetime
    executors: tuple[tuple[str, Health], ...]
    lateness_p50_s: float
    lateness_p99_s: float
    ticks: int
    file_faults: tuple[str, ...]
    lateness_at_most: tuple[tuple[float, int], ...] = ()
    draining: Draining | None = None
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What a look at records and executors found.

    Attributes:
        violations: promises that do not hold; empty if all is well.
        executions, decisions: how many were looked at.
        silent: executors that did not answer, of which nothing was compared.
    """

    violations: tuple[Violation, ...]
    executions: int
    decisions: int
    silent: tuple[str, ...]


class JobControl(Protocol):
    """Commands and the live view; implemented by the engine's supervisor.

    `by` names who asks: `cli:USER`, `api:socket`, `api:token`; it is told where the
    effect is told, and it is in the audit before the effect.
    """

    def jobs(self) -> tuple[JobView, ...]:
        """List all jobs by name."""
        ...

    def job(self, name: str) -> JobView:
        """Find one job (letter case does not matter).

        Raises:
            NotFound: no such job.
        """
        ...

    async def start(self, job: str, template: Template | None, *, by: str = SOMEBODY) -> ExecutionState:
        """Start one execution by hand, durably recorded when this returns; `template` replaces the job's.

        Raises:
            NotFound: no such job.
            Conflict: it is suspended.
            ConfigError: the executor could not run the template.
        """
        ...

    async def stop(self, job: str, execution_id: str, *, by: str = SOMEBODY) -> ExecutionState:
        """Ask an execution to stop; one that has ended is left as it is. Its verdict says `stopped by ...`.

        Raises:
            NotFound: no such job or execution.
        """
        ...

    async def reset(self, job: str, *, by: str = SOMEBODY) -> None:
        """Forget a job's failures: what the breaker holds back may be tried at once.

        Raises:
            NotFound: no such job.
            Conflict: it is no event job.
        """
        ...

    async def suspend(self, job: str, *, by: str = SOMEBODY) -> None:
        """Let nothing of a job start, whatever asks for it, until it is resumed; what runs goes on.

        It is durable when this returns, and holds over restarts and edits of the job's file.

        Raises:
            NotFound: no such job.
        """
        ...

    async def resume(self, job: str, *, by: str = SOMEBODY) -> None:
        """End a suspension; due times of a schedule that passed meanwhile follow its catch-up policy.

        Raises:
            NotFound: no such job.
        """
        ...

    async def drain(self, *, by: str = SOMEBODY, timeout_s: float | None = None) -> None:
        """Start nothing more, wait for what runs (so long at most), then end; returns at once.

        Executions that are left after the time run on, for the next daemon to adopt. A second call changes nothing.
        """
        ...

    async def health(self) -> EngineHealth:
        """Say how the engine is."""
        ...

    async def inspect(self) -> Inspection:
        """Compare records, decisions and what executors hold with what must hold of them; changes nothing."""
        ...

    def logs(
        self, job: str, execution_id: str, *, tail: int | None, follow: bool, replica: str | None = None
    ) -> AsyncIterator[str]:
        """Give the log lines of an execution's replicas, or of one, one replica after the other.

        Raises:
            NotFound: no such job or execution.
        """
        ...
