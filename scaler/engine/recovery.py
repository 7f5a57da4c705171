"""Makes records and reality agree: at start what a former process left, later what nobody owns."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from scaler.engine.faults import FaultLog
from scaler.engine.limits import Limits
from scaler.errors import ExecutorUnavailable
from scaler.model.execution import ExecutionState
from scaler.model.replica import OwnedReplica, ReplicaHandle
from scaler.planning.reconcile import Adopt, MarkLost, Relaunch, Remove, RemoveOrphan, reconcile
from scaler.ports.clock import Clock
from scaler.ports.executor import Executor

log = structlog.get_logger("scaler")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumption:
    """An execution to be taken up.

    Attributes:
        adopted: handles of replicas that were started (None: lost).
        in_launch: replicas that the executor knows but has not started: a start may be under way in it.
        over: those of the adopted that had ended already, so that their time limit has no more say.
    """

    state: ExecutionState
    adopted: dict[str, ReplicaHandle | None] = field(default_factory=dict)
    in_launch: set[str] = field(default_factory=set)
    over: set[str] = field(default_factory=set)

    @property
    def is_running(self) -> bool:
        """Whether anything of it runs, or may be about to."""
        return bool(self.in_launch) or any(handle is not None for handle in self.adopted.values())


async def find_resumptions(
    name: str,
    executor: Executor,
    states: tuple[ExecutionState, ...],
    *,
    clock: Clock,
    limits: Limits,
    faults: FaultLog,
) -> tuple[Resumption, ...]:
    """Match the unfinished executions of one executor with what it holds, and remove orphans.

    Waits for as long as the executor is unavailable: an unknown list is not an empty one.
    """
    owned = await _owned(name, executor, clock=clock, limits=limits, faults=faults)
    resumptions = {s.execution.id: Resumption(state=s) for s in states}
    held = {thing.replica_id: thing for thing in owned}
    findings = reconcile(states, owned, clock.now(), timedelta(seconds=limits.orphan_grace_s))
    for finding in findings:
        match finding:
            case Adopt(replica=replica, handle=handle):
                resumptions[replica.execution_id].adopted[replica.id] = handle
                if held[replica.id].ended:
                    resumptions[replica.execution_id].over.add(replica.id)
                log.info("replica.adopted", execution=replica.execution_id, replica=replica.id)
            case MarkLost(replica=replica):
                resumptions[replica.execution_id].adopted[replica.id] = None
                log.warning("replica.lost", execution=replica.execution_id, replica=replica.id)
            case Relaunch(replica=replica) if replica.id in held:
                resumptions[replica.execution_id].in_launch.add(replica.id)
            case RemoveOrphan(owned=thing):
                await _remove_orphan(executor, thing)
            case Remove() | _:
                pass
    return tuple(resumptions.values())


async def _owned(
    name: str, executor: Executor, *, clock: Clock, limits: Limits, faults: FaultLog
) -> tuple[OwnedReplica, ...]:
    pause = limits.retry_first_s
    while True:
        try:
            owned = await executor.owned()
        except ExecutorUnavailable as exc:
            faults.failed(f"executor:{name}", "ExecutorUnavailable", str(exc), clock.now())
            await clock.sleep(pause)
            pause = min(pause * 2, limits.retry_most_s)
        else:
            faults.well(f"executor:{name}", clock.now())
            return owned


async def sweep(executor: Executor, known: Callable[[], Iterable[str]], clock: Clock, grace_s: float) -> None:
    """Remove replicas that no unfinished execution speaks of, once they are older than the grace.

    `known` is asked after the listing, so that a replica recorded meanwhile is not taken for an orphan.
    """
    try:
        owned = await executor.owned()
    except ExecutorUnavailable:
        return
    ids = set(known())
    for thing in owned:
        old = (clock.now() - thing.created_at).total_seconds() >= grace_s
        if thing.replica_id not in ids and old:
            await _remove_orphan(executor, thing)


async def _remove_orphan(executor: Executor, thing: OwnedReplica) -> None:
    log.warning("replica.orphan_removed", replica=thing.replica_id)
    try:
        if not thing.ended:
            await executor.stop(thing.handle, timedelta(seconds=1))
        await executor.remove(thing.handle)
    except ExecutorUnavailable:
        log.debug("replica.orphan_kept", replica=thing.replica_id)
