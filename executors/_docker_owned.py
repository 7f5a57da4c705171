"""Lists what the engine holds for this daemon, replica by replica, and makes the handles by which it is found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from aiodocker import Docker, DockerError
from aiodocker.containers import DockerContainer

from executors._docker_members import find_volumes
from executors._docker_settings import Limits
from executors._docker_watch import list_containers
from executors._labels import owner_filter, replica_of
from scaler.errors import ExecutorUnavailable
from scaler.model.names import LABEL_CONTAINER, LABEL_PLAN
from scaler.model.replica import OwnedReplica, ReplicaHandle

_POD = "pod/"
_ENDED = frozenset({"exited", "dead", "removing"})
_NAME = "docker"


def pod_handle(replica_id: str) -> ReplicaHandle:
    """Make the handle of a replica of several containers: its own id, under which all of them are found."""
    return ReplicaHandle(executor=_NAME, token=f"{_POD}{replica_id}")


def pod_of(handle: ReplicaHandle) -> str | None:
    """Give the replica that a handle means, if it is one of several containers."""
    return handle.token.removeprefix(_POD) if handle.token.startswith(_POD) else None


async def find_owned(client: Docker, instance: str, limits: Limits) -> tuple[OwnedReplica, ...]:
    """List everything that bears this daemon's label; volumes too, which a kill may leave alone.

    Raises:
        ExecutorUnavailable: the list is not known.
    """
    try:
        listed = await list_containers(client, owner_filter(instance), limits)
        volumes = await find_volumes(client, {}, instance, limits)
    except DockerError as exc:
        raise ExecutorUnavailable(f"docker: list of containers: {exc.message}") from exc
    groups: dict[str, list[DockerContainer]] = {}
    for one in listed:
        replica_id = replica_of(one["Labels"], instance)
        if replica_id is not None:
            groups.setdefault(replica_id, []).append(one)
    owned = [_owned(replica_id, group) for replica_id, group in groups.items()]
    return (*owned, *_left(volumes.values(), groups))


def _owned(replica_id: str, group: list[DockerContainer]) -> OwnedReplica:
    plain = [one for one in group if not _is_part(one)]
    members = [one for one in group if LABEL_CONTAINER in one["Labels"]] or group
    return OwnedReplica(
        replica_id=replica_id,
        handle=ReplicaHandle(executor=_NAME, token=plain[0].id) if plain else pod_handle(replica_id),
        started=any(one["State"] != "created" for one in (plain or members) if not _is_holder(one)),
        ended=all(one["State"] in _ENDED or (not plain and one["State"] == "created") for one in group),
        created_at=min(datetime.fromtimestamp(one["Created"], UTC) for one in group),
    )


def _is_holder(one: DockerContainer) -> bool:
    return LABEL_PLAN in one["Labels"]


def _is_part(one: DockerContainer) -> bool:
    return _is_holder(one) or LABEL_CONTAINER in one["Labels"]


def _left(
    volumes: Iterable[tuple[str, str]], groups: dict[str, list[DockerContainer]]
) -> Iterator[OwnedReplica]:
    """Give replicas of which there are volumes only: they are left, or their holder is just being made."""
    times = {replica_id: at for replica_id, at in volumes if replica_id not in groups}
    for replica_id, at in times.items():
        yield OwnedReplica(
            replica_id=replica_id,
            handle=pod_handle(replica_id),
            started=False,
            ended=True,
            created_at=_made_at(at),
        )


def _made_at(text: str) -> datetime:
    """Read when a volume was made; one that does not tell counts as new, so that nobody takes it for left behind."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return datetime.now(UTC)
