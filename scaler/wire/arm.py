"""Answers of the API in Azure Resource Manager's shapes: a job, an execution."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from scaler.model.execution import ExecutionState, ExecutionStatus
from scaler.model.job import Job
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


def arm_job(job: Job, *, subscription: str, resource_group: str) -> dict[str, Any]:
    """Write a job as a resource. Its `location` is `local` if its author gave none."""
    document = job_document(job)
    properties = {"provisioningState": "Succeeded", "runningState": "Ready", **document.get("properties", {})}
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
    `endTime` is left out while it runs and, as the service does, on stopped ones. `share` is ours: the part of the
    source that the execution was handed, left out where there is none.
    """
    execution = state.execution
    properties: dict[str, Any] = {
        "status": execution.status.value,
        "startTime": format_time(execution.started_at or execution.created_at),
    }
    if execution.ended_at is not None and execution.status is not ExecutionStatus.STOPPED:
        properties["endTime"] = format_time(execution.ended_at)
    properties["template"] = template_document(execution.template)
    name = execution.template.container.name
    properties["detailedStatus"] = {"replicas": [_replica(replica, name) for replica in state.replicas]}
    if execution.share is not None:
        properties["share"] = execution.share.key
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


def _replica(replica: Replica, container: str) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": container, "status": replica.status.value}
    if replica.exit_code is not None:
        entry["code"] = replica.exit_code
    information = ": ".join(text for text in (replica.reason, replica.message) if text)
    if information:
        entry["additionalInformation"] = information
    return {"name": replica.id, "containers": [entry]}


def format_time(moment: datetime) -> str:
    """Write a time as the service does: RFC 3339, whole seconds, `+00:00`."""
    return moment.astimezone(UTC).replace(microsecond=0).isoformat()
