"""One run of a job: a snapshot of what it runs, and its state."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from scaler.model.job import Template
from scaler.model.replica import Fault, Replica
from scaler.model.share import Share


class Cause(StrEnum):
    """What started an execution. Only `EVENT` ones take slots of `maxExecutions`."""

    EVENT = "Event"
    MANUAL = "Manual"
    SCHEDULE = "Schedule"


class ExecutionStatus(StrEnum):
    """The closed set of the Container Apps API."""

    PROCESSING = "Processing"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    STOPPED = "Stopped"
    DEGRADED = "Degraded"
    UNKNOWN = "Unknown"


FINAL = frozenset(
    {ExecutionStatus.SUCCEEDED, ExecutionStatus.FAILED, ExecutionStatus.STOPPED, ExecutionStatus.UNKNOWN}
)

LEGAL: dict[ExecutionStatus, frozenset[ExecutionStatus]] = {
    ExecutionStatus.PROCESSING: frozenset({ExecutionStatus.RUNNING}) | FINAL,
    ExecutionStatus.RUNNING: FINAL,
    ExecutionStatus.SUCCEEDED: frozenset(),
    ExecutionStatus.FAILED: frozenset(),
    ExecutionStatus.STOPPED: frozenset(),
    ExecutionStatus.UNKNOWN: frozenset(),
}
"""Which status may follow which. `Unknown` ends what nobody can tell the outcome of. `Degraded` is a word of
the service for its own trouble: this engine never needs it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """Who or what started an execution.

    Attributes:
        kind: which sort of trigger it was.
        by: the rule whose reading asked for it, `schedule`, or the caller's identity.
        reading: what that rule read; None where no rule was asked.
    """

    kind: Cause
    by: str
    reading: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How an execution will end, once its last replica is gone. `fault`: whose trouble made it fail, if any's."""

    status: ExecutionStatus
    reason: str
    message: str
    fault: Fault | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """The record of one execution; limits are copied, so that a later edit of the job changes nothing.

    `verdict` is set as soon as the outcome is certain; `status` becomes final only when every replica has
    ended, so that "final" always means "nothing of it runs". `share` is the part of the source that it was
    handed, as it was when the execution was begun; None if it may take from all of it. `trigger` tells who
    started it and `template_hash` names its snapshot; None in records of releases that did not keep them.
    """

    id: str
    job: str
    generation: int
    cause: Cause
    template: Template
    executor: str
    replica_timeout: timedelta
    replica_retry_limit: int
    parallelism: int
    replica_completion_count: int
    created_at: datetime
    status: ExecutionStatus = ExecutionStatus.PROCESSING
    started_at: datetime | None = None
    ended_at: datetime | None = None
    verdict: Verdict | None = None
    reason: str = ""
    message: str = ""
    decision_id: int | None = None
    share: Share | None = None
    trigger: Trigger | None = None
    template_hash: str | None = None

    @property
    def is_final(self) -> bool:
        """Whether the execution has ended and nothing of it runs."""
        return self.status in FINAL


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionState:
    """An execution with all its replicas, oldest first: what `advance` works on and the store keeps."""

    execution: Execution
    replicas: tuple[Replica, ...] = ()

    def replica(self, replica_id: str) -> Replica | None:
        """Find a replica by its id."""
        return next((r for r in self.replicas if r.id == replica_id), None)

    @property
    def live(self) -> tuple[Replica, ...]:
        """Replicas that have not ended."""
        return tuple(r for r in self.replicas if not r.is_final)
