"""The life of one execution: its state and what happened give the next state and what to do.

Rules (those of the Kubernetes Job on which Container Apps jobs are built): at most `parallelism` replicas
live, and never more than completions still missing; a failed replica is replaced while the failures of the
whole execution do not exceed `replicaRetryLimit`; the outcome, once certain, never changes, and becomes the
status when the last replica has ended.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from scaler.model.execution import ExecutionState, ExecutionStatus, Verdict
from scaler.model.replica import Replica, ReplicaExit, ReplicaHandle, ReplicaStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """The execution was recorded, or is taken up again after a restart: start what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched:
    """The executor started a replica."""

    replica_id: str
    handle: ReplicaHandle


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchRefused:
    """The executor says that the replica cannot be started."""

    replica_id: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedOut:
    """The replica has used up `replicaTimeout`."""

    replica_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exited:
    """The replica has ended."""

    replica_id: str
    exit: ReplicaExit


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRequested:
    """Somebody asked for the execution to stop."""

    message: str = "stopped on request"


ExecutionEvent = Begun | Launched | LaunchRefused | TimedOut | Exited | StopRequested


@dataclass(frozen=True, slots=True, kw_only=True)
class StartReplica:
    """Launch this recorded replica, or if it is to be stopped already, note that it never started."""

    replica: Replica


@dataclass(frozen=True, slots=True, kw_only=True)
class StopReplica:
    """Stop this replica; its exit follows as an event."""

    replica_id: str


Action = StartReplica | StopReplica


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The next state, and what to do once it is recorded."""

    state: ExecutionState
    actions: tuple[Action, ...] = ()


def advance(
    state: ExecutionState, event: ExecutionEvent, now: datetime, new_replica_id: Callable[[], str]
) -> Step:
    """Take one event into account. The same event twice changes nothing; a final state never changes."""
    if state.execution.is_final:
        return Step(state=state)
    changed = _take_in(state, event, now)
    if changed is None:
        return Step(state=state)
    judged = _judge(changed, event)
    return _settle(judged, event, now, new_replica_id)


def _take_in(state: ExecutionState, event: ExecutionEvent, now: datetime) -> ExecutionState | None:
    """Apply the event to the replica it is about; None if it says nothing new."""
    match event:
        case Begun() | StopRequested():
            return state
        case Launched(replica_id=rid, handle=handle):
            replica = state.replica(rid)
            if replica is None or replica.status is not ReplicaStatus.PENDING:
                return None
            running = replace(replica, status=ReplicaStatus.RUNNING, handle=handle, started_at=now)
            return _with(_started(state, now), running)
        case TimedOut(replica_id=rid):
            replica = state.replica(rid)
            if replica is None or replica.is_final or replica.timed_out:
                return None
            return _with(state, replace(replica, timed_out=True))
        case LaunchRefused(replica_id=rid, reason=reason, message=message):
            replica = state.replica(rid)
            if replica is None or replica.is_final:
                return None
            failed = replace(
                replica, status=ReplicaStatus.FAILED, ended_at=now, reason=reason, message=message
            )
            return _with(state, failed)
        case Exited(replica_id=rid, exit=how):
            replica = state.replica(rid)
            if replica is None or replica.is_final:
                return None
            return _with(_started(state, now), _ended(state, replica, how, now))


def _started(state: ExecutionState, now: datetime) -> ExecutionState:
    execution = state.execution
    if execution.status is not ExecutionStatus.PROCESSING:
        return state
    running = replace(execution, status=ExecutionStatus.RUNNING, started_at=execution.started_at or now)
    return replace(state, execution=running)


def _ended(state: ExecutionState, replica: Replica, how: ReplicaExit, now: datetime) -> Replica:
    """Name the outcome of a replica; a timeout or a stop outweighs whatever code it left with."""
    status, reason, message = ReplicaStatus.FAILED, how.reason, how.message
    if replica.timed_out:
        reason = "ReplicaTimeout"
        message = f"ran longer than {state.execution.replica_timeout.total_seconds():g} s and was stopped"
    elif state.execution.verdict is not None and how.code != 0:
        status, reason, message = ReplicaStatus.STOPPED, "Stopped", message or "stopped with its execution"
    elif how.code is None:
        status = ReplicaStatus.UNKNOWN
    elif how.code == 0:
        status = ReplicaStatus.SUCCEEDED
    return replace(
        replica,
        status=status,
        ended_at=_end(replica, how, now),
        started_at=replica.started_at or how.at or now,
        exit_code=how.code,
        reason=reason,
        message=message or (how.log_lost or ""),
    )


def _end(replica: Replica, how: ReplicaExit, now: datetime) -> datetime:
    """Give when it ended: the backend's word, as far as it is possible (clocks differ); else now."""
    if how.at is None:
        return now
    return min(now, max(how.at, replica.started_at or how.at))


