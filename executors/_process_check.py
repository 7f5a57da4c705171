"""Says before a launch what a job asks for that a process of this machine cannot be given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from scaler.model.job import Container, Job, Template

Finding = tuple[str, str]

_AT = "properties.template"
_OR_DOCKER = "or run the job with executor: docker"


def check(job: Job, _settings: Mapping[str, Any]) -> tuple[Finding, ...]:
    """Name what of a job cannot be."""
    return (*_template(job.template), *_first(job.template.container))


def _template(template: Template) -> Iterator[Finding]:
    if template.init:
        text = f"a process has no init containers; do their work in the command, {_OR_DOCKER}"
        yield f"{_AT}.initContainers", text
    if template.volumes:
        text = f"a process has no volumes of its own; it uses folders of this machine, {_OR_DOCKER}"
        yield f"{_AT}.volumes", text
    for number, _ in enumerate(template.further, start=1):
        text = f"a replica is one process here; make it another job, {_OR_DOCKER}"
        yield f"{_AT}.containers[{number}]", text


def _first(container: Container) -> Iterator[Finding]:
    at = f"{_AT}.containers[0]"
    if container.image is not None:
        yield f"{at}.image", f"no image is run here, the command is; remove it, {_OR_DOCKER}"
    if not container.command and not container.args:
        yield f"{at}.command", "the process executor needs a command; give one"
    if container.mounts:
        yield f"{at}.volumeMounts", f"a process sees the folders of this machine; remove it, {_OR_DOCKER}"
    if container.probes:
        text = f"a process is not probed; replicaTimeout ends one that hangs; remove it, {_OR_DOCKER}"
        yield f"{at}.probes", text


def notes(job: Job, _settings: Mapping[str, Any]) -> tuple[Finding, ...]:
    """Name what runs otherwise than a job says."""
    if not job.template.container.resources.is_storage_own:
        return ()
    return ((f"{_AT}.containers[0].resources.ephemeralStorage", "not enforced for a process"),)
