"""The labels by which an executor finds its replicas again; made here only, so that launch and list agree."""

from __future__ import annotations

from collections.abc import Mapping

from scaler.model.names import LABEL_EXECUTION, LABEL_INSTANCE, LABEL_JOB, LABEL_REPLICA
from scaler.model.replica import ReplicaSpec


def labels_of(spec: ReplicaSpec, instance: str) -> dict[str, str]:
    """Give all labels of a replica: the spec's own, and ours, which win."""
    return {
        **spec.labels,
        LABEL_INSTANCE: instance,
        LABEL_JOB: spec.job,
        LABEL_EXECUTION: spec.execution_id,
        LABEL_REPLICA: spec.replica_id,
    }


def replica_of(labels: Mapping[str, str] | None, instance: str) -> str | None:
    """Give the replica id that labels name, or None if they are not this daemon's."""
    if not labels or labels.get(LABEL_INSTANCE) != instance:
        return None
    return labels.get(LABEL_REPLICA)


def owner_filter(instance: str) -> dict[str, list[str]]:
    """Give the engine's filter for everything that bears this daemon's label."""
    return {"label": [f"{LABEL_INSTANCE}={instance}"]}
