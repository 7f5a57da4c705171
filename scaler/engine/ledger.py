"""What is alive, in memory: a mirror of the store's unfinished executions, so that counts cannot fail."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from datetime import datetime, timedelta

from scaler.model.execution import Cause, ExecutionState
from scaler.model.replica import ReplicaStatus
from scaler.planning.plan import Counts


class Ledger:
    """Unfinished executions by job, and when event executions ended lately.

    Written only after the store has the same durably. Job names are unique keys in lower case already.
    """

    def __init__(self, *, ended_kept_s: float) -> None:
        self._live: dict[str, dict[str, ExecutionState]] = {}
        self._ended: dict[str, deque[datetime]] = {}
        self._forgotten: Counter[str] = Counter()
        self._kept = timedelta(seconds=ended_kept_s)

    def put(self, state: ExecutionState) -> None:
        """Take in the latest recorded state of an execution."""
        execution = state.execution
        live = self._live.setdefault(execution.job, {})
        if not execution.is_final:
            live[execution.id] = state
            return
        if live.pop(execution.id, None) and execution.cause is Cause.EVENT and execution.ended_at:
            self._ended.setdefault(execution.job, deque()).append(execution.ended_at)

    def recall(self, job: str, ended: Iterable[datetime]) -> None:
        """Take in when event executions of a former process ended, before any of this one does."""
        self._ended.setdefault(job, deque()).extendleft(sorted(ended, reverse=True))

    def counts(self, job: str, now: datetime) -> Counts:
        """Count a job's event executions."""
        states = [s for s in self._of(job) if s.execution.cause is Cause.EVENT]
        ended = self._ended.get(job, deque())
        while ended and now - ended[0] > self._kept:
            ended.popleft()
            self._forgotten[job] += 1
        return Counts(
            running=len(states),
            pending=sum(map(_is_pending, states)),
            ended=tuple(ended),
            forgotten=self._forgotten[job],
        )

    def other(self, job: str) -> int:
        """Count a job's unfinished executions that were started by hand or schedule."""
        return sum(s.execution.cause is not Cause.EVENT for s in self._of(job))

    def scheduled(self, job: str) -> tuple[str, ...]:
        """Ids of a job's unfinished executions that its schedule started."""
        return tuple(s.execution.id for s in self._of(job) if s.execution.cause is Cause.SCHEDULE)

    def find(self, job: str, execution_id: str) -> ExecutionState | None:
        """Find an unfinished execution."""
        return self._live.get(job, {}).get(execution_id)

    def replica_ids(self) -> set[str]:
        """Ids of all replicas of unfinished executions."""
        return {r.id for states in self._live.values() for s in states.values() for r in s.replicas}

    def _of(self, job: str) -> Iterable[ExecutionState]:
        return self._live.get(job, {}).values()


def _is_pending(state: ExecutionState) -> bool:
    begun = (ReplicaStatus.RUNNING, ReplicaStatus.SUCCEEDED)
    return not any(r.status in begun for r in state.replicas)
