"""What is alive, in memory: a mirror of the store's unfinished executions, so that counts cannot fail."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from scaler.model.execution import Cause, Execution, ExecutionState
from scaler.model.replica import ReplicaStatus
from scaler.planning.counts import NO_COUNTS, Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """When an event execution was seen to end, and the key of the share that it had, if any."""

    at: datetime
    share: str | None = None
    generation: int = 0

    @classmethod
    def of(cls, execution: Execution, seen_at: datetime | None = None) -> End | None:
        """Read it off a record; None if it has not ended, or was started by hand or schedule.

        What was seen to end now counts as ended now, whatever time the executor's clock gave it.
        """
        at = seen_at or execution.ended_at
        if execution.cause is not Cause.EVENT or not execution.is_final or at is None:
            return None
        share = execution.share.key if execution.share else None
        return cls(at=at, share=share, generation=execution.generation)


class Ledger:
    """Unfinished executions by job, and when event executions ended lately.

    Written only after the store has the same durably. Job names are unique keys in lower case already.
    """

    def __init__(self, *, ended_kept_s: float) -> None:
        self._live: dict[str, dict[str, ExecutionState]] = {}
        self._ended: dict[str, deque[End]] = {}
        self._forgotten: Counter[str] = Counter()
        self._since: dict[str, int] = {}
        self._kept = timedelta(seconds=ended_kept_s)

    def put(self, state: ExecutionState, now: datetime) -> None:
        """Take in the latest recorded state of an execution; `now` is when it came about."""
        execution = state.execution
        live = self._live.setdefault(execution.job, {})
        if not execution.is_final:
            live[execution.id] = state
            return
        end = End.of(execution, now)
        if live.pop(execution.id, None) and end:
            self._ended.setdefault(execution.job, deque()).append(end)

    def count_from(self, job: str, generation: int) -> None:
        """Take executions of earlier generations for begun for another source: they only have slots."""
        self._since[job] = generation

    def recall(self, job: str, ended: Iterable[End]) -> None:
        """Take in which event executions of a former process ended, before any of this one does."""
        newest_first = sorted(ended, key=lambda end: end.at, reverse=True)
        self._ended.setdefault(job, deque()).extendleft(newest_first)

    def counts(self, job: str, now: datetime) -> Counts:
        """Count a job's event executions."""
        if not self._live.get(job) and not self._ended.get(job) and not self._forgotten[job]:
            return NO_COUNTS
        states = [s for s in self._of(job) if s.execution.cause is Cause.EVENT]
        ended = self._ended.get(job, deque())
        while ended and now - ended[0].at > self._kept:
            ended.popleft()
            self._forgotten[job] += 1
        since = self._since.get(job, 0)
        own = [end for end in ended if end.generation >= since]
        return Counts(
            running=len(states),
            pending=sum(map(_is_pending, states)),
            ended=tuple(end.at for end in own),
            forgotten=self._forgotten[job],
            held=frozenset(s.execution.share.key for s in states if s.execution.share),
            released=tuple((end.share, end.at) for end in own if end.share is not None),
            elsewhere=sum(s.execution.generation < since for s in states),
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

    def execution_ids(self) -> set[str]:
        """Ids of all unfinished executions."""
        return {execution_id for states in self._live.values() for execution_id in states}

    def replica_ids(self) -> set[str]:
        """Ids of all replicas of unfinished executions."""
        return {r.id for states in self._live.values() for s in states.values() for r in s.replicas}

    def _of(self, job: str) -> Iterable[ExecutionState]:
        return self._live.get(job, {}).values()


def _is_pending(state: ExecutionState) -> bool:
    begun = (ReplicaStatus.RUNNING, ReplicaStatus.SUCCEEDED)
    return not any(r.status in begun for r in state.replicas)
