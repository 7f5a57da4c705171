"""One process or container of an execution, and what the executor is told and tells about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from scaler.model.job import DockerOptions, ProcessOptions, Registry, Resources
from scaler.model.pod import Probe, VolumeMount
from scaler.model.secret import Secret


class ReplicaStatus(StrEnum):
    """Pending: recorded, perhaps not started yet. The last four are final."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    STOPPED = "Stopped"
    UNKNOWN = "Unknown"


FINAL_REPLICA = frozenset(
    {ReplicaStatus.SUCCEEDED, ReplicaStatus.FAILED, ReplicaStatus.STOPPED, ReplicaStatus.UNKNOWN}
)


class Fault(StrEnum):
    """Whose trouble ended a replica: that of what the job's author wrote, or of what runs it."""

    APP = "app"
    INFRA = "infra"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a replica used over its life. None means "not known", which is never zero."""

    cpu_seconds: float | None = None
    peak_memory_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaHandle:
    """How an executor finds a replica again, also after a restart of the daemon. `token` is opaque."""

    executor: str
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaExit:
    """How a replica ended.

    Attributes:
        code: the exit code; 128 + n for a signal n; None means "not known", which is never success.
        reason: stable CamelCase word: `Completed`, `Error`, `OOMKilled`, `Signaled`, `Lost` …
        message: more for people, or empty.
        log_lost: text that says why the log could not be kept, or None.
        at: when the backend saw it end, by its own clock; None if it does not tell.
        fault: whose trouble it was; None if the executor leaves it to `planning/failures.py`, which tells it
            by code and reason.
        usage: what it used.
        image_digest: the image that it truly ran, `sha256:…`; None where there is none or it is not known.
        restarted_at: when somebody else started it anew, last, so that its work began more than once; None if
            nobody did, or nobody saw it.
    """

    code: int | None
    reason: str
    message: str = ""
    log_lost: str | None = None
    at: datetime | None = None
    fault: Fault | None = None
    usage: Usage = Usage()
    image_digest: str | None = None
    restarted_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """One of several containers of a replica, its variables resolved."""

    name: str
    image: str | None
    command: tuple[str, ...]
    args: tuple[str, ...]
    env: Mapping[str, Secret] = field(repr=False)
    resources: Resources
    mounts: tuple[VolumeMount, ...] = ()
    probes: tuple[Probe, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeSpec:
    """A volume of a replica. `files` None: an empty folder; else paths and the secrets that they hold."""

    name: str
    files: tuple[tuple[str, Secret], ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSpec:
    """The parts of a replica that is more than one plain container. See `Template` for what they mean."""

    containers: tuple[ContainerSpec, ...]
    init: tuple[ContainerSpec, ...] = ()
    sidecars: tuple[str, ...] = ()
    volumes: tuple[VolumeSpec, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSpec:
    """All that an executor needs to start one replica. `env` is resolved: it holds secrets, so no repr.

    `argv` is `command + args`; `command` alone replaces an image's entrypoint, `args` its command. `pod` None: it is
    one plain container; else image, command, args, env and resources are those of the first container in it.
    """

    replica_id: str
    execution_id: str
    job: str
    image: str | None
    command: tuple[str, ...]
    args: tuple[str, ...]
    env: Mapping[str, Secret] = field(repr=False)
    resources: Resources
    labels: Mapping[str, str]
    docker: DockerOptions
    process: ProcessOptions
    registries: tuple[tuple[Registry, Secret], ...] = ()
    pod: PodSpec | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedReplica:
    """One thing that the executor holds under our label, in any state."""

    replica_id: str
    handle: ReplicaHandle
    started: bool
    ended: bool
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Whether an executor can work, and if not, why."""

    ok: bool
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """The record of one replica.

    Attributes:
        ordinal: its slot, from 0.
        attempt: counts the replicas of its slot, from 1.
        created_at: when it was decided and recorded.
        not_before: when it may be launched at the earliest, if its predecessors failed.
        launched_at: when the executor was asked for it.
        started_at: when the executor said that it runs.
        ended_at: when it ended.
        removed_at: when its remains were removed.
        fault: whose trouble ended it; None while it lives, and if nothing went wrong.
        usage: what it used, told at its end.
        image_digest: the image that it truly ran.

    Moments are None until they come, and in records of releases that did not keep them.
    """

    id: str
    execution_id: str
    ordinal: int
    attempt: int
    status: ReplicaStatus = ReplicaStatus.PENDING
    handle: ReplicaHandle | None = None
    created_at: datetime | None = None
    not_before: datetime | None = None
    launched_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    removed_at: datetime | None = None
    exit_code: int | None = None
    reason: str = ""
    message: str = ""
    timed_out: bool = False
    removed: bool = False
    fault: Fault | None = None
    usage: Usage = Usage()
    image_digest: str | None = None

    @property
    def is_final(self) -> bool:
        """Whether the replica has ended, whatever the outcome."""
        return self.status in FINAL_REPLICA

    def deadline(self, timeout: timedelta) -> datetime | None:
        """When the replica has used up its time; None while it has not started."""
        return None if self.started_at is None else self.started_at + timeout
