"""Decides what of the history is dropped. Pure: what there is and what time it is are told."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from scaler.model.retention import KeptLog, Pruning, Retention


def plan_pruning(policy: Retention, ended: Mapping[str, int], now: datetime) -> Pruning:
    """Say which executions have to go.

    Args:
        policy: what is kept.
        ended: how many ended executions of each job are recorded.
        now: the moment.
    """
    most = policy.executions
    surplus = () if most is None else tuple((job, n - most) for job, n in sorted(ended.items()) if n > most)
    return Pruning(surplus=surplus, before=None if policy.age is None else now - policy.age)


def plan_logs(logs: Iterable[KeptLog], *, most_bytes: int | None, live: Collection[str]) -> tuple[str, ...]:
    """Say whose logs have to go so that the rest takes `most_bytes` at most; those of `live` replicas stay.

    The oldest go first. What live replicas write counts, and is bounded by their executor.
    """
    if most_bytes is None:
        return ()
    kept = sorted(logs, key=lambda log: (log.at, log.replica))
    over = sum(log.size_bytes for log in kept) - most_bytes
    doomed: list[str] = []
    for log in kept:
        if over <= 0:
            break
        if log.replica not in live:
            doomed.append(log.replica)
            over -= log.size_bytes
    return tuple(doomed)
