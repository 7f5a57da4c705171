"""Answers of the API in Azure Resource Manager's shapes: a job, an execution."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

from scaler.model.execution import Execution, ExecutionState, ExecutionStatus
from scaler.model.job import Job, Template
from scaler.model.replica import Replica
from scaler.wire.document import template_document
from scaler.wire.job import JOB_TYPE

EXECUTION_TYPE = f"{JOB_TYPE}/executions"
DEFAULT_LOCATION = "local"


def job_id(job_name: str, subscription: str, resource_group: str) -> str:
    """Give the resource id of a job."""
    return f"/subscriptions/{subscription}/resourceGroups/{resource_group}/providers/{JOB_TYPE}/{job_name}"


def execution_id(execution: str, job_name: str, subscription: str, resource_group: str) -> str:
    """Give the resource id of an execution."""
    return f"{job_id(job_name, subscription, resource_group)}/executions/{execution}"


def job_document(job: Job) -> dict[str, Any]:
    """Give the document that a job was declared by, defaults filled in, without any secret's text."""
    document = json.loads(job.document)
    if not isinstance(document, dict):
        raise TypeError(f"the document of job {job.name} is not an object")
    return document


def arm_job(
    job: Job, *, subscription: str, resource_group: str, is_suspended: bool = False
) -> dict[str, Any]:
    """Write a job as a resource. Its `location` is `local` if its author gave none."""
    document = job_document(job)
    running = "Suspended" if is_suspended else "Ready"
    properties = {"provisioningState": "Succeeded", "runningState": running, **document.get("properties", {})}
    return {
        "id": job_id(job.name, subscription, resource_group),
        **document,
        "name": job.name,
        "type": JOB_TYPE,
        "location": document.get("location") or DEFAULT_LOCATION,
        "properties": properties,
    }


def arm_execution(
    state: ExecutionState, job_name: str, subscription: str, resource_group: str
) -> dict[str, Any]:
    """Write an execution as a resource.

    `startTime` is always there (clients fail without it): the time of its creation until it has started.
    `endTime` is left out while it runs and, as the service does, on stopped ones. Ours are `endedAt`, which those
    have too, `share`, `trigger`, `templateHash` and `fault`, each left out where there is none.
    """
    execution = state.execution
    properties: dict[str, Any] = {
        "status": execution.status.value,
        "startTime": format_time(execution.started_at or execution.created_at),
    }
    if execution.ended_at is not None and execution.status is not ExecutionStatus.STOPPED:
        properties["endTime"] = format_time(execution.ended_at)
    if execution.ended_at is not None:
        properties["endedAt"] = precise_time(execution.ended_at)
    properties["template"] = template_document(execution.template)
    properties["detailedStatus"] = {
        "replicas": [_replica(one, decider(execution.template, one)) for one in state.replicas]
    }
    properties |= _identity(execution)
    if execution.reason:
        properties["reason"] = execution.reason
    if execution.message:
        properties["message"] = execution.message
    return {
        "id": execution_id(execution.id, job_name, subscription, resource_group),
        "name": execution.id,
        "type": EXECUTION_TYPE,
        "properties": properties,
    }


def decider(template: Template, replica: Replica) -> str:
    """Name the container whose end a replica's code and reason are: that of its message, else the first."""
    named = (one.name for one in (*template.containers, *template.init))
    found = (name for name in named if re.match(rf"container {re.escape(name)}(:|$)", replica.message))
    return next(found, template.container.name)


def _identity(execution: Execution) -> dict[str, Any]:
    """Tell who started it, what it is a snapshot of, and whose fault its failure was; what is not known is left out."""
    told: dict[str, Any] = {}
    if execution.share is not None:
        told["share"] = execution.share.key
    if execution.trigger is not None:
        told["trigger"] = {"kind": execution.trigger.kind.value, "by": execution.trigger.by}
        if execution.trigger.reading is not None:
            told["trigger"]["reading"] = execution.trigger.reading
    if execution.template_hash is not None:
        told["templateHash"] = execution.template_hash
    if execution.is_final and execution.verdict is not None and execution.verdict.fault is not None:
        told["fault"] = execution.verdict.fault.value
    return told


def _replica(replica: Replica, container: str) -> dict[str, Any]:
    """Write a replica as the service does, and beside that what only we tell; what is not known is left out."""
    entry: dict[str, Any] = {"name": container, "status": replica.status.value}
    if replica.exit_code is not None:
        entry["code"] = replica.exit_code
    information = ": ".join(text for text in (replica.reason, replica.message) if text)
    if information:
        entry["additionalInformation"] = information
    moments = {
        "created": replica.created_at,
        "notBefore": replica.not_before,
        "launched": replica.launched_at,
        "started": replica.started_at,
        "ended": replica.ended_at,
        "removed": replica.removed_at,
    }
    usage = {
        "cpuSeconds": replica.usage.cpu_seconds,
        "peakMemoryBytes": replica.usage.peak_memory_bytes,
    }
    told: dict[str, Any] = {
        "reason": replica.reason,
        "fault": replica.fault and replica.fault.value,
        "imageDigest": replica.image_digest,
        "times": {name: precise_time(at) for name, at in moments.items() if at is not None},
        "usage": {name: number for name, number in usage.items() if number is not None},
    }
    return {
        "name": replica.id,
        "index": replica.ordinal,
        "attempt": replica.attempt,
        "containers": [entry],
        **{name: value for name, value in told.items() if value},
    }


def precise_time(moment: datetime) -> str:
    """Write a time to the millisecond, for phases that take less than a second."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def format_time(moment: datetime) -> str:
    """Write a time as the service does: RFC 3339, whole seconds, `+00:00`."""
    return moment.astimezone(UTC).replace(microsecond=0).isoformat()
