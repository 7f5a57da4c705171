"""A thousand replicas that run while no daemon does, and an engine that takes them up: for test and bench."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from scaler.engine.clock import SystemClock
from scaler.engine.crew import Crew
from scaler.engine.sessions import Sessions
from scaler.engine.supervisor import EnginePorts, Supervisor
from scaler.model.execution import Cause, Execution, ExecutionState
from scaler.model.replica import ReplicaExit, ReplicaHandle, ReplicaSpec
from scaler.planning.advance import Begun, Launched, advance
from scaler.store.sqlite import SqliteStore, open_store
from scaler.testing.executor_contract import make_spec
from scaler.testing.mock_executor import MockExecutor
from tests.engine.world import manual_job, resolve

JOB = replace(manual_job(), replica_timeout=timedelta(hours=1))


@dataclass(slots=True, kw_only=True)
class Adoption:
    """What taking them up took.

    Attributes:
        seconds: from opening the records to the moment every replica is waited for.
        commits: transactions written until then.
        lists: how often the executor was asked what it holds.
        waits: replicas waited for.
    """

    seconds: float
    commits: int
    lists: int
    waits: int


class Counting(MockExecutor):
    """Says when so many replicas are waited for."""

    def __init__(self, expected: int) -> None:
        super().__init__(_for_ever)
        self.waited: set[str] = set()
        self.lists = 0
        self.complete = asyncio.Event()
        self._expected = expected

    async def wait(self, handle: ReplicaHandle) -> ReplicaExit:
        self.waited.add(handle.token)
        if len(self.waited) >= self._expected:
            self.complete.set()
        return await super().wait(handle)

    async def owned(self):  # type: ignore[no-untyped-def]  # the port's signature, counted
        self.lists += 1
        return await super().owned()


async def _for_ever(_spec: ReplicaSpec) -> int:
    await asyncio.Event().wait()
    return 0


async def leave_running(path: Path, executor: MockExecutor, number: int, *, recorded: bool) -> None:
    """Record executions and start their replicas; `recorded`: that they were started is on record too."""
    states = [_begun(f"by-hand-{index}") for index in range(number)]
    async with open_store(path) as store:
        await store.begin(tuple(states))
        for state in states:
            replica_id = state.replicas[0].id
            handle = await executor.launch(replace(make_spec(["true"]), replica_id=replica_id))
            if recorded:
                event = Launched(replica_id=replica_id, handle=handle)
                await store.apply(advance(state, event, datetime.now(UTC), lambda: "no other").state)


def _begun(name: str) -> ExecutionState:
    execution = Execution(
        id=name, job=JOB.name, generation=1, cause=Cause.MANUAL, template=JOB.template, executor="mock",
        replica_timeout=JOB.replica_timeout, replica_retry_limit=0, parallelism=1, replica_completion_count=1,
        created_at=datetime.now(UTC),
    )  # fmt: skip
    return advance(ExecutionState(execution=execution), Begun(), datetime.now(UTC), lambda: f"{name}-r").state


async def adopted(path: Path, executor: Counting, *, limit_s: float = 120.0) -> Adoption:
    """Start an engine on the records and wait until it waits for every replica."""
    began = time.perf_counter()
    async with open_store(path) as store, _engine(store, executor):
        async with asyncio.timeout(limit_s):
            await executor.complete.wait()
        return Adoption(
            seconds=time.perf_counter() - began,
            commits=store._writer.commits,
            lists=executor.lists,
            waits=len(executor.waited),
        )


@asynccontextmanager
async def _engine(store: SqliteStore, executor: MockExecutor) -> AsyncIterator[Supervisor]:
    @asynccontextmanager
    async def open_executor(_name: str) -> AsyncIterator[MockExecutor]:
        yield executor

    async with AsyncExitStack() as stack:
        sessions = await stack.enter_async_context(Sessions())
        crew = await stack.enter_async_context(Crew(open_executor, sessions))
        ports = EnginePorts(
            clock=SystemClock(), store=store, crew=crew, sessions=sessions, resolve=resolve, instance="test"
        )
        supervisor = Supervisor(ports)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(supervisor.serve())
            await supervisor.ready()
            await supervisor.put(JOB)
            supervisor.take_up()
            yield supervisor
            supervisor.close()
