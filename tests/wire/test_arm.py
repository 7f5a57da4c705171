"""Answers in Azure Resource Manager's shapes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from scaler.model.execution import Cause, Execution, ExecutionState, ExecutionStatus, Trigger, Verdict
from scaler.model.job import Container, EnvVar, Job, Resources, Template
from scaler.model.replica import Fault, Replica, ReplicaStatus, Usage
from scaler.wire.arm import arm_execution, arm_job, format_time
from scaler.wire.base import format_memory, parse_memory
from scaler.wire.job import read_job

START = datetime(2026, 3, 1, 10, 0, 0, 999, tzinfo=UTC)
EXECUTION = Execution(
    id="orders-abc",
    job="orders",
    generation=1,
    cause=Cause.EVENT,
    template=Template(
        container=Container(
            name="worker",
            image="w:1",
            command=("run",),
            env=(EnvVar(name="URL", secret_ref="address"), EnvVar(name="N", value="1")),
            resources=Resources(cpu=0.25, memory_bytes=512 << 20),
        )
    ),
    executor="docker",
    replica_timeout=timedelta(seconds=60),
    replica_retry_limit=0,
    parallelism=1,
    replica_completion_count=1,
    created_at=START,
)


def _job(**members: object) -> Job:
    document = {
        "name": "orders",
        "configuration": {"triggerType": "manual", "replicaTimeout": 60},
        "template": {"containers": [{"image": "w:1"}]},
        **members,
    }
    reading = read_job(document)
    assert reading.faults == ()
    assert reading.job is not None
    return reading.job.to_model(secrets={}, folder="/")


def test_a_job_is_the_whole_resource_with_defaults() -> None:
    assert arm_job(_job(), subscription="s", resource_group="g") == {
        "id": "/subscriptions/s/resourceGroups/g/providers/Microsoft.App/jobs/orders",
        "name": "orders",
        "type": "Microsoft.App/jobs",
        "location": "local",
        "tags": None,
        "identity": {"type": "None"},
        "properties": {
            "provisioningState": "Succeeded",
            "runningState": "Ready",
            "environmentId": None,
            "workloadProfileName": None,
            "configuration": {
                "triggerType": "Manual",
                "replicaTimeout": 60,
                "replicaRetryLimit": 0,
                "manualTriggerConfig": {"parallelism": 1, "replicaCompletionCount": 1},
                "scheduleTriggerConfig": None,
                "eventTriggerConfig": None,
                "secrets": None,
                "registries": None,
                "identitySettings": [],
                "dapr": None,
            },
            "template": {
                "containers": [
                    {
                        "name": "orders",
                        "image": "w:1",
                        "resources": {"cpu": 0.5, "memory": "1Gi", "ephemeralStorage": "2Gi"},
                    }
                ],
                "initContainers": [],
            },
        },
        "x-scaler": {"executor": "docker", "refill": True, "secrets": []},
    }


def test_an_answer_can_be_sent_back_as_a_job() -> None:
    sent = arm_job(_job(tags={"a": "b"}, location="here"), subscription="s", resource_group="g")
    reading = read_job(sent)
    assert reading.faults == ()
    assert reading.job is not None
    again = arm_job(reading.job.to_model(secrets={}, folder="/"), subscription="s", resource_group="g")
    assert again["properties"]["configuration"] == sent["properties"]["configuration"]
    assert (again["tags"], again["location"]) == ({"a": "b"}, "here")


def test_an_execution_is_the_whole_resource() -> None:
    execution = replace(
        EXECUTION,
        status=ExecutionStatus.FAILED,
        started_at=START,
        ended_at=START + timedelta(seconds=5),
        reason="BackoffLimitExceeded",
        message="used up",
    )
    failed = ReplicaStatus.FAILED
    replica = Replica(
        id="orders-abc-1", execution_id="orders-abc", ordinal=0, attempt=1, status=failed, exit_code=3,
        reason="Error", message="exit 3",
    )  # fmt: skip
    body = arm_execution(ExecutionState(execution=execution, replicas=(replica,)), "orders", "s", "g")
    assert body == {
        "id": "/subscriptions/s/resourceGroups/g/providers/Microsoft.App/jobs/orders/executions/orders-abc",
        "name": "orders-abc",
        "type": "Microsoft.App/jobs/executions",
        "properties": {
            "status": "Failed",
            "startTime": "2026-03-01T10:00:00+00:00",
            "endTime": "2026-03-01T10:00:05+00:00",
            "endedAt": "2026-03-01T10:00:05.000+00:00",
            "template": {
                "containers": [
                    {
                        "name": "worker",
                        "image": "w:1",
                        "command": ["run"],
                        "env": [{"name": "URL", "secretRef": "address"}, {"name": "N", "value": "1"}],
                        "resources": {"cpu": 0.25, "memory": "0.5Gi", "ephemeralStorage": "1Gi"},
                    }
                ],
                "initContainers": [],
            },
            "detailedStatus": {
                "replicas": [
                    {
                        "name": "orders-abc-1",
                        "index": 0,
                        "attempt": 1,
                        "reason": "Error",
                        "containers": [
                            {
                                "name": "worker",
                                "status": "Failed",
                                "code": 3,
                                "additionalInformation": "Error: exit 3",
                            }
                        ],
                    }
                ]
            },
            "reason": "BackoffLimitExceeded",
            "message": "used up",
        },
    }


def test_an_execution_tells_who_started_it_whose_fault_it_was_and_how_each_replica_went() -> None:
    execution = replace(
        EXECUTION,
        status=ExecutionStatus.UNKNOWN,
        trigger=Trigger(kind=Cause.EVENT, by="queue", reading=7.5),
        template_hash="sha256:5f70",
        verdict=Verdict(status=ExecutionStatus.UNKNOWN, reason="Lost", message="", fault=Fault.INFRA),
    )
    replica = Replica(
        id="orders-abc-1",
        execution_id="orders-abc",
        ordinal=2,
        attempt=3,
        status=ReplicaStatus.UNKNOWN,
        reason="Lost",
        fault=Fault.INFRA,
        usage=Usage(cpu_seconds=0.0),
        image_digest="sha256:0a1b",
        created_at=START,
        not_before=START + timedelta(seconds=2),
        launched_at=START + timedelta(seconds=2.25),
        started_at=START + timedelta(seconds=2.5),
        ended_at=START + timedelta(seconds=3),
        removed_at=START + timedelta(seconds=4),
    )
    body = arm_execution(ExecutionState(execution=execution, replicas=(replica,)), "orders", "s", "g")
    properties = body["properties"]
    assert {name: properties[name] for name in ("status", "trigger", "templateHash", "fault")} == {
        "status": "Unknown",
        "trigger": {"kind": "Event", "by": "queue", "reading": 7.5},
        "templateHash": "sha256:5f70",
        "fault": "infra",
    }
    assert properties["detailedStatus"]["replicas"] == [
        {
            "name": "orders-abc-1",
            "index": 2,
            "attempt": 3,
            "containers": [{"name": "worker", "status": "Unknown", "additionalInformation": "Lost"}],
            "reason": "Lost",
            "fault": "infra",
            "imageDigest": "sha256:0a1b",
            "times": {
                "created": "2026-03-01T10:00:00.000+00:00",
                "notBefore": "2026-03-01T10:00:02.000+00:00",
                "launched": "2026-03-01T10:00:02.250+00:00",
                "started": "2026-03-01T10:00:02.500+00:00",
                "ended": "2026-03-01T10:00:03.000+00:00",
                "removed": "2026-03-01T10:00:04.000+00:00",
            },
            "usage": {"cpuSeconds": 0.0},
        }
    ]


def test_a_new_execution_has_a_start_and_no_end() -> None:
    properties = arm_execution(ExecutionState(execution=EXECUTION), "orders", "s", "g")["properties"]
    assert properties["startTime"] == "2026-03-01T10:00:00+00:00"
    assert [key for key in ("endTime", "endedAt", "reason", "message") if key in properties] == []


def test_a_stopped_execution_has_its_end_in_our_field_only() -> None:
    stopped = Execution(
        **{name: getattr(EXECUTION, name) for name in EXECUTION.__slots__}
        | {"status": ExecutionStatus.STOPPED, "ended_at": START}
    )
    properties = arm_execution(ExecutionState(execution=stopped), "o", "s", "g")["properties"]
    assert ("endTime" in properties, properties["endedAt"]) == (False, "2026-03-01T10:00:00.000+00:00")


def test_times_are_in_utc_and_whole_seconds() -> None:
    there = timezone(timedelta(hours=2))
    assert format_time(datetime(2026, 1, 1, 1, 2, 3, 4, tzinfo=there)) == "2025-12-31T23:02:03+00:00"


@pytest.mark.parametrize(
    ("text", "size", "spelled"),
    [
        ("0.5Gi", 1 << 29, "0.5Gi"),
        ("512Mi", 1 << 29, "0.5Gi"),
        ("100Mi", 100 << 20, "100Mi"),
        ("4Gi", 4 << 30, "4Gi"),
        ("0.1Gi", 107374182, "0.1Gi"),
    ],
)
def test_memory_is_read_and_spelled(text: str, size: int, spelled: str) -> None:
    assert (parse_memory(text), format_memory(size)) == (size, spelled)
