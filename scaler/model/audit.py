"""Who or what did something to a job or an execution, and how it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

BY_FILE = "file"
BY_SCHEDULE = "schedule"
BY_DAEMON = "daemon"


def by_rules(names: tuple[str, ...]) -> str:
    """Name the rules that started something: `rule orders`, or `rules orders, returns`."""
    return f"{'rule' if len(names) == 1 else 'rules'} {', '.join(names)}"


class AuditAction(StrEnum):
    """What was done. Words are `thing.done`."""

    JOB_CREATED = "job.created"
    JOB_CHANGED = "job.changed"
    JOB_DELETED = "job.deleted"
    JOB_RESET = "job.reset"
    JOB_SUSPENDED = "job.suspended"
    JOB_RESUMED = "job.resumed"
    EXECUTION_STARTED = "execution.started"
    EXECUTION_STOPPED = "execution.stopped"
    DAEMON_STARTED = "daemon.started"
    DAEMON_STOPPED = "daemon.stopped"
    DAEMON_DRAINED = "daemon.drained"
    MESSAGE_MOVED = "message.moved"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One thing that was asked for, recorded before it had its effect.

    Attributes:
        at: when, aware UTC.
        by: `cli:USER`, `api:USER`, `api:token` …, `rule NAME`, `schedule`, `file` or `daemon`.
        job, execution: what it was done to; None where it was not one of them.
        detail: more for people; never a secret.
        id: number of the entry, ascending; None until it is recorded.
    """

    at: datetime
    by: str
    action: AuditAction
    job: str | None = None
    execution: str | None = None
    detail: str = ""
    id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditQuery:
    """Which entries are wanted; None of a field means any. `since` is included, `until` is not."""

    job: str | None = None
    execution: str | None = None
    by: str | None = None
    action: AuditAction | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPage:
    """Entries newest first; `cursor` continues behind the last one, None at the end."""

    items: tuple[AuditEntry, ...]
    cursor: str | None
