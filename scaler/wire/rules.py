"""From a scale rule to its scaler and the scaler's typed parameters; used to check and to open it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scaler.errors import ConfigError
from scaler.model.job import Container, Job, ScaleRule
from scaler.model.secret import Secret
from scaler.plugins import SCALERS, Registry
from scaler.ports.scaler import AnyScalerType
from scaler.wire.faults import Path, WireFault, where
from scaler.wire.metadata import TriggerMetadata, validate


def container_env(container: Container, secrets: Mapping[str, Secret]) -> dict[str, str]:
    """Give a container's variables with secrets resolved: what `<key>FromEnv` may name.

    A variable whose secret is unknown is left out.
    """
    env: dict[str, str] = {}
    for item in container.env:
        if item.secret_ref is None:
            env[item.name] = item.value or ""
        elif item.secret_ref in secrets:
            env[item.name] = secrets[item.secret_ref].reveal()
    return env


def check_rule(
    rule: ScaleRule,
    *,
    secrets: Mapping[str, Secret],
    env: Mapping[str, str],
    registry: Registry[AnyScalerType] = SCALERS,
) -> tuple[tuple[AnyScalerType, TriggerMetadata] | None, tuple[WireFault, ...]]:
    """Find a rule's scaler and build its parameters, or say all that is wrong, by path within the rule."""
    try:
        scaler: AnyScalerType = registry.load(rule.type)
    except ConfigError as exc:
        return None, (WireFault(path=("type",), message=str(exc)),)
    auth = {ref.parameter: secrets[ref.secret].reveal() for ref in rule.auth if ref.secret in secrets}
    meta, found = validate(scaler.metadata, rule.metadata, auth, env)
    faults = [
        WireFault(
            path=_place(rule, fault.key, in_auth=fault.in_auth),
            message="missing; add it" if fault.message == "missing" else fault.message,
            at_key=not fault.in_auth and fault.message.startswith("unknown"),
        )
        for fault in found
    ]
    if meta is None or faults:
        return None, tuple(faults)
    texts = scaler.check(meta, rule.identity)
    if texts:
        return None, tuple(WireFault(path=("metadata",), message=text) for text in texts)
    return (scaler, meta), ()


def _place(rule: ScaleRule, key: str, *, in_auth: bool) -> Path:
    index = next((i for i, ref in enumerate(rule.auth) if ref.parameter == key), None)
    if in_auth and index is not None:
        return ("auth", index, "triggerParameter")
    if not key:
        return ("metadata",)
    from_env = f"{key}FromEnv"
    return ("metadata", from_env if key not in rule.metadata and from_env in rule.metadata else key)


def resolve_rule(
    job: Job, rule: ScaleRule, *, registry: Registry[AnyScalerType] = SCALERS
) -> tuple[AnyScalerType, Any]:
    """Give a rule's scaler and its parameters, secrets filled in, ready to be opened.

    Raises:
        ConfigError: the type is unknown, its SDK is not installed, or parameters are wrong.
    """
    env = container_env(job.template.container, job.secrets)
    resolved, faults = check_rule(rule, secrets=job.secrets, env=env, registry=registry)
    if resolved is None:
        texts = "; ".join(f"{where(fault.path)}: {fault.message}" for fault in faults)
        raise ConfigError(f"job {job.name}, rule {rule.name}: {_mask(texts, job.secrets)}")
    return resolved


def _mask(text: str, secrets: Mapping[str, Secret]) -> str:
    for secret in sorted((s.reveal() for s in secrets.values()), key=len, reverse=True):
        if secret.strip():
            text = text.replace(secret, "***").replace(secret.strip(), "***")
    return text
