"""What the engine of a simulation writes: it is counted, and kept only for as long as the engine may ask for it.

Not a whole store: the engine of a simulation is asked nothing from outside, so what only that needs is not there.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from scaler.errors import StoreError
from scaler.model.decision import Decision
from scaler.model.execution import ExecutionState, ExecutionStatus
from scaler.ports.store import Page

ENDS_KEPT: Final = 1000
"""Ended executions of a job that a new process may still ask for."""


@dataclass(slots=True)
class JobNotes:
    """What became of one job's executions."""

    started: int = 0
    live: int = 0
    peak: int = 0
    decisions: int = 0
    ended: Counter[ExecutionStatus] = field(default_factory=Counter)


class Notes:
    """Stands for the store."""

    def __init__(self) -> None:
        self.jobs: dict[str, JobNotes] = defaultdict(JobNotes)
        self._names: set[str] = set()
        self._open: dict[str, ExecutionState] = {}
        self._ended: dict[str, deque[ExecutionState]] = defaultdict(partial(deque, maxlen=ENDS_KEPT))
        self._texts: dict[str, str] = {}
        self._decided = 0

    @property
    def live(self) -> int:
        """Executions that have not ended."""
        return sum(job.live for job in self.jobs.values())

    async def begin(self, states: tuple[ExecutionState, ...], **_more: object) -> None:
        """Count new executions."""
        for state in states:
            notes = self.jobs[state.execution.job]
            notes.started += 1
            notes.live += 1
            notes.peak = max(notes.peak, notes.live)
            self._names.add(state.execution.id)
            self._open[state.execution.id] = state

    async def apply(self, state: ExecutionState) -> None:
        """Keep the state of one that lives or has remains, count one that ends."""
        execution = state.execution
        before = self._open.get(execution.id)
        if before is None:
            raise StoreError(f"execution {execution.id}: is not recorded as open")
        self._open[execution.id] = state
        if not execution.is_final:
            return
        if not before.execution.is_final:
            notes = self.jobs[execution.job]
            notes.live -= 1
            notes.ended[execution.status] += 1
            self._ended[execution.job].appendleft(state)
        if all(replica.removed for replica in state.replicas):
            del self._open[execution.id]

    async def decide(self, decision: Decision) -> int:
        """Count a decision."""
        self._decided += 1
        self.jobs[decision.job].decisions += 1
        return self._decided

    async def execution(self, job: str, execution_id: str) -> ExecutionState | None:
        """Find one that is open, or ended lately."""
        found = self._open.get(execution_id)
        if found is not None or execution_id not in self._names:
            return found
        return next((s for s in self._ended[job] if s.execution.id == execution_id), None)

    async def executions(self, job: str, **_more: object) -> Page:
        """List those that ended lately, newest first: what a new process asks for."""
        return Page(items=tuple(self._ended[job]), cursor=None)

    async def unfinished(self) -> tuple[ExecutionState, ...]:
        """List those that are open."""
        return tuple(self._open.values())

    async def remember(self, key: str, value: str, **_more: object) -> None:
        """Keep a text."""
        self._texts[key] = value

    async def recall(self, key: str) -> str | None:
        """Give a text that was kept."""
        return self._texts.get(key)

    async def note(self, *_entries: object, **_more: object) -> None:
        """Keep no audit."""
