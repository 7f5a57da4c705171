"""Turns a replica's spec into what the engine is asked to create, and decides which host folders it may see.

Pure but for the resolving of links in host paths. Everything not asked for is refused or bounded: the
image is somebody else's code.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from executors._docker_plan import Plan, write_plan
from executors._docker_settings import DockerSettings
from executors._docker_volumes import EngineVolume, holder_mounts, member_mounts
from executors._labels import labels_of
from scaler.errors import LaunchError
from scaler.model.names import LABEL_CONTAINER, LABEL_INSTANCE, LABEL_NETWORK, LABEL_PLAN
from scaler.model.replica import ContainerSpec, ReplicaSpec

_HOLDER_MEMORY = 16 << 20
_HOLDER_PIDS = 8
_MODES = {"": False, "rw": False, "ro": True}


def container_config(spec: ReplicaSpec, settings: DockerSettings, instance: str) -> dict[str, Any]:
    """Give the body of `POST /containers/create`. It holds the resolved secrets: never log it.

    Raises:
        LaunchError: a mount that is malformed or not allowed (`MountNotAllowed`).
    """
    config: dict[str, Any] = {
        "Image": spec.image,
        "Env": [f"{name}={value.reveal()}" for name, value in spec.env.items()],
        "Labels": labels_of(spec, instance),
        "StopTimeout": settings.stop_grace_s,
        "HostConfig": _host_config(spec, settings),
    }
    if spec.command:
        config["Entrypoint"] = list(spec.command)
    if spec.args:
        config["Cmd"] = list(spec.args)
    if spec.docker.user:
        config["User"] = spec.docker.user
    return config


def _host_config(spec: ReplicaSpec, settings: DockerSettings) -> dict[str, Any]:
    host: dict[str, Any] = {
        "AutoRemove": False,  # the exit code and the log are read after the end
        "RestartPolicy": {"Name": "no"},
        "NanoCpus": round(spec.resources.cpu * 1e9),
        "Memory": spec.resources.memory_bytes,
        "MemorySwap": spec.resources.memory_bytes,  # the same number: no swap on top
        "PidsLimit": settings.pids_limit,
        "SecurityOpt": ["no-new-privileges"],
        "ReadonlyRootfs": spec.docker.read_only,
        "Init": settings.init,
        "Mounts": mounts(spec.docker.mounts, settings),
        "LogConfig": {
            "Type": "json-file",
            "Config": {"max-size": settings.log_max_size, "max-file": str(settings.log_max_file)},
        },
    }
    if spec.docker.network:
        host["NetworkMode"] = spec.docker.network
    if settings.storage_limit and spec.resources.storage_bytes is not None:
        host["StorageOpt"] = {"size": str(spec.resources.storage_bytes)}
    return host


def holder_config(
    spec: ReplicaSpec, image: str, plan: Plan, volumes: Iterable[EngineVolume], *, instance: str
) -> dict[str, Any]:
    """Give the body for the container that holds a replica's network and volumes and does nothing else."""
    own = labels_of(spec, instance)
    host: dict[str, Any] = {"Mounts": holder_mounts(volumes, own)}
    if spec.docker.network:
        host["NetworkMode"] = spec.docker.network
    return _waiting(image, {**own, LABEL_PLAN: write_plan(plan)}, host)


def ready_config(image: str, network: str, instance: str) -> dict[str, Any]:
    """Give the body for a container that holds a network which a replica will join. It is nobody's replica."""
    return _waiting(image, {LABEL_INSTANCE: instance, LABEL_NETWORK: network}, {"NetworkMode": network})


