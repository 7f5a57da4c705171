"""Executor `docker`: a container a replica, or several, on any engine that speaks the Docker API from 1.41 on.

The replica's id is the container's name, which is what makes a launch safe to repeat: the engine itself
refuses a second container of that name, and the label tells whose the first one is. Replicas of several
containers are the business of `_docker_pods.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from aiodocker import DockerError

from executors._docker_check import check, notes
from executors._docker_claim import claim, delete, look, start
from executors._docker_conduct import ConductPorts
from executors._docker_config import container_config, joined
from executors._docker_endpoint import Endpoint, choose_endpoint, find_endpoint, open_client
from executors._docker_errors import engine_call
from executors._docker_images import Images
from executors._docker_logs import keep_log, live_lines, note_lost_log
from executors._docker_members import stop_all
from executors._docker_networks import ReadyNetworks, open_networks
from executors._docker_notes import Notes
from executors._docker_owned import find_owned, pod_handle, pod_of
from executors._docker_pods import Pods
from executors._docker_rotation import whole_below
from executors._docker_settings import HELP, Limits, PullPolicy, parse_settings
from executors._docker_watch import open_watcher
from executors._labels import replica_of
from executors._limiter import Climb, Limiter
from executors._logfile import read_log
from executors._logparts import NO_LOG, is_there
from scaler.errors import ConfigError, ExecutorUnavailable, LaunchError, NotFound
from scaler.model.replica import Health, OwnedReplica, ReplicaExit, ReplicaHandle, ReplicaSpec
from scaler.ports.executor import Executor, ExecutorContext, ExecutorType

NAME = "docker"
_LAUNCHES_ALWAYS = 4  # at once: an engine bears so many even when it is slow, and fewer would leave it idle


class DockerExecutor:
    """Runs replicas as containers of one engine. Made by `open_docker`."""

    def __init__(
        self,
        ports: ConductPorts,
        *,
        endpoint: Endpoint,
        context: ExecutorContext,
        images: Images,
        pods: Pods,
        networks: ReadyNetworks,
    ) -> None:
        self._client = ports.client
        self._endpoint = endpoint
        self._settings = ports.settings
        self._context = context
        self._images = images
        self._watcher = ports.watcher
        self._pods = pods
        self._networks = networks
        self._limits = ports.limits
        self._limiter = Limiter(Climb(upper=ports.settings.max_concurrent_launches, least=_LAUNCHES_ALWAYS))
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
        if spec.pod is not None:
            await self._pods.launch(spec, spec.pod)
            return pod_handle(spec.replica_id)
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
        async with self._limiter.slot() as slot:
            with self._networks.joining(spec) as holder:
                try:
                    slot.kind = "joined" if holder else ""
                    return await self._begin(spec, joined(config, holder) if holder else config)
                except LaunchError as exc:
                    if not await self._networks.is_gone(holder, exc):
                        raise
            slot.kind = ""
            return await self._begin(spec, config)

    async def _begin(self, spec: ReplicaSpec, config: dict[str, Any]) -> str:
        container, is_started = await claim(
            self._client,
            spec.replica_id,
            config,
            spec,
            instance=self._context.instance,
            limits=self._limits,
        )
        if not is_started:
            await start(self._client, container, spec, self._limits)
            self._watcher.has_started(container.id)
        return container.id

    # end

    async def wait(self, handle: ReplicaHandle) -> ReplicaExit:
        """Wait for the end of a container. See `Executor.wait`."""
        pod = pod_of(handle)
        return await (self._watcher.wait(handle.token) if pod is None else self._pods.wait(pod))

    async def stop(self, handle: ReplicaHandle, grace: timedelta) -> None:
        """Send TERM, or what the image names as its stop signal, then KILL. See `Executor.stop`."""
        pod = pod_of(handle)
        if pod is not None:
            await self._pods.stop(pod, grace)
            return
        await stop_all(self._client, self._watcher, [handle.token], grace.total_seconds(), self._limits)

    async def remove(self, handle: ReplicaHandle) -> None:
        """Keep the log, then delete the container and its unnamed volumes. See `Executor.remove`."""
        pod = pod_of(handle)
        if pod is not None:
            await self._pods.keep_logs(pod, self._log_path(pod))
            await self._pods.remove(pod)
            return
        found = self._watcher.last_seen(handle.token) or await look(self._client, handle.token, self._limits)
        if found is None:
            self._watcher.forget(handle.token)
            return
        replica_id = replica_of(found["Config"]["Labels"], self._context.instance)
        if replica_id is None:
            raise ExecutorUnavailable(f"docker: container {handle.token} is not this daemon's; left alone")
        await self._keep_log(handle.token, self._log_path(replica_id), whole_below(found))
        try:
            await delete(self._client.containers.container(handle.token), self._limits)
        except DockerError as exc:
            raise ExecutorUnavailable(f"docker: removal of {replica_id}: {exc.message}") from exc
        self._networks.give_back(replica_id, found)
        self._watcher.forget(handle.token)

    async def _keep_log(self, token: str, path: Path, whole: int | None) -> None:
        try:
            await keep_log(self._client, token, path, self._limits, whole=whole)
        except DockerError as exc:
            if exc.status != 404:
                await note_lost_log(path, exc.message)

    # state

    async def owned(self) -> tuple[OwnedReplica, ...]:
        """List the containers that bear this daemon's label. See `Executor.owned`."""
        return await find_owned(self._client, self._context.instance, self._limits)

    async def logs(
        self, replica_id: str, handle: ReplicaHandle | None, *, tail: int | None, follow: bool
    ) -> AsyncIterator[str]:
        """Give log lines: from the file once it is kept, else from the engine. See `Executor.logs`."""
        path = self._log_path(replica_id)
        if not is_there(path):
            try:
                async for line in self._live_lines(replica_id, handle, tail=tail, follow=follow):
                    yield line
                return
            except DockerError as exc:
                if exc.status != 404:
                    raise ExecutorUnavailable(f"docker: log of {replica_id}: {exc.message}") from exc
        if not is_there(path):
            raise NotFound(f"replica {replica_id}: {NO_LOG}, and the engine has no such container")
        async for line in read_log(path, tail=tail, follow=False, ended=lambda: True):
            yield line

    async def _live_lines(
        self, replica_id: str, handle: ReplicaHandle | None, *, tail: int | None, follow: bool
    ) -> AsyncIterator[str]:
        members = await self._pods.members(replica_id) if handle is None or pod_of(handle) else None
        if members is not None and members.named:
            lines = self._pods.lines(replica_id, tail=tail, follow=follow)
        else:
            token = handle.token if handle else replica_id
            found = None if tail is not None else await look(self._client, token, self._limits)
            whole = whole_below(found or {})
            lines = live_lines(self._client, token, self._limits, tail=tail, follow=follow, whole=whole)
        async for line in lines:
            yield line

    def _log_path(self, replica_id: str) -> Path:
        return self._context.log_dir / f"{replica_id}.log"


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
            ports = ConductPorts(
                client=client,
                watcher=watcher,
                notes=Notes(context.state_dir),
                settings=checked,
                limits=bounds,
                instance=context.instance,
            )
            pods = Pods(ports, images)
            try:
                async with open_networks(ports, images) as networks:
                    yield DockerExecutor(
                        ports, endpoint=endpoint, context=context, images=images, pods=pods, networks=networks
                    )
            finally:
                await pods.close()
                await images.close()


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
    notes=notes,
    unusable=unusable,
)
