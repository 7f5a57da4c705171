"""A job as the API answers with it: every default filled in, secrets by name, no secret's text anywhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from scaler.model.job import Container, EnvVar, Resources, Template
from scaler.model.pod import Probe, Volume, VolumeMount
from scaler.wire.base import format_memory
from scaler.wire.configuration import TRIGGER_OBJECT

if TYPE_CHECKING:
    from scaler.wire.job import JobWire


def document_text(job: JobWire, template: Template, secrets: Sequence[str]) -> str:
    """Write a job's document, as `Job.document` keeps it."""
    properties = job.properties
    document = {
        "name": job.name,
        "type": job.type,
        "location": job.location,
        "tags": job.tags,
        "identity": job.identity.model_dump(by_alias=True, mode="json", exclude_none=True),
        "properties": {
            "environmentId": properties.environment_id,
            "workloadProfileName": properties.workload_profile_name,
            "configuration": _configuration(job, secrets),
            "template": template_document(template),
        },
        "x-scaler": job.extension.model_dump(by_alias=True, mode="json", exclude_none=True),
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def _configuration(job: JobWire, secrets: Sequence[str]) -> dict[str, Any]:
    config = job.properties.configuration
    triggers: dict[str, Any] = dict.fromkeys(TRIGGER_OBJECT.values())
    own = config.trigger.model_dump(by_alias=True, mode="json", exclude_none=True)
    triggers[TRIGGER_OBJECT[config.trigger_type]] = own
    registries = [item.model_dump(by_alias=True, mode="json") for item in config.registries]
    settings = [item.model_dump(by_alias=True, mode="json") for item in config.identity_settings]
    return {
        "triggerType": config.trigger_type.value,
        "replicaTimeout": config.replica_timeout,
        "replicaRetryLimit": config.replica_retry_limit,
        **triggers,
        "secrets": [{"name": name} for name in secrets] or None,
        "registries": registries or None,
        "identitySettings": settings,
        "dapr": None,
    }


def template_document(template: Template) -> dict[str, Any]:
    """Write what an execution runs."""
    document: dict[str, Any] = {
        "containers": [_container(one) for one in template.containers],
        "initContainers": [_container(one) for one in template.init],
    }
    if template.volumes:
        document["volumes"] = [_volume(one) for one in template.volumes]
    return document


def _container(container: Container) -> dict[str, Any]:
    """Write one container; members without a value are left out, since clients trip over nulls here."""
    members: dict[str, Any] = {
        "name": container.name,
        "image": container.image,
        "command": list(container.command),
        "args": list(container.args),
        "env": [_env(item) for item in container.env],
        "resources": _resources(container.resources),
        "volumeMounts": [_mount(one) for one in container.mounts],
        "probes": [_probe(one) for one in container.probes],
    }
    return {key: value for key, value in members.items() if value not in (None, [])}


def _env(item: EnvVar) -> dict[str, str]:
    if item.secret_ref is not None:
        return {"name": item.name, "secretRef": item.secret_ref}
    return {"name": item.name, "value": item.value or ""}


def _resources(resources: Resources) -> dict[str, Any]:
    storage = resources.storage_bytes or resources.service_storage_bytes
    memory = format_memory(resources.memory_bytes)
    return {"cpu": resources.cpu, "memory": memory, "ephemeralStorage": format_memory(storage)}


def _volume(volume: Volume) -> dict[str, Any]:
    document: dict[str, Any] = {"name": volume.name, "storageType": volume.storage.value}
    if volume.files:
        document["secrets"] = [{"secretRef": file.secret, "path": file.path} for file in volume.files]
    return document


def _mount(mount: VolumeMount) -> dict[str, str]:
    document = {"volumeName": mount.volume, "mountPath": mount.path}
    return document if mount.sub_path is None else {**document, "subPath": mount.sub_path}


def _probe(probe: Probe) -> dict[str, Any]:
    document: dict[str, Any] = {"type": probe.type.value}
    if probe.path is None:
        document["tcpSocket"] = {"port": probe.port}
    else:
        asked: dict[str, Any] = {"path": probe.path, "port": probe.port}
        asked["scheme"] = "HTTPS" if probe.is_https else "HTTP"
        if probe.headers:
            asked["httpHeaders"] = [{"name": name, "value": value} for name, value in probe.headers]
        document["httpGet"] = asked
    document |= {
        "initialDelaySeconds": round(probe.initial_delay.total_seconds()),
        "periodSeconds": round(probe.period.total_seconds()),
        "timeoutSeconds": round(probe.timeout.total_seconds()),
        "failureThreshold": probe.failure_threshold,
    }
    if probe.grace is not None:
        document["terminationGracePeriodSeconds"] = round(probe.grace.total_seconds())
    return document
