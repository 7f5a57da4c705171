"""Replicas that are more than one plain container: a holder of network and volumes, and their containers beside it.

Everything is found again by labels, everything is named by the replica's id, and whatever a launch does can be
done again: until the first container has been started, a launch goes through all steps once more; from then on
the conductor needs no launch. The holder is the first to be made and the last to go.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import structlog
from aiodocker import DockerError

from executors._docker_claim import claim, look, refused, start
from executors._docker_conduct import FORMER_S, UNKNOWN, Conductor, ConductPorts
from executors._docker_config import container_config, holder_config, member_config
from executors._docker_errors import engine_call
from executors._docker_holder import ensure_holder
from executors._docker_images import Images
from executors._docker_members import Members, delete_all, find_members, stop_all
from executors._docker_plan import Plan, plan_of
from executors._docker_pod_logs import keep_pod_log, pod_lines
from executors._docker_settings import PullPolicy
from executors._docker_volumes import (
    EngineVolume,
    Key,
    contents,
    engine_volumes,
    owner_of,
    secret_readers,
)
from scaler.errors import ExecutorUnavailable, LaunchError
from scaler.model.replica import ContainerSpec, PodSpec, ReplicaExit, ReplicaSpec

_log = structlog.get_logger(__name__)
_LAUNCHES = 4  # at once: each is several containers
_LOOK_S = 1.0


class Pods:
    """Launches, conducts, stops and removes them. Close it, or conductors go on after the executor."""

    def __init__(self, ports: ConductPorts, images: Images) -> None:
        self._ports = ports
        self._images = images
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._gate = asyncio.Semaphore(_LAUNCHES)
        self._conductors: dict[str, tuple[Conductor, asyncio.Task[ReplicaExit]]] = {}

    async def close(self) -> None:
        """Let go of the replicas, which go on without us."""
        tasks = [task for _, task in self._conductors.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def members(self, replica_id: str) -> Members:
        """Ask the engine what it has of a replica."""
        ports = self._ports
        return await find_members(ports.client, replica_id, ports.instance, ports.limits)

    # launch

    async def launch(self, spec: ReplicaSpec, pod: PodSpec) -> None:
        """Create all containers and start the first; the rest is the conductor's. See `Executor.launch`."""
        turn = self._turns.setdefault(spec.replica_id, asyncio.Lock())
        async with turn, self._gate:
            members = await self.members(spec.replica_id)
            if members.holder is not None and not members.is_begun:
                await asyncio.sleep(FORMER_S)
                members = await self.members(spec.replica_id)
            if not members.is_begun:
                try:
                    await self._launch(spec, pod)
                except LaunchError:
                    with suppress(ExecutorUnavailable):  # the reason to tell is the first one
                        await self._delete(spec.replica_id)
                    raise
        self._conduct(spec.replica_id, is_ours=True)

    async def _launch(self, spec: ReplicaSpec, pod: PodSpec) -> None:
        ports, plan, volumes = self._ports, plan_of(pod), engine_volumes(spec.replica_id, pod)
        holder = await self._hold(spec, plan, volumes)
        made = {}
        for one in (*pod.init, *pod.containers):
            made[one.name] = await self._make(spec, one, holder, volumes)
        await self._fill(spec, pod, holder, volumes)
        first = replace(spec, image=next(one.image for one in (*pod.init, *pod.containers)))
        container = ports.client.containers.container(made[plan.names[0]])
        await start(ports.client, container, first, ports.limits)
        ports.watcher.has_started(container.id)

    async def _hold(self, spec: ReplicaSpec, plan: Plan, volumes: Mapping[Key, EngineVolume]) -> str:
        """Create and start the holder, or find it so; its volumes are made with it."""
        ports = self._ports
        try:
            image = await ensure_holder(ports.client, ports.settings.holder_image, ports.limits)
        except DockerError as exc:
            raise refused(exc, spec, image="scaler-holder") from None
        config = holder_config(spec, image, plan, volumes.values(), instance=ports.instance)
        holder = await self._claim(spec, spec.replica_id, image, config)
        found = await look(ports.client, holder, ports.limits)
        if found is None or not found["State"]["Running"]:
            container = ports.client.containers.container(holder)
            await start(ports.client, container, replace(spec, image=image), ports.limits)
        return holder

    async def _make(
        self, spec: ReplicaSpec, one: ContainerSpec, holder: str, volumes: Mapping[Key, EngineVolume]
    ) -> str:
        if one.image is None:
            raise LaunchError(
                f"replica {spec.replica_id}: container {one.name}: no image is named", reason="ImageMissing"
            )
        ports = self._ports
        base = container_config(
            replace(
                spec,
                image=one.image,
                command=one.command,
                args=one.args,
                env=one.env,
                resources=one.resources,
            ),
            ports.settings,
            ports.instance,
        )
        config = member_config(base, one, holder, volumes, host=spec.docker.network == "host")
        if ports.settings.pull_policy is PullPolicy.ALWAYS:
            await self._images.pull(one.image, spec.registries)
        return await self._claim(spec, f"{spec.replica_id}.{one.name}", one.image, config)

    async def _claim(self, spec: ReplicaSpec, name: str, image: str, config: dict[str, Any]) -> str:
        """Create a container, pulling its image if need be, or find the one of an earlier call."""
        ports = self._ports

        async def create() -> str:
            found = await claim(
                ports.client, name, config, spec, instance=ports.instance, limits=ports.limits
            )
            return found[0].id

        try:
            return await create()
        except LaunchError as exc:
            if exc.reason != "ImageNotFound" or ports.settings.pull_policy is not PullPolicy.IF_NOT_PRESENT:
                raise
        await self._images.pull(image, spec.registries)
        return await create()

    async def _fill(
        self, spec: ReplicaSpec, pod: PodSpec, holder: str, volumes: Mapping[Key, EngineVolume]
    ) -> None:
        """Put the secrets into their volumes, and let everybody write into the empty ones."""
        ports = self._ports
        owner = owner_of(spec.docker.user or await self._user(secret_readers(pod)))
        container = ports.client.containers.container(holder)
        try:
            for volume in volumes.values():
                async with engine_call(f"filling of {volume.name}", ports.limits.create_s):
                    await container.put_archive(volume.held_at, contents(volume, owner))  # type: ignore[no-untyped-call]
        except DockerError as exc:
            raise refused(exc, spec, image=None) from None

    async def _user(self, images: tuple[str, ...]) -> str | None:
        if not images:
            return None
        try:
            async with engine_call(f"inspection of {images[0]}", self._ports.limits.inspect_s):
                found = await self._ports.client.images.inspect(images[0])
        except DockerError:
            return None
        return str((found.get("Config") or {}).get("User") or "")

    # end

    def _conduct(
        self, replica_id: str, *, is_ours: bool = False
    ) -> tuple[Conductor, asyncio.Task[ReplicaExit]]:
        known = self._conductors.get(replica_id)
        if known is None:
            conductor = Conductor(replica_id, self._ports, is_ours=is_ours)
            task = asyncio.create_task(conductor.run(), name=f"docker/conduct:{replica_id}")
            task.add_done_callback(_tell_a_fault)
            known = self._conductors[replica_id] = (conductor, task)
        return known

    async def wait(self, replica_id: str) -> ReplicaExit:
        """Wait for the end. See `Executor.wait`."""
        _, task = self._conduct(replica_id)
        done, _ = await asyncio.wait({task})
        if task.cancelled() or task.exception() is not None:
            self._conductors.pop(replica_id, None)
            raise ExecutorUnavailable(f"docker: {replica_id}: nobody conducts it; ask again")
        ended = done.pop().result()
        if ended == UNKNOWN:
            self._conductors.pop(replica_id, None)  # nothing is there that could be removed
        return ended

    async def stop(self, replica_id: str, grace: timedelta) -> None:
        """Ask the main containers to end; the conductor ends the sidecars after them. See `Executor.stop`."""
        ports = self._ports
        members = await self.members(replica_id)
        if members.plan is None:
            await stop_all(
                ports.client, ports.watcher, [one.id for one in members.all if one.is_live], 0, ports.limits
            )
            return
        await ports.notes.note_stop(replica_id)
        conductor, task = self._conduct(replica_id)
        conductor.stop()
        seconds = grace.total_seconds()
        patience = seconds + ports.settings.stop_grace_s + ports.limits.stop_margin_s
        try:
            async with asyncio.timeout(patience):
                await self._stop_first(replica_id, members.plan, seconds, task)
        except TimeoutError as exc:
            raise ExecutorUnavailable(f"docker: {replica_id}: has not ended within {patience:g} s") from exc

    async def _stop_first(
        self, replica_id: str, plan: Plan, grace_s: float, conducted: asyncio.Task[ReplicaExit]
    ) -> None:
        """Stop all but the sidecars, also one whose start was under way, until the conductor is done."""
        ports = self._ports
        while not conducted.done():
            members = await self.members(replica_id)
            live = [members.named[name] for name in (*plan.init, *plan.main) if name in members.named]
            await stop_all(
                ports.client, ports.watcher, [one.id for one in live if one.is_live], grace_s, ports.limits
            )
            await asyncio.wait({conducted}, timeout=_LOOK_S)

    def lines(self, replica_id: str, *, tail: int | None, follow: bool) -> AsyncIterator[str]:
        """Give the replica's log lines. See `Executor.logs`."""
        ports = self._ports
        return pod_lines(
            ports.client, lambda: self.members(replica_id), ports.limits, tail=tail, follow=follow
        )

    async def keep_logs(self, replica_id: str, path: Path) -> None:
        """Keep the log of all containers as one file."""
        await keep_pod_log(self._ports.client, await self.members(replica_id), path, self._ports.limits)

    async def remove(self, replica_id: str) -> None:
        """Delete the containers, the volumes and what is remembered; the logs must have been kept."""
        known = self._conductors.pop(replica_id, None)
        if known is not None:
            known[1].cancel()
            await asyncio.wait({known[1]})
        members = await self.members(replica_id)
        await self._delete(replica_id)
        for one in members.all:
            self._ports.watcher.forget(one.id)
        await self._ports.notes.forget(replica_id)

    async def _delete(self, replica_id: str) -> None:
        ports = self._ports
        await delete_all(ports.client, replica_id, ports.instance, ports.limits)


def _tell_a_fault(done: asyncio.Task[ReplicaExit]) -> None:
    """Log what a conductor did not expect; whoever waits asks for another one."""
    if not done.cancelled() and (fault := done.exception()) is not None:
        _log.error("docker.conductor_failed", conductor=done.get_name(), exc_info=fault)