def _with(state: ExecutionState, replica: Replica) -> ExecutionState:
    return replace(state, replicas=tuple(replica if r.id == replica.id else r for r in state.replicas))


def _judge(state: ExecutionState, event: ExecutionEvent) -> ExecutionState:
    """Settle the outcome if it is certain now. The first verdict stands."""
    execution = state.execution
    if execution.verdict is not None:
        return state
    verdict: Verdict | None = None
    succeeded = sum(r.status is ReplicaStatus.SUCCEEDED for r in state.replicas)
    failed = [r for r in state.replicas if r.status in (ReplicaStatus.FAILED, ReplicaStatus.UNKNOWN)]
    if succeeded >= execution.replica_completion_count:
        verdict = Verdict(status=ExecutionStatus.SUCCEEDED, reason="Completed", message="")
    elif isinstance(event, StopRequested):
        verdict = Verdict(status=ExecutionStatus.STOPPED, reason="Stopped", message=event.message)
    elif isinstance(event, LaunchRefused):
        verdict = Verdict(status=ExecutionStatus.FAILED, reason=event.reason, message=event.message)
    elif len(failed) > execution.replica_retry_limit:
        verdict = _failure(failed, execution.replica_retry_limit)
    return state if verdict is None else replace(state, execution=replace(execution, verdict=verdict))


def _failure(failed: list[Replica], limit: int) -> Verdict:
    last = failed[-1]
    code = "not known" if last.exit_code is None else str(last.exit_code)
    what = f"replica {last.id} failed: {last.reason}, exit code {code}"
    what += f" ({last.message})" if last.message else ""
    if limit == 0:
        return Verdict(status=ExecutionStatus.FAILED, reason=last.reason or "Error", message=what)
    return Verdict(
        status=ExecutionStatus.FAILED,
        reason="BackoffLimitExceeded",
        message=f"{len(failed)} failures, replicaRetryLimit is {limit}; last: {what}",
    )


def _settle(
    state: ExecutionState, event: ExecutionEvent, now: datetime, new_replica_id: Callable[[], str]
) -> Step:
    """Start what is missing, or end what is left, or close the execution."""
    execution = state.execution
    if execution.verdict is None:
        return _fill(state, event, now, new_replica_id)
    if not state.live:
        verdict = execution.verdict
        ended_at = max((r.ended_at for r in state.replicas if r.ended_at is not None), default=now)
        closed = replace(
            execution,
            status=verdict.status,
            reason=verdict.reason,
            message=verdict.message,
            ended_at=ended_at,
        )
        return Step(state=replace(state, execution=closed))
    actions: tuple[Action, ...] = tuple(StopReplica(replica_id=r.id) for r in state.live)
    if isinstance(event, Begun):  # taken up again: somebody must see to the end of those not started yet
        actions += tuple(StartReplica(replica=r) for r in state.live if r.status is ReplicaStatus.PENDING)
    return Step(state=state, actions=actions)


def _fill(
    state: ExecutionState, event: ExecutionEvent, now: datetime, new_replica_id: Callable[[], str]
) -> Step:
    execution = state.execution
    succeeded = sum(r.status is ReplicaStatus.SUCCEEDED for r in state.replicas)
    want_live = min(execution.parallelism, execution.replica_completion_count - succeeded)
    slots = sorted(set(range(execution.parallelism)) - {r.ordinal for r in state.live})
    missing = max(0, want_live - len(state.live))
    added = tuple(
        Replica(
            id=new_replica_id(),
            execution_id=execution.id,
            ordinal=slots[i],
            attempt=1 + sum(r.ordinal == slots[i] for r in state.replicas),
            created_at=now,
        )
        for i in range(missing)
    )
    starts = added
    if isinstance(event, Begun):
        starts = tuple(r for r in state.replicas if r.status is ReplicaStatus.PENDING) + added
    actions: tuple[Action, ...] = tuple(StartReplica(replica=r) for r in starts)
    if isinstance(event, TimedOut):
        actions += (StopReplica(replica_id=event.replica_id),)
    return Step(state=replace(state, replicas=state.replicas + added), actions=actions)
