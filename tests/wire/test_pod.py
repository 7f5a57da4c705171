"""Several containers, volumes and probes: from the document to the model, to the answer, and into a start by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter

from scaler.model.capacity import need_of
from scaler.model.job import Container, Job, Template
from scaler.model.pod import Probe, ProbeType, SecretFile, StorageType, Volume, VolumeMount
from scaler.model.replica import Replica
from scaler.model.secret import Secret
from scaler.wire.arm import decider, job_document
from scaler.wire.job import read_job
from scaler.wire.override import template_override
from scaler.wire.warnings import job_warnings

DOCUMENT: dict[str, Any] = {
    "name": "report",
    "properties": {
        "configuration": {
            "triggerType": "Manual",
            "replicaTimeout": 60,
            "secrets": [{"name": "key", "value": "x"}],
        },
        "template": {
            "containers": [
                {
                    "name": "work",
                    "image": "a:1",
                    "resources": {"cpu": 0.25, "memory": "0.5Gi", "ephemeralStorage": "3Gi"},
                    "volumeMounts": [{"volumeName": "data", "mountPath": "/data", "subPath": "in"}],
                    "probes": [
                        {"type": "liveness", "tcpSocket": {"port": 80}, "failureThreshold": 2},
                        {"type": "Readiness", "tcpSocket": {"port": 80}},
                        {
                            "type": "Startup",
                            "httpGet": {
                                "port": 81,
                                "path": "/up",
                                "scheme": "https",
                                "httpHeaders": [{"name": "A", "value": "b"}],
                            },
                            "initialDelaySeconds": 5,
                            "terminationGracePeriodSeconds": 0,
                        },
                    ],
                },
                {"name": "proxy", "image": "b:1", "resources": {"cpu": 0.25, "memory": "0.5Gi"}},
            ],
            "initContainers": [{"name": "fetch", "image": "c:1"}],
            "volumes": [
                {"name": "data"},
                {"name": "keys", "storageType": "secret", "secrets": [{"secretRef": "key"}]},
            ],
        },
    },
    "x-scaler": {"sidecars": ["proxy"]},
}


@pytest.fixture
def job() -> Job:
    reading = read_job(DOCUMENT)
    assert reading.faults == ()
    assert reading.job is not None
    return reading.job.to_model(secrets={"key": Secret("x")}, folder="/jobs")


def test_a_template_becomes_containers_volumes_and_probes(job: Job) -> None:
    template = job.template
    assert [one.name for one in template.containers] == ["work", "proxy"]
    assert ([one.name for one in template.init], template.sidecars) == (["fetch"], ("proxy",))
    assert template.volumes == (
        Volume(name="data"),
        Volume(name="keys", storage=StorageType.SECRET, files=(SecretFile(secret="key", path="key"),)),
    )
    assert template.container.mounts == (VolumeMount(volume="data", path="/data", sub_path="in"),)
    assert template.container.probes == (
        Probe(type=ProbeType.LIVENESS, port=80, failure_threshold=2),
        Probe(
            type=ProbeType.STARTUP,
            port=81,
            path="/up",
            is_https=True,
            headers=(("A", "b"),),
            initial_delay=timedelta(seconds=5),
            grace=timedelta(0),
        ),
    )
    assert not template.is_plain


def test_what_is_answered_can_be_declared_again(job: Job) -> None:
    answered = job_document(job)
    again = read_job(
        {**DOCUMENT, "properties": {**DOCUMENT["properties"], "template": answered["properties"]["template"]}}
    )
    assert again.faults == ()
    assert again.job is not None
    repeated = again.job.to_model(secrets={"key": Secret("x")}, folder="/jobs")
    # the answer fills in what the service would give for storage; all else is what was declared
    assert [one.name for one in repeated.template.containers] == ["work", "proxy"]
    assert repeated.template.container == job.template.container
    assert repeated.template.volumes == job.template.volumes


def test_a_snapshot_of_it_is_read_back_from_a_record_as_it_was(job: Job) -> None:
    adapter = TypeAdapter(Template)
    assert adapter.validate_json(adapter.dump_json(job.template)) == job.template
    plain = Template(container=Container(name="main", image="a:1"))
    older = {"container": {"name": "main", "image": "a:1"}}  # of a release that knew one container only
    assert adapter.validate_python(older) == plain


def test_a_start_by_hand_brings_containers_and_keeps_the_jobs_volumes_mounts_and_probes(job: Job) -> None:
    body = {
        "containers": [{"name": "work", "args": ["x"], "volumeMounts": []}, {"name": "other", "image": "d:1"}]
    }
    got = template_override(body, job)
    assert got is not None
    work, other = got.containers
    assert (work.image, work.args, work.mounts) == ("a:1", ("x",), job.template.container.mounts)
    assert (work.probes, other.image, other.mounts) == (job.template.container.probes, "d:1", ())
    assert (got.init, got.sidecars, got.volumes) == ((), (), job.template.volumes)
    assert job.template.running(got) == got


def test_the_only_container_of_a_body_is_the_jobs_only_one_whatever_its_name() -> None:
    only = DOCUMENT["properties"]["template"] | {
        "containers": DOCUMENT["properties"]["template"]["containers"][:1]
    }
    reading = read_job(
        {**DOCUMENT, "properties": {**DOCUMENT["properties"], "template": only}, "x-scaler": {}}
    )
    assert reading.job is not None
    job = reading.job.to_model(secrets={"key": Secret("x")}, folder="/jobs")
    got = template_override({"containers": [{"name": "report"}]}, job)
    assert got is not None
    assert (got.container.image, got.container.mounts) == ("a:1", job.template.container.mounts)


def test_warnings_tell_what_is_not_used_or_not_as_in_azure() -> None:
    reading = read_job(DOCUMENT)
    assert [".".join(map(str, one.path)) for one in job_warnings(reading.root)] == [
        "properties.template.containers.0.probes.1.type"
    ]
    containers = [dict(one) for one in DOCUMENT["properties"]["template"]["containers"]]
    containers[1] = {**containers[1], "resources": {"cpu": 0.25, "memory": "2Gi"}}
    template = {**DOCUMENT["properties"]["template"], "containers": containers}
    odd = read_job({**DOCUMENT, "properties": {**DOCUMENT["properties"], "template": template}})
    assert "over all containers together" in job_warnings(odd.root)[0].message


def test_an_execution_needs_the_sum_of_its_containers_or_its_largest_init_container(job: Job) -> None:
    need = need_of(job.template, 2)
    assert (need.cpu, need.memory_bytes) == (1.0, 2 << 30)  # the init container has the defaults: 0.5 and 1Gi


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ("", "work"),
        ("container fetch", "fetch"),
        ("container proxy: Liveness probe of port 80 failed once: no", "proxy"),
        ("container proxy-2", "work"),
    ],
)
def test_an_answer_names_the_container_whose_end_it_was(job: Job, message: str, name: str) -> None:
    replica = Replica(id="r", execution_id="e", ordinal=0, attempt=1, message=message)
    assert decider(job.template, replica) == name