def _waiting(image: str, labels: dict[str, str], host: dict[str, Any]) -> dict[str, Any]:
    """Give the body of a container that may do nothing and needs nothing."""
    bounds: dict[str, Any] = {
        "RestartPolicy": {"Name": "no"},
        "Memory": _HOLDER_MEMORY,
        "MemorySwap": _HOLDER_MEMORY,
        "PidsLimit": _HOLDER_PIDS,
        "SecurityOpt": ["no-new-privileges"],
        "CapDrop": ["ALL"],
        "ReadonlyRootfs": True,
        "LogConfig": {"Type": "none"},
    }
    return {
        "Image": image,
        "User": "65534:65534",
        "StopSignal": "SIGKILL",
        "Labels": labels,
        "HostConfig": {**bounds, **host},
    }


def joined(config: dict[str, Any], holder: str) -> dict[str, Any]:
    """Make the body of a plain container into that of one that joins a holder's network."""
    return {**config, "HostConfig": {**config["HostConfig"], "NetworkMode": f"container:{holder}"}}


def member_config(
    base: dict[str, Any],
    container: ContainerSpec,
    holder: str,
    volumes: Mapping[tuple[str, str], EngineVolume],
    *,
    host: bool,
) -> dict[str, Any]:
    """Make the body of a container that stands alone into that of one beside a holder.

    Args:
        base: as `container_config` gives it.
        container: what it is in the replica.
        holder: id of the holder.
        volumes: those of the replica.
        host: whether the replica uses the host's network, which is shared as it is.
    """
    mounted = member_mounts(container.mounts, volumes)
    settings = {
        **base["HostConfig"],
        "NetworkMode": "host" if host else f"container:{holder}",
        "Mounts": [*base["HostConfig"]["Mounts"], *mounted],
    }
    return {
        **base,
        "Labels": {**base["Labels"], LABEL_CONTAINER: container.name},
        "HostConfig": settings,
    }


def mounts(declared: Iterable[str], settings: DockerSettings) -> list[dict[str, Any]]:
    """Give the engine's form of host binds and named volumes; host paths with all links resolved.

    Raises:
        LaunchError: with reason `MountNotAllowed`.
    """
    given: list[dict[str, Any]] = []
    for text in declared:
        fault = mount_fault(text, settings)
        if fault:
            raise LaunchError(f"mount '{text}': {fault}", reason="MountNotAllowed")
        source, target, mode = _parts(text)
        is_folder = source.startswith("/")
        given.append(
            {
                "Type": "bind" if is_folder else "volume",  # unlike "Binds", it never makes a missing folder
                "Source": os.path.realpath(source) if is_folder else source,
                "Target": target,
                "ReadOnly": _MODES[mode],
            }
        )
    return given


def mount_fault(text: str, settings: DockerSettings) -> str | None:
    """Say why a mount is refused, or None if it may be made."""
    source, target, mode = _parts(text)
    if not source or not target.startswith("/"):
        return (
            "write it as /host/path:/container/path or volume:/container/path, with :ro behind if read-only"
        )
    if mode not in _MODES:
        return f"got the option '{mode}'; only ro and rw are known"
    if os.path.normpath(target) == "/":
        return "the container's root cannot be replaced"
    return _folder_fault(source, settings) if source.startswith("/") else _volume_fault(source, settings)


def _folder_fault(source: str, settings: DockerSettings) -> str | None:
    allowed = settings.allowed_mounts
    real = os.path.realpath(source)
    if any(_is_below(real, os.path.realpath(folder)) for folder in allowed):
        return None
    real_note = "" if real == os.path.normpath(source) else f", which is {real},"
    return (
        f"host path {source}{real_note} is not below a folder of executors.docker.allowedMounts "
        f"({', '.join(allowed) or 'none is allowed'})"
    )


def _volume_fault(name: str, settings: DockerSettings) -> str | None:
    allowed = settings.allowed_volumes
    if any(fnmatchcase(name, pattern) for pattern in allowed):
        return None
    return (
        f"volume {name} is not among executors.docker.allowedVolumes "
        f"({', '.join(allowed) or 'none is allowed'})"
    )


def _parts(text: str) -> tuple[str, str, str]:
    source, _, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    return source, target, mode


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
