"""How much of the past is kept, and what of it is to be dropped."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """The policy; None of a bound means that there is none.

    Attributes:
        executions: how many ended executions of a job are kept, the newest ones.
        age: how long after its end an execution is kept.
        log_bytes: how much all kept logs may take together; the oldest go first.
        decisions: how many decisions of a job are kept.
        entries: how many entries of the audit are kept that are about no execution; the others go with theirs.
    """

    executions: int | None = 10_000
    age: timedelta | None = None
    log_bytes: int | None = 10 << 30
    decisions: int = 500
    entries: int = 100_000


DEFAULT_RETENTION = Retention()
CONTAINER_APPS = Retention(executions=100)
"""What Container Apps keep: the newest 100 ended executions of a job, and all that run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruning:
    """What is to be dropped: per job so many of its oldest ended executions, and all that ended before a moment."""

    surplus: tuple[tuple[str, int], ...] = ()
    before: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """An execution that is to be dropped, with the ids of its replicas."""

    execution: str
    replicas: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptLog:
    """The log of one replica, all its files together. `at`: when it was written last."""

    replica: str
    size_bytes: int
    at: float
