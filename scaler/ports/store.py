"""What is kept, and what may be asked of it. Only the engine writes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from scaler.model.audit import AuditEntry, AuditPage, AuditQuery
from scaler.model.decision import Decision
from scaler.model.execution import ExecutionState, ExecutionStatus
from scaler.model.history import ExecutionQuery
from scaler.model.retention import Expired, Pruning


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Executions newest first; `cursor` continues behind the last one, None at the end."""

    items: tuple[ExecutionState, ...]
    cursor: str | None


class StoreReader(Protocol):
    """Reads; every method raises StoreError rather than guess."""

    async def execution(self, job: str, execution_id: str) -> ExecutionState | None:
        """Find one execution; None if there is none of that name under that job."""
        ...

    async def executions(
        self,
        job: str,
        *,
        limit: int = 100,
        cursor: str | None = None,
        statuses: frozenset[ExecutionStatus] | None = None,
    ) -> Page:
        """List a job's executions, newest first.

        Raises:
            ValueError: `cursor` is not one that this store gave.
        """
        ...

    async def find(self, query: ExecutionQuery, *, limit: int = 100, cursor: str | None = None) -> Page:
        """List the executions that are asked for, of one job or of all, newest first.

        Raises:
            ValueError: `cursor` is not one that this store gave.
        """
        ...

    async def ended_counts(self) -> dict[str, int]:
        """Count the ended executions of each job that has some."""
        ...

    async def expired(self, pruning: Pruning, *, limit: int) -> tuple[Expired, ...]:
        """List executions that a pruning names and that may go, the oldest of a job first, `limit` at most.

        What has not ended may not go, nor what has a replica whose remains are not removed.
        """
        ...

    async def decisions(self, job: str, *, limit: int = 50) -> tuple[Decision, ...]:
        """List a job's latest decisions, newest first."""
        ...

    async def status_counts(self, job: str) -> dict[ExecutionStatus, int]:
        """Count a job's executions by status."""
        ...

    async def audit(self, query: AuditQuery, *, limit: int = 100, cursor: str | None = None) -> AuditPage:
        """List what was done and by whom, newest first.

        Raises:
            ValueError: `cursor` is not one that this store gave.
        """
        ...


class Store(StoreReader, Protocol):
    """Writes, by the engine alone."""

    async def begin(self, states: tuple[ExecutionState, ...], *, by: tuple[AuditEntry, ...] = ()) -> None:
        """Record new executions with their pending replicas, durably, before anything starts.

        `by` tells who began them; it is recorded in the same transaction.
        """
        ...

    async def note(self, *entries: AuditEntry) -> None:
        """Record who did what, durably."""
        ...

    async def apply(self, state: ExecutionState) -> None:
        """Record the next state of an execution and all its replicas, in one transaction.

        Raises:
            StoreError: the recorded status may not be followed by the new one, or writing failed.
        """
        ...

    async def unfinished(self) -> tuple[ExecutionState, ...]:
        """List executions that are not final, or have replicas whose remains are not yet removed."""
        ...

    async def decide(self, decision: Decision) -> int:
        """Record a decision and give its id."""
        ...

    async def prune(
        self, executions: Collection[str], *, decisions: int | None = None, entries: int | None = None
    ) -> None:
        """Drop executions with all that belongs to them, in one transaction.

        One that has not ended, or has a replica whose remains are not removed, stays. Of decisions the newest
        `decisions` of each job are kept, of audit entries that are about no execution the newest `entries`;
        None leaves them alone.
        """
        ...

    async def remember(self, key: str, value: str, *, by: tuple[AuditEntry, ...] = ()) -> None:
        """Keep one small text under a key (instance id, schedule marks, job generations).

        `by` tells who caused it; it is recorded in the same transaction.
        """
        ...

    async def recall(self, key: str) -> str | None:
        """Give the text kept under a key, or None."""
        ...
