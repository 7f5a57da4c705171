"""Creating and starting containers so that it can be repeated: by name, and by whose the name is."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from aiodocker import Docker, DockerError
from aiodocker.containers import DockerContainer

from executors._docker_errors import engine_call, launch_error
from executors._docker_settings import Limits
from executors._docker_watch import inspect
from executors._labels import replica_of
from scaler.errors import ExecutorUnavailable, LaunchError
from scaler.model.replica import ReplicaSpec

_NAME_TAKEN_PAUSE_S = 0.05


async def claim(
    client: Docker, name: str, config: dict[str, Any], spec: ReplicaSpec, *, instance: str, limits: Limits
) -> tuple[DockerContainer, bool]:
    """Create the container, or find the one that an earlier call made; and say whether it was started.

    While another call is creating or removing it, its name is taken but nobody has it: try again.

    Raises:
        LaunchError: the engine refuses, or the name is somebody else's (`Conflict`).
        ExecutorUnavailable: the engine does not answer.
    """
    try:
        async with engine_call(f"creation of {name}", limits.create_s):
            return await _claim(client, name, config, spec, instance=instance, limits=limits)
    except DockerError as exc:
        raise refused(exc, spec, image=config["Image"]) from None  # the cause may quote secrets


async def _claim(
    client: Docker, name: str, config: dict[str, Any], spec: ReplicaSpec, *, instance: str, limits: Limits
) -> tuple[DockerContainer, bool]:
    while True:
        try:
            return await client.containers.create(config, name=name), False
        except DockerError as exc:
            if exc.status != 409:
                raise
        found = await look(client, name, limits)
        if found is not None:
            if replica_of(found["Config"]["Labels"], instance) != spec.replica_id:
                raise LaunchError(
                    f"replica {spec.replica_id}: a container of that name exists and is not this daemon's; "
                    f"remove or rename it: docker rm {name}",
                    reason="Conflict",
                )
            return client.containers.container(found["Id"]), found["State"]["Status"] != "created"
        await asyncio.sleep(_NAME_TAKEN_PAUSE_S)


async def start(client: Docker, container: DockerContainer, spec: ReplicaSpec, limits: Limits) -> None:
    """Start a created container; one that cannot be started is deleted again.

    Raises:
        LaunchError: the engine refuses.
        ExecutorUnavailable: the engine does not answer, or the container was removed meanwhile.
    """
    try:
        async with engine_call(f"start of {spec.replica_id}", limits.create_s):
            await container.start()
    except DockerError as exc:
        if exc.status == 404 and await look(client, container.id, limits) is None:
            raise ExecutorUnavailable(f"docker: {spec.replica_id}: was removed; launch again") from None
        with suppress(DockerError, ExecutorUnavailable):  # the reason to tell is the first one
            await delete(container, limits)
        raise refused(exc, spec, image=spec.image) from None


async def delete(container: DockerContainer, limits: Limits) -> None:
    """Delete a container, running or not, and its unnamed volumes; "already gone" is success."""
    try:
        async with engine_call(f"removal of {container.id}", limits.remove_s):
            await container.delete(force=True, v=True)
    except DockerError as exc:
        if exc.status != 404 and "already in progress" not in exc.message:
            raise


async def look(client: Docker, container: str, limits: Limits) -> dict[str, Any] | None:
    """Give the engine's description of a container, or None if there is none.

    Raises:
        ExecutorUnavailable: it cannot be told.
    """
    try:
        return await inspect(client, container, limits)
    except DockerError as exc:
        raise ExecutorUnavailable(f"docker: inspection of {container}: {exc.message}") from exc


def refused(exc: DockerError, spec: ReplicaSpec, *, image: str | None) -> LaunchError:
    """Say why the engine refused, without any secret of the replica."""
    pod = spec.pod
    secrets = [*spec.env.values(), *(secret for _, secret in spec.registries)]
    if pod is not None:
        secrets += [value for one in (*pod.init, *pod.containers) for value in one.env.values()]
        secrets += [secret for one in pod.volumes for _, secret in one.files or ()]
    return launch_error(exc, replica_id=spec.replica_id, image=image, secrets=secrets)
