"""The containers of one replica as the engine knows them: found by label, so that no memory of ours is needed."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from aiodocker import Docker, DockerError
from aiodocker.volumes import DockerVolume

from executors._docker_claim import delete
from executors._docker_errors import engine_call
from executors._docker_plan import Plan, read_plan
from executors._docker_settings import Limits
from executors._docker_watch import Watcher, list_containers
from executors._labels import owner_filter
from scaler.errors import ExecutorUnavailable
from scaler.model.names import LABEL_CONTAINER, LABEL_PLAN, LABEL_REPLICA

_LIVE = frozenset({"running", "paused", "restarting"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One container: its id and the engine's word for its state."""

    id: str
    state: str

    @property
    def is_live(self) -> bool:
        """Whether it runs."""
        return self.state in _LIVE

    @property
    def is_unstarted(self) -> bool:
        """Whether it never ran."""
        return self.state == "created"


@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """What the engine has of a replica. `plan` and `holder` None: nothing holds it (any more)."""

    holder: Seen | None = None
    plan: Plan | None = None
    named: Mapping[str, Seen] = field(default_factory=dict)

    @property
    def is_begun(self) -> bool:
        """Whether any container was started, from which on a launch has nothing to do."""
        return any(not one.is_unstarted for one in self.named.values())

    @property
    def all(self) -> tuple[Seen, ...]:
        """Every container, the holder last."""
        return (*self.named.values(), *((self.holder,) if self.holder else ()))


async def find_members(client: Docker, replica_id: str, instance: str, limits: Limits) -> Members:
    """Ask the engine what it has of a replica.

    Raises:
        ExecutorUnavailable: it does not tell.
    """
    filters = owner_filter(instance)
    filters["label"].append(f"{LABEL_REPLICA}={replica_id}")
    try:
        listed = await list_containers(client, filters, limits)
    except DockerError as exc:
        raise ExecutorUnavailable(f"docker: list of containers: {exc.message}") from exc
    holder, plan, named = None, None, {}
    for one in listed:
        seen, labels = Seen(id=one.id, state=one["State"]), one["Labels"]
        if LABEL_PLAN in labels:
            holder, plan = seen, read_plan(labels[LABEL_PLAN])
        elif LABEL_CONTAINER in labels:
            named[labels[LABEL_CONTAINER]] = seen
    return Members(holder=holder, plan=plan, named=named)


async def stop_all(
    client: Docker, watcher: Watcher, ids: Iterable[str], grace_s: float, limits: Limits
) -> None:
    """TERM, then KILL after the grace, all at the same time; "already gone" is success.

    Raises:
        ExecutorUnavailable: call again.
    """
    try:
        async with asyncio.TaskGroup() as group:
            for one in ids:
                watcher.is_stopping(one)
                group.create_task(_stop(client, one, grace_s, limits), name=f"docker/stop:{one[:12]}")
    except* ExecutorUnavailable as many:
        raise ExecutorUnavailable(str(many.exceptions[0])) from many


async def _stop(client: Docker, container: str, grace_s: float, limits: Limits) -> None:
    seconds = max(0, math.ceil(grace_s))
    try:
        async with engine_call(f"stop of {container}", seconds + limits.stop_margin_s):
            await client.containers.container(container).stop(t=seconds)
    except DockerError as exc:
        if exc.status != 404:
            raise ExecutorUnavailable(f"docker: stop of {container}: {exc.message}") from exc


async def delete_all(client: Docker, replica_id: str, instance: str, limits: Limits) -> None:
    """Delete the containers of a replica, the holder last, then its volumes.

    Raises:
        ExecutorUnavailable: call again.
    """
    members = await find_members(client, replica_id, instance, limits)
    try:
        for one in members.all:
            await delete(client.containers.container(one.id), limits)
        for name in await find_volumes(client, {LABEL_REPLICA: replica_id}, instance, limits):
            await _delete_volume(client, name, limits)
    except DockerError as exc:
        raise ExecutorUnavailable(f"docker: removal of {replica_id}: {exc.message}") from exc


async def find_volumes(
    client: Docker, labels: Mapping[str, str], instance: str, limits: Limits
) -> dict[str, tuple[str, str]]:
    """Give the volumes of this daemon that bear `labels`: by name, the replica and the time of their making.

    Raises:
        DockerError: the engine cannot list them.
        ExecutorUnavailable: it does not answer.
    """
    filters = owner_filter(instance)
    filters["label"] += [f"{name}={value}" for name, value in labels.items()]
    async with engine_call("list of volumes", limits.inspect_s):
        answer = await client.volumes.list(filters=filters)  # type: ignore[no-untyped-call]
    return {
        one["Name"]: (one["Labels"][LABEL_REPLICA], str(one["CreatedAt"]))
        for one in answer["Volumes"] or []
        if LABEL_REPLICA in (one["Labels"] or {})
    }


async def _delete_volume(client: Docker, name: str, limits: Limits) -> None:
    try:
        async with engine_call(f"removal of volume {name}", limits.remove_s):
            volume = DockerVolume(client, name)  # type: ignore[no-untyped-call]
            await volume.delete(force=0)  # type: ignore[no-untyped-call]
    except DockerError as exc:
        if exc.status != 404:
            raise
