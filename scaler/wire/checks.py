"""What no single member can show: references, exclusions, duplicates and members that are not supported.

Works on the unchecked document, so that these faults come together with all others, in one go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from scaler.model.job import Template
from scaler.wire.base import read_number, show
from scaler.wire.configuration import TRIGGER_OBJECT, TriggerType
from scaler.wire.faults import Node, WireFault, check_reference, check_unique
from scaler.wire.pod_checks import check_pod, check_sidecars
from scaler.wire.schedule import check_cron, check_schedule

_SECRET_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")
_ENV_NAME = re.compile(r"[^=\0]+")
_MOUNT = re.compile(r"(/[^:]*|[a-zA-Z0-9][a-zA-Z0-9_.-]*):/[^:]*(:(ro|rw))?")
_IMAGE = re.compile(  # the grammar of github.com/distribution/reference
    r"(?:(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*"
    r"|\[[a-fA-F0-9:]+\])(?::[0-9]+)?/)?"
    r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*"
    r"(?::[\w][\w.-]{0,127})?"
    r"(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?",
    re.ASCII,
)
_NOT_SUPPORTED = "not supported; remove it"


def check_job(root: Node, *, needs_image: bool | None) -> Iterator[WireFault]:
    """List the faults of a job that lie between its members."""
    config, template = root["properties"]["configuration"], root["properties"]["template"]
    yield from _check_trigger(config, root["x-scaler"], secret_names(root))
    yield from check_template(template, secrets=secret_names(root), needs_image=needs_image)
    yield from _check_secrets(config, root["x-scaler"])
    yield from _check_registries(config, secret_names(root))
    yield from _check_mounts(root["x-scaler"]["docker"]["mounts"])
    yield from check_sidecars(root)
    if config["dapr"].is_set:
        yield config["dapr"].fault("not supported for jobs; remove it")


def secret_names(root: Node) -> frozenset[str]:
    """Name every secret that a job declares, wherever its text comes from."""
    declared = [*root["properties"]["configuration"]["secrets"], *root["x-scaler"]["secrets"]]
    return frozenset(node["name"].text for node in declared)


def _check_trigger(config: Node, extension: Node, names: frozenset[str]) -> Iterator[WireFault]:
    kind = config["triggerType"].text
    if kind not in TRIGGER_OBJECT:
        return
    for name, key in TRIGGER_OBJECT.items():
        if name != kind and config[key].is_set:
            message = f"does not go with triggerType {kind}; remove it or set triggerType: {name}"
            yield config[key].fault(message, at_key=True)
    own = config[TRIGGER_OBJECT[TriggerType(kind)]]
    if kind != TriggerType.MANUAL and not own.is_set:
        yield own.fault(f"missing; triggerType {kind} needs it")
    if kind == TriggerType.SCHEDULE and own["cronExpression"].is_set:
        yield from check_cron(own["cronExpression"])
    if kind == TriggerType.EVENT:
        yield from _check_scale(own["scale"], names)
    yield from check_schedule(extension["schedule"])
    sections = {
        "scalingStrategy": TriggerType.EVENT,
        "poison": TriggerType.EVENT,
        "schedule": TriggerType.SCHEDULE,
    }
    for key, wanted in sections.items():
        if kind != wanted and extension[key].is_set:
            yield extension[key].fault(f"does not go with triggerType {kind}; remove it", at_key=True)


def _check_scale(scale: Node, names: frozenset[str]) -> Iterator[WireFault]:
    least, most = scale["minExecutions"], scale["maxExecutions"]
    try:
        low, high = read_number(least.value or 0), read_number(100 if most.value is None else most.value)
    except ValueError:
        low, high = 0, 0
    if low > high >= 1:
        message = f"got {low:g}, which is above maxExecutions {high:g}; lower it or raise maxExecutions"
        yield least.fault(message)
    if scale["rules"].value == []:
        yield scale["rules"].fault("got an empty list; add the source whose events start executions")
    yield from check_unique(scale["rules"], "name")
    for rule in scale["rules"]:
        yield from check_unique(rule["auth"], "triggerParameter")
        for entry in rule["auth"]:
            yield from check_reference(entry["secretRef"], names)


def image_fault(image: str) -> str | None:
    """Say what is wrong with the name of an image; None if nothing is."""
    if _IMAGE.fullmatch(image):
        return None
    return (
        f"got {show(image)}, which is no image; write [registry/]name[:tag][@digest], the name in lower case"
    )


def image_faults(template: Template) -> Iterator[tuple[str, str]]:
    """List what is wrong with the images of a template that no job file's check has seen: path and text."""
    for path, container in template.named_containers():
        fault = image_fault(container.image) if container.image else "missing; name the image to run"
        if fault is not None:
            yield f"{path}.image", fault


