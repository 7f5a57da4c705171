"""What the engine of a simulation writes: it is counted, and kept only for as long as it lives.

Not a whole store: the engine of a simulation is asked nothing from outside and never starts again, so what only those
need is not there.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from scaler.model.decision import Decision
from scaler.model.execution import ExecutionState, ExecutionStatus
from scaler.ports.store import Page


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
        self._known: dict[str, ExecutionState | None] = {}
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
            self._known[state.execution.id] = state

    async def apply(self, state: ExecutionState) -> None:
        """Keep the state of one that lives, count one that ends."""
        execution = state.execution
        if self._known.get(execution.id) is None:
            return
        self._known[execution.id] = None if execution.is_final else state
        if execution.is_final:
            notes = self.jobs[execution.job]
            notes.live -= 1
            notes.ended[execution.status] += 1

    async def decide(self, decision: Decision) -> int:
        """Count a decision."""
        self._decided += 1
        self.jobs[decision.job].decisions += 1
        return self._decided

    async def execution(self, job: str, execution_id: str) -> ExecutionState | None:
        """Find one that lives."""
        found = self._known.get(execution_id)
        return found if found is not None and found.execution.job == job else None

    async def executions(self, job: str, **_more: object) -> Page:
        """Tell of none: no process was there before."""
        del job
        return Page(items=(), cursor=None)

    async def unfinished(self) -> tuple[ExecutionState, ...]:
        """Tell of none, likewise."""
        return ()

    async def remember(self, key: str, value: str, **_more: object) -> None:
        """Keep a text."""
        self._texts[key] = value

    async def recall(self, key: str) -> str | None:
        """Give a text that was kept."""
        return self._texts.get(key)

    async def note(self, *_entries: object, **_more: object) -> None:
        """Keep no audit."""
