"""An executor whose replicas are workers in virtual time: each starts, takes messages, works, and ends by chance."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from scaler.model.replica import Health, OwnedReplica, ReplicaExit, ReplicaHandle, ReplicaSpec
from scaler.ports.clock import Clock

TERMINATED = 143

Work = Callable[[ReplicaSpec], Awaitable[int]]
"""What a replica does; gives its exit code. Cancelled when it is stopped."""


@dataclass(slots=True)
class _Replica:
    created_at: datetime
    starting: asyncio.Task[None]
    task: asyncio.Task[None] | None = None
    exit: ReplicaExit | None = None


class SimulatedExecutor:
    """Implements `Executor`. `start_s` says how long a replica takes to start, `ran` hears how long it ran."""

    def __init__(
        self,
        clock: Clock,
        work: Work,
        *,
        start_s: Callable[[ReplicaSpec], float],
        ran: Callable[[ReplicaSpec, float], None],
    ) -> None:
        self._clock, self._work, self._start_s, self._ran = clock, work, start_s, ran
        self._replicas: dict[str, _Replica] = {}
        self._over: dict[str, asyncio.Event] = {}

    async def fingerprint(self) -> Health:
        """It works."""
        return Health(ok=True, message="simulated")

    async def launch(self, spec: ReplicaSpec) -> ReplicaHandle:
        """Start a replica, once."""
        found = self._replicas.get(spec.replica_id)
        if found is None:
            self._over[spec.replica_id] = asyncio.Event()
            starting = asyncio.get_running_loop().create_task(self._start(spec))
            found = self._replicas[spec.replica_id] = _Replica(self._clock.now(), starting)
        await asyncio.shield(found.starting)
        return ReplicaHandle(executor="simulated", token=spec.replica_id)

    async def _start(self, spec: ReplicaSpec) -> None:
        await self._clock.sleep(self._start_s(spec))
        self._replicas[spec.replica_id].task = asyncio.get_running_loop().create_task(self._live(spec))

    async def _live(self, spec: ReplicaSpec) -> None:
        began, code, reason = self._clock.monotonic(), TERMINATED, "Signaled"
        try:
            code = await self._work(spec)
            reason = "Error" if code else "Completed"
        finally:
            self._ran(spec, self._clock.monotonic() - began)
            found = self._replicas.get(spec.replica_id)
            if found is not None:
                found.exit = ReplicaExit(code=code, reason=reason, at=self._clock.now())
                self._over[spec.replica_id].set()

    async def wait(self, handle: ReplicaHandle) -> ReplicaExit:
        """Wait for the end of a replica."""
        found = self._replicas.get(handle.token)
        if found is not None:
            await self._over[handle.token].wait()
        return (found.exit if found else None) or ReplicaExit(code=None, reason="Lost")

    async def stop(self, handle: ReplicaHandle, grace: timedelta) -> None:  # noqa: ARG002 - it ends at once
        """End a replica; it lets go of its messages."""
        found = self._replicas.get(handle.token)
        if found is not None and found.task is not None and not found.task.done():
            found.task.cancel()
            await asyncio.wait([found.task])

    async def remove(self, handle: ReplicaHandle) -> None:
        """Forget an ended replica."""
        self._replicas.pop(handle.token, None)
        self._over.pop(handle.token, None)

    async def owned(self) -> tuple[OwnedReplica, ...]:
        """List replicas that are not removed."""
        return tuple(
            OwnedReplica(
                replica_id=name,
                handle=ReplicaHandle(executor="simulated", token=name),
                started=found.task is not None,
                ended=found.exit is not None,
                created_at=found.created_at,
            )
            for name, found in self._replicas.items()
        )

    async def logs(
        self, replica_id: str, handle: ReplicaHandle | None, *, tail: int | None, follow: bool
    ) -> AsyncIterator[str]:  # fmt: skip
        """There are none."""
        del replica_id, handle, tail, follow
        nothing: tuple[str, ...] = ()
        for line in nothing:
            yield line
