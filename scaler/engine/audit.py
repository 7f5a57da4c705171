"""Records who did what, before it is done."""

from __future__ import annotations

from dataclasses import dataclass

from scaler.model.audit import AuditAction, AuditEntry
from scaler.model.execution import ExecutionState
from scaler.ports.clock import Clock
from scaler.ports.store import Store


@dataclass(frozen=True, slots=True)
class Audit:
    """The engine's pen for the audit. Secrets must never be handed to it."""

    store: Store
    clock: Clock

    async def record(
        self,
        action: AuditAction,
        *,
        by: str,
        job: str | None = None,
        execution: str | None = None,
        detail: str = "",
    ) -> None:
        """Record one thing, durably when this returns: do it afterwards."""
        await self.store.note(
            AuditEntry(at=self.clock.now(), by=by, action=action, job=job, execution=execution, detail=detail)
        )

    def starts(self, states: tuple[ExecutionState, ...], by: str) -> tuple[AuditEntry, ...]:
        """Make the entries that go into the transaction in which executions are begun."""
        now = self.clock.now()
        return tuple(
            AuditEntry(
                at=now,
                by=by,
                action=AuditAction.EXECUTION_STARTED,
                job=state.execution.job,
                execution=state.execution.id,
            )
            for state in states
        )
