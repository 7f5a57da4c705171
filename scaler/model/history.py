"""What of the history is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from scaler.model.execution import Cause, Execution, ExecutionStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionQuery:
    """Which executions are wanted; None of a field means any.

    Attributes:
        job: by name; None for those of all jobs.
        statuses: any of them.
        cause: which sort of trigger started it.
        by: who or what started it, exactly: a rule's name, `schedule`, or a caller such as `cli:ann`.
        reason: of its end, exactly.
        since, until: when it was created; `since` is included, `until` is not.
    """

    job: str | None = None
    statuses: frozenset[ExecutionStatus] | None = None
    cause: Cause | None = None
    by: str | None = None
    reason: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def fits(self, execution: Execution) -> bool:
        """Whether an execution is wanted."""
        by = execution.trigger.by if execution.trigger else None
        return (
            self.job in (None, execution.job)
            and (self.statuses is None or execution.status in self.statuses)
            and self.cause in (None, execution.cause)
            and self.by in (None, by)
            and self.reason in (None, execution.reason)
            and (self.since is None or self.since <= execution.created_at)
            and (self.until is None or execution.created_at < self.until)
        )
