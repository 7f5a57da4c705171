"""After a start: our records against what the executor holds. Every owned thing is decided exactly once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from scaler.model.execution import ExecutionState
from scaler.model.replica import OwnedReplica, Replica, ReplicaHandle, ReplicaStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopt:
    """It was started: wait for it with this handle, whether or not it has ended meanwhile."""

    replica: Replica
    handle: ReplicaHandle


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaunch:
    """It was recorded but never started: launch it under the same id, which is idempotent."""

    replica: Replica


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkLost:
    """It ran once and the executor knows nothing of it any more."""

    replica: Replica


@dataclass(frozen=True, slots=True, kw_only=True)
class Remove:
    """Its end is recorded; only the remains are left. `handle` None: nothing is left but the note of it."""

    replica: Replica
    handle: ReplicaHandle | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveOrphan:
    """No record speaks of it."""

    owned: OwnedReplica


Finding = Adopt | Relaunch | MarkLost | Remove | RemoveOrphan


def reconcile(
    records: Iterable[ExecutionState],
    owned: Iterable[OwnedReplica],
    now: datetime,
    grace: timedelta,
) -> tuple[Finding, ...]:
    """Decide what to do with each recorded and each owned replica of one executor.

    An owned thing without a record is left alone while it is younger than `grace`.
    """
    held = {o.replica_id: o for o in owned}
    findings: list[Finding] = []
    recorded: set[str] = set()
    for state in records:
        for replica in state.replicas:
            recorded.add(replica.id)
            finding = _decide(replica, held.get(replica.id))
            if finding is not None:
                findings.append(finding)
    findings.extend(
        RemoveOrphan(owned=thing)
        for replica_id, thing in held.items()
        if replica_id not in recorded and now - thing.created_at >= grace
    )
    return tuple(findings)


def _decide(replica: Replica, thing: OwnedReplica | None) -> Finding | None:
    if replica.is_final:
        if replica.removed:
            return Remove(replica=replica, handle=thing.handle) if thing else None
        return Remove(replica=replica, handle=thing.handle if thing else None)
    if thing is not None and thing.started:
        return Adopt(replica=replica, handle=thing.handle)
    if replica.status is ReplicaStatus.PENDING:
        return Relaunch(replica=replica)
    return MarkLost(replica=replica)
