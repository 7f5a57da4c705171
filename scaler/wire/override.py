"""The body of a start by hand, which replaces the job's template for one execution."""

from __future__ import annotations

from dataclasses import replace

from pydantic import ValidationError

from scaler.errors import ConfigError
from scaler.model.job import Job, Template
from scaler.wire.base import show, without_nulls
from scaler.wire.checks import check_template
from scaler.wire.faults import Node, WireFault, pydantic_faults, where, without_followers
from scaler.wire.template import TemplateWire


def template_override(body: object, job: Job) -> Template | None:
    """Read the body of a start: `{"containers": [...]}` or `{"template": {"containers": [...]}}`.

    It replaces the job's template and is not merged with it: variables and limits not repeated are gone.
    A missing image, a missing container name, registries and executor options are the job's. No body, or an
    empty one: None, which means the job's own template.

    Raises:
        ConfigError: the body is no template, or names a secret that the job does not have.
    """
    if body is None or body == {}:
        return None
    if not isinstance(body, dict):
        raise ConfigError(f"The request body is not valid: got {show(body)}; send a JSON object.")
    prefix = "template" if set(body) == {"template"} else ""
    value = without_nulls(body["template"] if prefix else body)
    if value is None or value == {}:
        return None
    own = job.template.container
    faults: list[WireFault] = []
    template = None
    try:
        template = TemplateWire.model_validate(value)
    except ValidationError as exc:
        faults += pydantic_faults(TemplateWire, exc)
    known = {fault.path for fault in faults}
    node = Node(value)
    checks = check_template(node, secrets=frozenset(job.secrets), needs_image=False)
    faults += [fault for fault in checks if fault.path not in known and not _fillable(fault, job)]
    if faults or template is None:
        raise ConfigError(_message(without_followers(faults), prefix))
    container = template.containers[0].to_model(own.name)
    if container.image is None:
        container = replace(container, image=own.image)
    return replace(job.template, container=container)


def _fillable(fault: WireFault, job: Job) -> bool:
    """Say whether a missing command is no fault, because the job's image has one."""
    return fault.path[-1] == "command" and job.template.container.image is not None


def _message(faults: list[WireFault], prefix: str) -> str:
    lines = []
    for fault in faults:
        path = where((prefix, *fault.path) if prefix else fault.path)
        lines.append(f"{path}: {fault.message}" if path else fault.message)
    return f"The request body is not valid: {'; '.join(lines)}."
