"""The body of a start by hand, which replaces the job's template for one execution."""

from __future__ import annotations

from dataclasses import replace

from pydantic import ValidationError

from scaler.errors import ConfigError
from scaler.model.job import Container, Job, Template
from scaler.wire.base import show, without_nulls
from scaler.wire.characters import unusable_in
from scaler.wire.checks import check_template
from scaler.wire.faults import Node, WireFault, pydantic_faults, where, without_followers
from scaler.wire.template import TemplateWire


def template_override(body: object, job: Job) -> Template | None:
    """Read the body of a start: `{"containers": [...]}` or `{"template": {"containers": [...]}}`.

    It replaces the job's template and is not merged with it: variables and limits not repeated are gone.
    A missing image, a missing container name, volumes, mounts, probes, registries and executor options are
    the job's; volumes in a body are refused, mounts and probes are not read, since the service has none there.
    No body, or an empty one: None, which means the job's own template.

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
    if isinstance(value, dict) and value.get("volumes"):
        fault = WireFault(
            path=("volumes",), message="volumes stay the job's; leave them out, or change the job"
        )
        raise ConfigError(_message([fault], prefix))
    value = _without_the_jobs(value)
    if odd := list(unusable_in(value)):
        raise ConfigError(_message(odd, prefix))
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
    return _replaced(job.template, template.to_model(job.template.container.name))


def _without_the_jobs(value: object) -> object:
    """Leave out what stays the job's."""
    if not isinstance(value, dict):
        return value
    kept = {key: item for key, item in value.items() if key != "volumes"}
    for key in ("containers", "initContainers"):
        if isinstance(kept.get(key), list):
            kept[key] = [_without(one, "volumeMounts", "probes") for one in kept[key]]
    return kept


def _without(value: object, *keys: str) -> object:
    return {k: v for k, v in value.items() if k not in keys} if isinstance(value, dict) else value


def _replaced(own: Template, given: Template) -> Template:
    first, *further = _completed(given.containers, own.containers)
    names = {one.name for one in (first, *further)}
    return replace(
        own,
        container=first,
        further=tuple(further),
        init=_completed(given.init, own.init or (replace(own.container, mounts=(), probes=()),)),
        sidecars=tuple(name for name in own.sidecars if name in names),
    )


def _completed(given: tuple[Container, ...], own: tuple[Container, ...]) -> tuple[Container, ...]:
    """Fill in images, mounts and probes from the job's containers of the same names, or from its only one.

    An image that no container of that name has is the first one's.
    """
    is_only = len(given) == len(own) == 1
    filled: list[Container] = []
    for one in given:
        same = own[0] if is_only else next((other for other in own if other.name == one.name), None)
        image = one.image or (same or own[0]).image if own else one.image
        kept = (same.mounts, same.probes) if same else ((), ())
        filled.append(replace(one, image=image, mounts=kept[0], probes=kept[1]))
    return tuple(filled)


def _fillable(fault: WireFault, job: Job) -> bool:
    """Say whether a missing command is no fault, because the job's image has one."""
    return fault.path[-1] == "command" and job.template.container.image is not None


def _message(faults: list[WireFault], prefix: str) -> str:
    lines = []
    for fault in faults:
        path = where((prefix, *fault.path) if prefix else fault.path)
        lines.append(f"{path}: {fault.message}" if path else fault.message)
    return f"The request body is not valid: {'; '.join(lines)}."
