"""Executor `docker`: one container a replica, on any engine that speaks the Docker API from 1.41 on.

The replica's id is the container's name, which is what makes a launch safe to repeat: the engine itself
refuses a second container of that name, and the label tells whose the first one is.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from aiodocker import Docker, DockerError
from aiodocker.containers import DockerContainer

from executors._docker_config import container_config, mount_fault
from executors._docker_endpoint import Endpoint, choose_endpoint, find_endpoint, open_client
from executors._docker_errors import engine_call, launch_error
from executors._docker_images import Images
from executors._docker_logs import keep_log, live_lines, note_lost_log
from executors._docker_rotation import whole_below
from executors._docker_settings import HELP, DockerSettings, Limits, PullPolicy, parse_settings
from executors._docker_watch import Watcher, inspect, list_containers, open_watcher
from executors._labels import owner_filter, replica_of
from executors._limiter import Aimd, Limiter
from executors._logfile import read_log
from executors._logparts import is_there
from scaler.errors import ConfigError, ExecutorUnavailable, LaunchError, NotFound
from scaler.model.job import Job
from scaler.model.replica import Health, OwnedReplica, ReplicaExit, ReplicaHandle, ReplicaSpec
from scaler.ports.executor import Executor, ExecutorContext, ExecutorType

NAME = "docker"
_NAME_TAKEN_PAUSE_S = 0.05
_LAUNCHES_ALWAYS = 4  # at once: an engine bears so many even when it is slow, and fewer would leave it idle


class DockerExecutor:
    """Runs replicas as containers of one engine. Made by `open_docker`."""

    def __init__(
        self,
        client: Docker,
        *,
        endpoint: Endpoint,
        settings: DockerSettings,
        context: ExecutorContext,
        images: Images,
        watcher: Watcher,
        limits: Limits,
    ) -> None:
        self._client = client
        self._endpoint = endpoint
        self._settings = settings
        self._context = context
        self._images = images
        self._watcher = watcher
        self._limits = limits
        self._limiter = Limiter(Aimd(upper=settings.max_concurrent_launches, least=_LAUNCHES_ALWAYS))
        self._launching: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def fingerprint(self) -> Health:
        """Say which engine answers, or why none does."""
        try:
            async with engine_call("version", self._limits.inspect_s):
                version = await self._client.version()
        except (ExecutorUnavailable, DockerError) as exc:
            hint = "start it, or name another by executors.docker.host"
            return Health(ok=False, message=f"Docker engine {self._endpoint.url}: {exc}; {hint}")
        text = f"Docker engine {version['Version']} (API {version['ApiVersion']}) at {self._endpoint.url}"
        return Health(ok=True, message=text)

    # launch

    async def launch(self, spec: ReplicaSpec) -> ReplicaHandle:
        """Create and start a container, pulling its image if need be. See `Executor.launch`."""
        if spec.image is None:
            raise LaunchError(f"replica {spec.replica_id}: no image is named", reason="ImageMissing")
        config = container_config(spec, self._settings, self._context.instance)
        policy = self._settings.pull_policy
        if policy is PullPolicy.ALWAYS:
            await self._images.pull(spec.image, spec.registries)
        turn = self._launching.setdefault(spec.replica_id, asyncio.Lock())
        async with turn:  # two starts at once could start one that has ended meanwhile a second time
            try:
                token = await self._create_and_start(spec, config)
            except LaunchError as exc:
                if exc.reason != "ImageNotFound" or policy is not PullPolicy.IF_NOT_PRESENT:
                    raise
                await self._images.pull(spec.image, spec.registries)
                token = await self._create_and_start(spec, config)
        return ReplicaHandle(executor=NAME, token=token)

    async def _create_and_start(self, spec: ReplicaSpec, config: dict[str, Any]) -> str:
        async with self._limiter.slot():
            try:
                async with engine_call(f"creation of {spec.replica_id}", self._limits.create_s):
                    container, is_started = await self._claim(spec, config)
            except DockerError as exc:
                raise self._refused(exc, spec) from None  # the cause may quote secrets
            if not is_started:
                await self._start(container, spec)
                self._watcher.has_started(container.id)
            return container.id

    async def _claim(self, spec: ReplicaSpec, config: dict[str, Any]) -> tuple[DockerContainer, bool]:
        """Create the container, or find the one that an earlier call made; and say whether it was started.

        While another call is creating or removing it, its name is taken but nobody has it: try again.
        """
        while True:
            try:
                return await self._client.containers.create(config, name=spec.replica_id), False
            except DockerError as exc:
                if exc.status != 409:
                    raise
            found = await self._inspect(spec.replica_id)
            if found is not None:
                self._must_be_ours(found, spec)
                container = self._client.containers.container(found["Id"])
                return container, found["State"]["Status"] != "created"
            await asyncio.sleep(_NAME_TAKEN_PAUSE_S)

    def _must_be_ours(self, found: dict[str, Any], spec: ReplicaSpec) -> None:
        if replica_of(found["Config"]["Labels"], self._context.instance) != spec.replica_id:
            raise LaunchError(
                f"replica {spec.replica_id}: a container of that name exists and is not this daemon's; "
                f"remove or rename it: docker rm {spec.replica_id}",
                reason="Conflict",
            )

    async def _start(self, container: DockerContainer, spec: ReplicaSpec) -> None:
        try:
            async with engine_call(f"start of {spec.replica_id}", self._limits.create_s):
                await container.start()
        except DockerError as exc:
            if exc.status == 404 and await self._inspect(container.id) is None:
                raise ExecutorUnavailable(f"docker: {spec.replica_id}: was removed; launch again") from None
            with suppress(DockerError, ExecutorUnavailable):  # the reason to tell is the first one
                await self._delete(container)
            raise self._refused(exc, spec) from None

    def _refused(self, exc: DockerError, spec: ReplicaSpec) -> LaunchError:
        secrets = [*spec.env.values(), *(secret for _, secret in spec.registries)]
        return launch_error(exc, replica_id=spec.replica_id, image=spec.image, secrets=secrets)

    # end

    async def wait(self, handle: ReplicaHandle) -> ReplicaExit:
        """Wait for the end of a container. See `Executor.wait`."""
        return await self._watcher.wait(handle.token)

    async def stop(self, handle: ReplicaHandle, grace: timedelta) -> None:
        """Send TERM, or what the image names as its stop signal, then KILL. See `Executor.stop`."""
        self._watcher.is_stopping(handle.token)
        seconds = max(0, math.ceil(grace.total_seconds()))
        try:
            async with engine_call(f"stop of {handle.token}", seconds + self._limits.stop_margin_s):
                await self._client.containers.container(handle.token).stop(t=seconds)
        except DockerError as exc:
            if exc.status != 404:
                raise ExecutorUnavailable(f"docker: stop of {handle.token}: {exc.message}") from exc

    async def remove(self, handle: ReplicaHandle) -> None:
        """Keep the log, then delete the container and its unnamed volumes. See `Executor.remove`."""
        found = await self._inspect(handle.token)
        if found is None:
            self._watcher.forget(handle.token)
            return
        replica_id = replica_of(found["Config"]["Labels"], self._context.instance)
        if replica_id is None:
            raise ExecutorUnavailable(f"docker: container {handle.token} is not this daemon's; left alone")
        await self._keep_log(handle.token, self._log_path(replica_id), whole_below(found))
        try:
            await self._delete(self._client.containers.container(handle.token))
        except DockerError as exc:
            raise ExecutorUnavailable(f"docker: removal of {replica_id}: {exc.message}") from exc
        self._watcher.forget(handle.token)

    async def _keep_log(self, token: str, path: Path, whole: int | None) -> None:
        try:
            await keep_log(self._client, token, path, self._limits, whole=whole)
        except DockerError as exc:
            if exc.status != 404:
                await note_lost_log(path, exc.message)

    async def _delete(self, container: DockerContainer) -> None:
        try:
            async with engine_call(f"removal of {container.id}", self._limits.remove_s):
                await container.delete(force=True, v=True)
        except DockerError as exc:
            if exc.status != 404 and "already in progress" not in exc.message:
                raise

    # state

    async def owned(self) -> tuple[OwnedReplica, ...]:
        """List the containers that bear this daemon's label. See `Executor.owned`."""
        try:
            listed = await list_containers(self._client, owner_filter(self._context.instance), self._limits)
        except DockerError as exc:
            raise ExecutorUnavailable(f"docker: list of containers: {exc.message}") from exc
        named = ((replica_of(one["Labels"], self._context.instance), one) for one in listed)
        return tuple(_owned(replica_id, one) for replica_id, one in named if replica_id is not None)

    async def logs(
        self, replica_id: str, handle: ReplicaHandle | None, *, tail: int | None, follow: bool
    ) -> AsyncIterator[str]:
        """Give log lines: from the file once it is kept, else from the engine. See `Executor.logs`."""
        path = self._log_path(replica_id)
        if not is_there(path):
            token = handle.token if handle else replica_id
            whole = whole_below(await self._inspect(token) or {}) if tail is None else None
            try:
                async for line in live_lines(
                    self._client, token, self._limits, tail=tail, follow=follow, whole=whole
                ):
                    yield line
                return
            except DockerError as exc:
                if exc.status != 404:
                    raise ExecutorUnavailable(f"docker: log of {replica_id}: {exc.message}") from exc
        if not is_there(path):
            raise NotFound(
                f"replica {replica_id}: no log: the engine has no such container, nor was one kept"
            )
        async for line in read_log(path, tail=tail, follow=False, ended=lambda: True):
            yield line

    def _log_path(self, replica_id: str) -> Path:
        return self._context.log_dir / f"{replica_id}.log"

    async def _inspect(self, container: str) -> dict[str, Any] | None:
        try:
            return await inspect(self._client, container, self._limits)
        except DockerError as exc:
            raise ExecutorUnavailable(f"docker: inspection of {container}: {exc.message}") from exc