def check_template(
    template: Node, *, secrets: frozenset[str], needs_image: bool | None
) -> Iterator[WireFault]:
    """List the faults of a template that lie between its members."""
    containers = template["containers"]
    if containers.value == []:
        yield containers.fault("got an empty list; add the container to run")
    for container in [*containers, *template["initContainers"]]:
        yield from _check_container(container, secrets, needs_image=needs_image)
    yield from check_pod(template, secrets)


def _check_container(node: Node, secrets: frozenset[str], *, needs_image: bool | None) -> Iterator[WireFault]:
    if needs_image and not node["image"].is_set and node.keys:
        yield node["image"].fault("missing; name the image to run")
    image = node["image"].text
    if needs_image and image.strip() and (text := image_fault(image)):
        yield node["image"].fault(text)
    if needs_image is False and not node["command"].value and not node["args"].value and node.keys:
        yield node["command"].fault("missing; this executor runs no image, so write the command to run")
    yield from check_unique(node["env"], "name")
    for item in node["env"]:
        yield from _check_env(item, secrets)


def _check_env(item: Node, secrets: frozenset[str]) -> Iterator[WireFault]:
    if item["name"].text and not _ENV_NAME.fullmatch(item["name"].text):
        yield item["name"].fault(f"got {show(item['name'].text)}; a variable's name has no '='")
    if item["value"].is_set and item["secretRef"].is_set:
        yield item["secretRef"].fault("stands beside 'value'; keep one of the two", at_key=True)
    elif item.keys and not item["value"].is_set and not item["secretRef"].is_set:
        yield item.fault("neither 'value' nor 'secretRef'; add one (value: '' for an empty text)")
    yield from check_reference(item["secretRef"], secrets)


def _check_secrets(config: Node, extension: Node) -> Iterator[WireFault]:
    plain, sourced = list(config["secrets"]), list(extension["secrets"])
    yield from check_unique([*plain, *sourced], "name")
    for node in [*plain, *sourced]:
        name = node["name"].text
        if name and not _SECRET_NAME.fullmatch(name):
            yield node["name"].fault(
                f"got {show(name)}; use lower-case letters, digits, '-' and '.', "
                "a letter or digit first and last"
            )
    for node in plain:
        if node["keyVaultUrl"].value:
            message = "use x-scaler.secrets with env or file"
            yield node["keyVaultUrl"].fault(f"{_NOT_SUPPORTED}; {message}")
        elif node.keys and not node["value"].is_set:
            yield node["value"].fault("missing; write it as ${VARIABLE}, or move it to x-scaler.secrets")
        if node["identity"].value:
            yield node["identity"].fault(f"{_NOT_SUPPORTED}; a secret here has a value")
    for node in sourced:
        if node["env"].is_set and node["file"].is_set:
            yield node["file"].fault("stands beside 'env'; keep one of the two", at_key=True)
        elif node.keys and not node["env"].is_set and not node["file"].is_set:
            yield node.fault("neither 'env' nor 'file'; add the one that holds the secret")


def _check_registries(config: Node, secrets: frozenset[str]) -> Iterator[WireFault]:
    yield from check_unique(config["registries"], "server")
    for node in config["registries"]:
        if node["identity"].value:
            message = f"{_NOT_SUPPORTED}; use username and passwordSecretRef"
            yield node["identity"].fault(message)
            continue
        for key in ("username", "passwordSecretRef"):
            if node.keys and not node[key].is_set:
                yield node[key].fault("missing; a registry needs username and passwordSecretRef")
        yield from check_reference(node["passwordSecretRef"], secrets)


def _check_mounts(mounts: Node) -> Iterator[WireFault]:
    for mount in mounts:
        if mount.text and not _MOUNT.fullmatch(mount.text):
            got = show(mount.text)
            yield mount.fault(
                f"got {got}; write /host/folder:/container/folder or volume:/container/folder, "
                "with :ro behind if read-only"
            )
