"""Turns a replica's spec into what the engine is asked to create, and decides which host folders it may see.

Pure but for the resolving of links in host paths. Everything not asked for is refused or bounded: the
image is somebody else's code.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from executors._docker_settings import DockerSettings
from executors._labels import labels_of
from scaler.errors import LaunchError
from scaler.model.replica import ReplicaSpec

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
        "Mounts": mounts(spec.docker.mounts, settings.allowed_mounts),
        "LogConfig": {
            "Type": "json-file",
            "Config": {"max-size": settings.log_max_size, "max-file": str(settings.log_max_file)},
        },
    }
    if spec.docker.network:
        host["NetworkMode"] = spec.docker.network
    return host


def mounts(declared: Iterable[str], allowed: Iterable[str]) -> list[dict[str, Any]]:
    """Give the engine's form of host binds; sources are passed on with all links resolved.

    Raises:
        LaunchError: with reason `MountNotAllowed`.
    """
    granted = tuple(allowed)
    given: list[dict[str, Any]] = []
    for text in declared:
        fault = mount_fault(text, granted)
        if fault:
            raise LaunchError(f"mount '{text}': {fault}", reason="MountNotAllowed")
        source, target, mode = _parts(text)
        given.append(
            {
                "Type": "bind",  # unlike "Binds", it never makes a missing folder on the host
                "Source": os.path.realpath(source),
                "Target": target,
                "ReadOnly": _MODES[mode],
            }
        )
    return given


def mount_fault(text: str, allowed: tuple[str, ...]) -> str | None:
    """Say why a mount is refused, or None if it may be made."""
    source, target, mode = _parts(text)
    if not source.startswith("/") or not target.startswith("/"):
        return "write it as /host/path:/container/path or /host/path:/container/path:ro"
    if mode not in _MODES:
        return f"got the option '{mode}'; only ro and rw are known"
    if os.path.normpath(target) == "/":
        return "the container's root cannot be replaced"
    real = os.path.realpath(source)
    if any(_is_below(real, os.path.realpath(folder)) for folder in allowed):
        return None
    real_note = "" if real == os.path.normpath(source) else f", which is {real},"
    return (
        f"host path {source}{real_note} is not below a folder of executors.docker.allowedMounts "
        f"({', '.join(allowed) or 'none is allowed'})"
    )


def _parts(text: str) -> tuple[str, str, str]:
    source, _, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    return source, target, mode


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