def _owned(replica_id: str, one: DockerContainer) -> OwnedReplica:
    return OwnedReplica(
        replica_id=replica_id,
        handle=ReplicaHandle(executor=NAME, token=one.id),
        started=one["State"] != "created",
        ended=one["State"] in ("exited", "dead", "removing"),
        created_at=datetime.fromtimestamp(one["Created"], UTC),
    )


@asynccontextmanager
async def open_docker(
    settings: Mapping[str, Any], context: ExecutorContext, *, limits: Limits | None = None
) -> AsyncIterator[Executor]:
    """Open the executor. An engine that does not answer yet is no error: `fingerprint` tells.

    Raises:
        ConfigError: a setting, the docker context or a certificate is wrong.
    """
    checked = parse_settings(settings)
    bounds = limits or Limits()
    endpoint = await choose_endpoint(checked.host)
    async with open_client(endpoint) as client:
        images = Images(client, timeout_s=checked.pull_timeout_s)
        async with open_watcher(client, instance=context.instance, limits=bounds) as watcher:
            try:
                yield DockerExecutor(
                    client,
                    endpoint=endpoint,
                    settings=checked,
                    context=context,
                    images=images,
                    watcher=watcher,
                    limits=bounds,
                )
            finally:
                await images.close()


def check(job: Job, settings: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Name the mounts of a job that this daemon's settings do not allow."""
    allowed = parse_settings(settings).allowed_mounts
    faults = ((number, mount_fault(text, allowed)) for number, text in enumerate(job.template.docker.mounts))
    return tuple((f"x-scaler.docker.mounts[{number}]", fault) for number, fault in faults if fault)


def unusable(settings: Mapping[str, Any], env: Mapping[str, str]) -> str | None:
    """Say what is wrong with the address of the engine or its certificates; whether it answers is not asked."""
    try:
        find_endpoint(parse_settings(settings).host, env)
    except ConfigError as exc:
        return str(exc)
    return None


EXECUTOR = ExecutorType(
    open=open_docker,
    summary="runs each replica as a container of a Docker engine",
    needs_image=True,
    settings=HELP,
    check=check,
    unusable=unusable,
)
