"""Builds what the executor is told: the snapshot, its secrets, and the platform's own variables."""

from __future__ import annotations

from collections.abc import Mapping

from scaler.errors import LaunchError
from scaler.model import names
from scaler.model.execution import Execution, ExecutionState
from scaler.model.job import Container, Template
from scaler.model.pod import StorageType, Volume
from scaler.model.replica import ContainerSpec, PodSpec, Replica, ReplicaSpec, VolumeSpec
from scaler.model.secret import Secret


def build_spec(
    state: ExecutionState, replica: Replica, secrets: Mapping[str, Secret], instance: str
) -> ReplicaSpec:
    """Build the specification of one replica.

    Raises:
        LaunchError: the template names a secret that the job no longer has.
    """
    execution, container = state.execution, state.execution.template.container
    own = _own_env(execution, replica)
    env = _env(container, secrets) | own
    return ReplicaSpec(
        replica_id=replica.id,
        execution_id=execution.id,
        job=execution.job,
        image=container.image,
        command=container.command,
        args=container.args,
        env=env,
        resources=container.resources,
        labels={
            names.LABEL_INSTANCE: instance,
            names.LABEL_JOB: execution.job,
            names.LABEL_EXECUTION: execution.id,
            names.LABEL_REPLICA: replica.id,
        },
        docker=execution.template.docker,
        process=execution.template.process,
        registries=tuple((r, _secret(r.password_secret, secrets)) for r in execution.template.registries),
        pod=None if execution.template.is_plain else _pod(execution.template, secrets, own),
    )


def _own_env(execution: Execution, replica: Replica) -> dict[str, Secret]:
    """Give the variables that every container of a replica gets, whatever its own ones say."""
    share = dict(execution.share.env if execution.share else ())
    return {name: Secret(value) for name, value in (share | platform_env(execution, replica)).items()}


def platform_env(execution: Execution, replica: Replica) -> dict[str, str]:
    """Give the variables that tell a replica who it is and why it was started; no secrets.

    The first three are those of Container Apps.
    """
    trigger = execution.trigger
    told = {
        "CONTAINER_APP_JOB_NAME": execution.job,
        "CONTAINER_APP_JOB_EXECUTION_NAME": execution.id,
        "CONTAINER_APP_REPLICA_NAME": replica.id,
        "SCALER_REPLICA_INDEX": str(replica.ordinal),
        "SCALER_REPLICA_COUNT": str(execution.replica_completion_count),
        "SCALER_REPLICA_ATTEMPT": str(replica.attempt),
        "SCALER_TRIGGER": execution.cause.value,
    }
    return told if trigger is None else told | {"SCALER_TRIGGERED_BY": trigger.by}


def _pod(template: Template, secrets: Mapping[str, Secret], own: Mapping[str, Secret]) -> PodSpec:
    return PodSpec(
        containers=tuple(_container(one, secrets, own) for one in template.containers),
        init=tuple(_container(one, secrets, own) for one in template.init),
        sidecars=template.sidecars,
        volumes=tuple(_volume(one, secrets) for one in template.volumes),
    )


def _container(
    container: Container, secrets: Mapping[str, Secret], own: Mapping[str, Secret]
) -> ContainerSpec:
    return ContainerSpec(
        name=container.name,
        image=container.image,
        command=container.command,
        args=container.args,
        env={**_env(container, secrets), **own},
        resources=container.resources,
        mounts=container.mounts,
        probes=container.probes,
    )


def _volume(volume: Volume, secrets: Mapping[str, Secret]) -> VolumeSpec:
    if volume.storage is StorageType.EMPTY_DIR:
        return VolumeSpec(name=volume.name)
    named = [(file.path, _secret(file.secret, secrets)) for file in volume.files]
    return VolumeSpec(name=volume.name, files=tuple(named or secrets.items()))


def _env(container: Container, secrets: Mapping[str, Secret]) -> dict[str, Secret]:
    return {v.name: _value(v.value, v.secret_ref, secrets) for v in container.env}


def _value(value: str | None, secret_ref: str | None, secrets: Mapping[str, Secret]) -> Secret:
    return Secret(value or "") if secret_ref is None else _secret(secret_ref, secrets)


def _secret(name: str, secrets: Mapping[str, Secret]) -> Secret:
    try:
        return secrets[name]
    except KeyError:
        raise LaunchError(
            f"secret '{name}' is not defined by the job any more; define it or start a new execution",
            reason="SecretMissing",
        ) from None
