"""Says before a launch what a job asks for that this daemon's settings, or any engine, do not grant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from executors._docker_config import mount_fault
from executors._docker_settings import DockerSettings, parse_settings
from scaler.model.job import Job
from scaler.model.pod import StorageType

Finding = tuple[str, str]


def check(job: Job, settings: Mapping[str, Any]) -> tuple[Finding, ...]:
    """Name what of a job cannot be: mounts that are not allowed, probes that nobody could send."""
    return (*_mounts(job, parse_settings(settings)), *_probes(job), *_owner(job))


def _mounts(job: Job, settings: DockerSettings) -> Iterator[Finding]:
    for number, text in enumerate(job.template.docker.mounts):
        fault = mount_fault(text, settings)
        if fault:
            yield f"x-scaler.docker.mounts[{number}]", fault


def _probes(job: Job) -> Iterator[Finding]:
    if job.template.docker.network == "none":
        for number, container in enumerate(job.template.containers):
            if container.probes:
                text = "network: none leaves no way to ask; remove the probes or the network"
                yield f"properties.template.containers[{number}].probes", text


def _owner(job: Job) -> Iterator[Finding]:
    user = (job.template.docker.user or "").partition(":")[0]
    if user and not user.isdecimal() and any(v.storage is StorageType.SECRET for v in job.template.volumes):
        yield "x-scaler.docker.user", "give a number, so that files of secrets can belong to it"


def notes(job: Job, settings: Mapping[str, Any]) -> tuple[Finding, ...]:
    """Name what runs otherwise than a job says."""
    if parse_settings(settings).storage_limit:
        return ()
    text = "not enforced; executors.docker.storageLimit turns it on, where the engine can"
    return tuple(
        (f"{path}.resources.ephemeralStorage", text)
        for path, container in job.template.named_containers()
        if container.resources.is_storage_own
    )
