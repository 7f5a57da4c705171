"""The life of one execution: its state and what happened give the next state and what to do.

Rules (those of the Kubernetes Job on which Container Apps jobs are built): at most `parallelism` replicas
live, and never more than completions still missing; a failed replica is replaced, after a pause, while the
failures of the whole execution do not exceed `replicaRetryLimit`, or if it was no fault of the app, a budget of
their own; the outcome, once certain, never changes, and becomes the status when the last replica has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice

from scaler.model.execution import ExecutionState, ExecutionStatus, Verdict
from scaler.model.replica import Fault, Replica, ReplicaExit, ReplicaHandle, ReplicaStatus
from scaler.planning.outcome import NEVER_STARTED, Outcome, outcome_of, refusal
from scaler.planning.retries import back_off, exhausted, is_failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """The execution was recorded, or is taken up again after a restart: start what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched:
    """The executor started a replica; `asked_at` is when it was asked to, if this process asked."""

    replica_id: str
    handle: ReplicaHandle
    asked_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchRefused:
    """The executor says that the replica cannot be started. By a fault of `INFRA` another try may."""

    replica_id: str
    reason: str
    message: str
    fault: Fault = Fault.APP


@dataclass(frozen=True, slots=True, kw_only=True)
class NeverStarted:
    """The replica was to be stopped before it was launched."""

    replica_id: str


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


ExecutionEvent = Begun | Launched | LaunchRefused | NeverStarted | TimedOut | Exited | StopRequested


@dataclass(frozen=True, slots=True, kw_only=True)
class StartReplica:
    """Launch this recorded replica, not before its time; if it is to be stopped already, note that instead."""

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
    if isinstance(event, Begun | StopRequested):
        return state
    replica = state.replica(event.replica_id)
    if replica is None or replica.is_final:
        return None
    match event:
        case Launched() | NeverStarted() if replica.status is not ReplicaStatus.PENDING:
            return None
        case Launched(handle=handle, asked_at=asked_at):
            running = replace(
                replica, status=ReplicaStatus.RUNNING, handle=handle, launched_at=asked_at, started_at=now
            )
            return _with(_started(state, now), running)
        case NeverStarted():
            return _with(state, _closed(replica, NEVER_STARTED, now))
        case LaunchRefused(reason=reason, message=message, fault=fault):
            return _with(state, _closed(replica, refusal(reason, message, fault), now))
        case TimedOut():
            return None if replica.timed_out else _with(state, replace(replica, timed_out=True))
        case Exited(exit=how):
            return _with(_started(state, now), _ended(state, replica, how, now))


def _started(state: ExecutionState, now: datetime) -> ExecutionState:
    execution = state.execution
    if execution.status is not ExecutionStatus.PROCESSING:
        return state
    running = replace(execution, status=ExecutionStatus.RUNNING, started_at=execution.started_at or now)
    return replace(state, execution=running)


def _ended(state: ExecutionState, replica: Replica, how: ReplicaExit, now: datetime) -> Replica:
    execution = state.execution
    judged = outcome_of(
        how,
        overran=execution.replica_timeout if replica.timed_out else None,
        is_ending=execution.verdict is not None,
    )
    return replace(
        _closed(replica, judged, _end(how, now)),
        started_at=replica.started_at or how.at or now,
        exit_code=how.code,
        message=judged.message or (how.log_lost or ""),
        usage=how.usage,
        image_digest=how.image_digest,
    )


def _closed(replica: Replica, judged: Outcome, at: datetime) -> Replica:
    return replace(
        replica,
        status=judged.status,
        reason=judged.reason,
        message=judged.message,
        fault=judged.fault,
        ended_at=max(at, replica.started_at or replica.created_at or at),  # also by a clock that was set back
    )


def _end(how: ReplicaExit, now: datetime) -> datetime:
    """Give when it ended: the backend's word, as far as it is possible (clocks differ); else now."""
    return now if how.at is None else min(now, how.at)


def _with(state: ExecutionState, replica: Replica) -> ExecutionState:
    return replace(state, replicas=tuple(replica if r.id == replica.id else r for r in state.replicas))


def _judge(state: ExecutionState, event: ExecutionEvent) -> ExecutionState:
    """Settle the outcome if it is certain now. The first verdict stands."""
    execution = state.execution
    if execution.verdict is not None:
        return state
    verdict: Verdict | None = None
    if _succeeded(state) >= execution.replica_completion_count:
        verdict = Verdict(status=ExecutionStatus.SUCCEEDED, reason="Completed", message="")
    elif isinstance(event, StopRequested):
        verdict = Verdict(status=ExecutionStatus.STOPPED, reason="Stopped", message=event.message)
    elif isinstance(event, LaunchRefused) and event.fault is Fault.APP:
        verdict = Verdict(
            status=ExecutionStatus.FAILED, reason=event.reason, message=event.message, fault=Fault.APP
        )
    else:
        verdict = exhausted(state)
    return state if verdict is None else replace(state, execution=replace(execution, verdict=verdict))


def _succeeded(state: ExecutionState) -> int:
    return sum(r.status is ReplicaStatus.SUCCEEDED for r in state.replicas)


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
    want_live = min(execution.parallelism, execution.replica_completion_count - _succeeded(state))
    missing = max(0, want_live - len(state.live))
    added = tuple(_next_of_slot(state, slot, now, new_replica_id) for slot in _free_slots(state, missing))
    starts = added
    if isinstance(event, Begun):
        starts = tuple(r for r in state.replicas if r.status is ReplicaStatus.PENDING) + added
    actions: tuple[Action, ...] = tuple(StartReplica(replica=r) for r in starts)
    if isinstance(event, TimedOut):
        actions += (StopReplica(replica_id=event.replica_id),)
    return Step(state=replace(state, replicas=state.replicas + added), actions=actions)


def _free_slots(state: ExecutionState, most: int) -> Iterator[int]:
    """Give the first completions that nothing has reached or works on, by number; none is looked for in vain."""
    done = {r.ordinal for r in state.replicas if r.status is ReplicaStatus.SUCCEEDED or not r.is_final}
    free = (slot for slot in range(state.execution.replica_completion_count) if slot not in done)
    return islice(free, most)


def _next_of_slot(
    state: ExecutionState, slot: int, now: datetime, new_replica_id: Callable[[], str]
) -> Replica:
    before = [r for r in state.replicas if r.ordinal == slot]
    failed = sum(map(is_failure, before))
    return Replica(
        id=new_replica_id(),
        execution_id=state.execution.id,
        ordinal=slot,
        attempt=1 + len(before),
        created_at=now,
        not_before=now + back_off(failed) if failed else None,
    )
