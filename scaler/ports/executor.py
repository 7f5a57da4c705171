"""What an executor plugin is: it starts, watches, stops and removes replicas, and lists what it owns."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from scaler.model.job import Job
from scaler.model.replica import Health, OwnedReplica, ReplicaExit, ReplicaHandle, ReplicaSpec


class Executor(Protocol):
    """A backend that runs replicas."""

    async def fingerprint(self) -> Health:
        """Say whether the backend can work, and if not, why. Never raises."""
        ...

    async def launch(self, spec: ReplicaSpec) -> ReplicaHandle:
        """Start a replica. Idempotent by `spec.replica_id`: a second call gives the handle of the first.

        Raises:
            LaunchError: it cannot be started; repeating at once will not help.
            ExecutorUnavailable: the backend does not answer; whether it started is unknown, call again.
        """
        ...

    async def wait(self, handle: ReplicaHandle) -> ReplicaExit:
        """Wait until the replica has ended. Survives an outage of the backend; cancelling it stops nothing.

        A replica that the backend no longer knows ends as `ReplicaExit(code=None, reason="Lost")`, or with the
        reason `RemovedFromOutside` if it was seen to live. One that trouble of the backend ended has the fault
        `INFRA`, whatever its code.
        """
        ...

    async def stop(self, handle: ReplicaHandle, grace: timedelta) -> None:
        """TERM, then KILL after `grace`. "Already gone" is success; `wait` tells the exit.

        Raises:
            ExecutorUnavailable: call again.
        """
        ...

    async def remove(self, handle: ReplicaHandle) -> None:
        """Forget an ended replica, after its log has been kept. "Already gone" is success.

        Raises:
            ExecutorUnavailable: call again.
        """
        ...

    async def owned(self) -> tuple[OwnedReplica, ...]:
        """List everything that bears this daemon's label, in any state.

        Raises:
            ExecutorUnavailable: the list is unknown, which is not the same as empty.
        """
        ...

    def logs(
        self, replica_id: str, handle: ReplicaHandle | None, *, tail: int | None, follow: bool
    ) -> AsyncIterator[str]:
        """Give log lines, without line ends, oldest first; also after `remove`, from what was kept.

        `tail` is the number of last lines to begin with (None: all). With `follow` it ends when the
        replica does.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorContext:
    """What an executor gets beside its settings.

    Attributes:
        instance: id of this daemon's state; part of the label, so that two daemons on one engine do not
            touch each other's replicas.
        state_dir: a folder of its own, which outlives the daemon.
        log_dir: where the logs of replicas are kept: `<log_dir>/<replica id>.log`.
    """

    instance: str
    state_dir: Path
    log_dir: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorType:
    """The plugin: a module constant `EXECUTOR`.

    Attributes:
        open: a context manager that gives an `Executor`; settings are the plain mapping under
            `executors.<name>` of the daemon's settings file.
        settings: the names it knows, with a default and a line of help each.
        check: faults of a job that this executor could not run: (path in the job file, text).
        notes: what of a job this executor runs otherwise than it says, in the same form; shown as warnings.
        unusable: what of the settings or the environment variables keeps it from every job, or None. Blocks
            on small files at most; whether the backend answers is `fingerprint`'s business.
        needs_image: whether a container must name an image.
        summary: one line for `scaler doctor`.
    """

    open: Callable[[Mapping[str, Any], ExecutorContext], AbstractAsyncContextManager[Executor]]
    summary: str
    needs_image: bool = True
    settings: Mapping[str, tuple[Any, str]] = field(default_factory=dict)
    check: Callable[[Job, Mapping[str, Any]], tuple[tuple[str, str], ...]] = field(
        default=lambda _job, _settings: ()
    )
    notes: Callable[[Job, Mapping[str, Any]], tuple[tuple[str, str], ...]] = field(
        default=lambda _job, _settings: ()
    )
    unusable: Callable[[Mapping[str, Any], Mapping[str, str]], str | None] = field(
        default=lambda _settings, _env: None
    )
