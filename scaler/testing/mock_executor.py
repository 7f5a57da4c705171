"""An executor whose replicas are coroutines: a stand-in world that outlives the engine under test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

from scaler.errors import ExecutorUnavailable, LaunchError
from scaler.model.replica import Health, OwnedReplica, ReplicaExit, ReplicaHandle, ReplicaSpec

Behaviour = Callable[[ReplicaSpec], Awaitable[int]]
"""What a replica does; gives its exit code. Cancelled when the replica is stopped."""


class _Thing:
    def __init__(self, spec: ReplicaSpec, created_at: datetime) -> None:
        self.spec = spec
        self.created_at = created_at
        self.starting: asyncio.Task[None] | None = None
        self.task: asyncio.Task[int] | None = None
        self.exit: ReplicaExit | None = None
        self.over = asyncio.Event()


class MockExecutor:
    """Knobs: `behaviour`, `start_delay_s`, `unavailable`, `refuse`.

    Attributes:
        launches: how often each replica id was really started (must never exceed 1).
        live, peak: replicas running now, and the most there ever were.
    """

    def __init__(self, behaviour: Behaviour, *, start_delay_s: float = 0.0) -> None:
        self.behaviour = behaviour
        self.start_delay_s = start_delay_s
        self.unavailable = False
        self.refuse: str | None = None
        self.launches: dict[str, int] = {}
        self.live = 0
        self.peak = 0
        self._things: dict[str, _Thing] = {}

    async def fingerprint(self) -> Health:
        """Healthy unless `unavailable`."""
        return Health(ok=not self.unavailable, message="unavailable" if self.unavailable else "ok")

    async def launch(self, spec: ReplicaSpec) -> ReplicaHandle:
        """Start a replica once, however often it is asked for."""
        self._reachable()
        if self.refuse is not None:
            raise LaunchError(self.refuse, reason="StartFailed")
        thing = self._things.get(spec.replica_id)
        if thing is None:
            now = datetime(2026, 3, 1, 12, tzinfo=UTC)
            created = now + timedelta(seconds=asyncio.get_running_loop().time())
            thing = self._things[spec.replica_id] = _Thing(spec, created)
        if thing.starting is None:
            thing.starting = asyncio.get_running_loop().create_task(self._start(thing), name="mock-start")
        await asyncio.shield(thing.starting)
        self._reachable()
        return ReplicaHandle(executor="mock", token=spec.replica_id)

    async def _start(self, thing: _Thing) -> None:
        """Start what was asked for, whether or not the one that asked is still there."""
        await asyncio.sleep(self.start_delay_s)
        replica_id = thing.spec.replica_id
        self.launches[replica_id] = self.launches.get(replica_id, 0) + 1
        thing.task = asyncio.get_running_loop().create_task(self._live(thing), name="mock-replica")

    async def _live(self, thing: _Thing) -> int:
        self.live += 1
        self.peak = max(self.peak, self.live)
        code = 143
        try:
            code = await self.behaviour(thing.spec)
        finally:
            self.live -= 1
            reason = "Completed" if code == 0 else "Error"
            thing.exit = ReplicaExit(code=code, reason=reason)
            thing.over.set()
        return code

    async def wait(self, handle: ReplicaHandle) -> ReplicaExit:
        """Wait for the end of a replica."""
        thing = self._things.get(handle.token)
        if thing is None:
            return ReplicaExit(code=None, reason="Lost")
        await thing.over.wait()
        return thing.exit or ReplicaExit(code=None, reason="Lost")

    async def stop(self, handle: ReplicaHandle, grace: timedelta) -> None:
        """Cancel the replica's coroutine; it has no time to clean up, whatever `grace` says."""
        self._reachable()
        thing = self._things.get(handle.token)
        if thing is not None and thing.task is not None:
            thing.task.cancel()
            await asyncio.wait([thing.task], timeout=grace.total_seconds())

    async def remove(self, handle: ReplicaHandle) -> None:
        """Forget an ended replica."""
        self._reachable()
        self._things.pop(handle.token, None)

    async def owned(self) -> tuple[OwnedReplica, ...]:
        """List all replicas not yet removed."""
        self._reachable()
        return tuple(
            OwnedReplica(
                replica_id=name,
                handle=ReplicaHandle(executor="mock", token=name),
                started=thing.task is not None,
                ended=thing.exit is not None,
                created_at=thing.created_at,
            )
            for name, thing in self._things.items()
        )

    async def logs(
        self, replica_id: str, handle: ReplicaHandle | None, *, tail: int | None, follow: bool
    ) -> AsyncIterator[str]:
        """Give one line that names the replica."""
        yield f"log of {replica_id}"

    def lose(self, replica_id: str) -> None:
        """Make a replica vanish, as if somebody had removed it by hand."""
        thing = self._things.pop(replica_id)
        if thing.task is not None:
            thing.task.cancel()

    async def close(self) -> None:
        """End all replicas that still run."""
        tasks = [t.task for t in self._things.values() if t.task is not None and not t.task.done()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=5)

    def _reachable(self) -> None:
        if self.unavailable:
            raise ExecutorUnavailable("the engine does not answer")
