"""Which failures an execution may make up for, and after which pause (docs/adr/0018 and 0019)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from scaler.model.execution import ExecutionState, ExecutionStatus, Verdict
from scaler.model.replica import Fault, Replica, ReplicaStatus

INFRA_RESTARTS = 5
"""Failures of what runs replicas that one execution makes up for, beside `replicaRetryLimit`."""
FIRST_PAUSE = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(seconds=60)


def back_off(failures: int) -> timedelta:
    """Give the pause after so many failures of one slot: none, then 1, 2, 4 … seconds, at most 60."""
    if failures == 0:
        return timedelta()
    return min(FIRST_PAUSE * 2.0 ** min(failures - 1, 20), LONGEST_PAUSE)


def is_failure(replica: Replica) -> bool:
    """Whether a replica has ended without success, by itself or by trouble of what runs it."""
    return replica.status in (ReplicaStatus.FAILED, ReplicaStatus.UNKNOWN)


def fault_of(replica: Replica) -> Fault:
    """Say against which budget a failed replica counts; records of older releases do not tell."""
    if replica.fault is not None:
        return replica.fault
    return Fault.INFRA if replica.status is ReplicaStatus.UNKNOWN else Fault.APP


def failures(replicas: Iterable[Replica], fault: Fault) -> list[Replica]:
    """List the failed replicas that count against one budget, oldest first."""
    return [one for one in replicas if is_failure(one) and fault_of(one) is fault]


def exhausted(state: ExecutionState) -> Verdict | None:
    """End an execution whose failures have used up a budget; None while both last.

    It is `Failed` if its app failed too often, or if nothing of it was ever started. Where a replica was started
    and nobody knows what became of it, its work may have been done: `Unknown`.
    """
    execution = state.execution
    limit = execution.replica_retry_limit
    by_app = failures(state.replicas, Fault.APP)
    if len(by_app) > limit:
        return _failed_by_app(by_app, limit)
    by_infra = failures(state.replicas, Fault.INFRA)
    if len(by_infra) <= INFRA_RESTARTS:
        return None
    is_unknown = any(one.status is ReplicaStatus.UNKNOWN for one in by_infra)
    return Verdict(
        status=ExecutionStatus.UNKNOWN if is_unknown else ExecutionStatus.FAILED,
        reason=by_infra[-1].reason or "Lost",
        message=(
            f"{len(by_infra)} failures of what runs its replicas, {INFRA_RESTARTS} are made up for; "
            f"last: {_telling(by_infra[-1])}"
        ),
        fault=Fault.INFRA,
    )


def _failed_by_app(failed: list[Replica], limit: int) -> Verdict:
    what, reason = _telling(failed[-1]), failed[-1].reason or "Error"
    if limit > 0:
        what = f"{len(failed)} failures, replicaRetryLimit is {limit}; last: {what}"
        reason = "BackoffLimitExceeded"
    return Verdict(status=ExecutionStatus.FAILED, reason=reason, message=what, fault=Fault.APP)


def _telling(replica: Replica) -> str:
    code = "not known" if replica.exit_code is None else str(replica.exit_code)
    what = f"replica {replica.id} failed: {replica.reason}, exit code {code}"
    return what + (f" ({replica.message})" if replica.message else "")
