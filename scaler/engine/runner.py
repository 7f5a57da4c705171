"""Carries out one execution: feeds events to `advance`, records each step, then acts on it.

One runner owns one execution; nothing else changes its state. Nothing is done before its record is durable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta

import structlog

from scaler.engine.faults import FaultLog
from scaler.engine.ledger import Ledger
from scaler.engine.limits import Limits
from scaler.errors import ExecutorUnavailable, LaunchError
from scaler.model import names
from scaler.model.execution import ExecutionState
from scaler.model.replica import Fault, Replica, ReplicaExit, ReplicaHandle, ReplicaSpec
from scaler.planning.advance import (
    Begun,
    ExecutionEvent,
    Exited,
    Launched,
    LaunchRefused,
    NeverStarted,
    StartReplica,
    StopReplica,
    StopRequested,
    TimedOut,
    advance,
)
from scaler.planning.retries import LONGEST_PAUSE
from scaler.ports.clock import Clock
from scaler.ports.executor import Executor
from scaler.ports.store import Store

log = structlog.get_logger("scaler")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Removed:
    """The remains of an ended replica are gone."""

    replica_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerPorts:
    """What every runner of one executor shares.

    `turn` gives what is set once an execution may start its replicas; None if it may at once.
    """

    clock: Clock
    limits: Limits
    store: Store
    ledger: Ledger
    faults: FaultLog
    executor: Executor
    ended: Callable[[ExecutionState], None]
    turn: Callable[[str], asyncio.Event | None] = lambda _execution_id: None


class Runner:
    """Drives one recorded execution to its end and removes what is left of it."""

    def __init__(
        self,
        state: ExecutionState,
        ports: RunnerPorts,
        build: Callable[[ExecutionState, Replica], ReplicaSpec],
    ) -> None:
        self.state = state
        self._ports = ports
        self._build = build
        self._events: asyncio.Queue[tuple[ExecutionEvent | _Removed, asyncio.Future[None]]] = asyncio.Queue()
        self._stops: dict[str, asyncio.Event] = {}
        self._resumed: set[str] = set()
        self._in_launch: frozenset[str] = frozenset()
        self._over: frozenset[str] = frozenset()

    async def run(
        self,
        adopted: Mapping[str, ReplicaHandle | None] | None = None,
        *,
        in_launch: Collection[str] = (),
        over: Collection[str] = (),
    ) -> None:
        """Run until the execution is final and nothing of it is left.

        `adopted` maps ids of replicas that were started before this process was to their handles; None as
        a handle means that the replica is lost. `in_launch` are those that may be starting this moment, `over`
        the adopted that have ended already.
        """
        self._in_launch, self._over = frozenset(in_launch), frozenset(over)
        async with asyncio.TaskGroup() as tasks:
            for replica_id, handle in (adopted or {}).items():
                replica = self.state.replica(replica_id)
                if replica is not None:
                    self._resumed.add(replica_id)  # launched already, even if no record says so yet
                    self._spawn(tasks, replica, self._resume(replica, handle))
            self._clear_leftovers(tasks, adopted or {})
            if not self.state.execution.is_final:
                await self._take(Begun(), tasks)
            while not self._is_done():
                event, recorded = await self._events.get()
                await self._take(event, tasks)
                if not recorded.done():  # who posted it may have been cancelled meanwhile
                    recorded.set_result(None)

    async def stop(self, message: str) -> None:
        """Ask the execution to stop; returns once the request is recorded."""
        if not self.state.execution.is_final:
            await self._post(StopRequested(message=message))

    def _is_done(self) -> bool:
        return self.state.execution.is_final and all(r.removed for r in self.state.replicas)

    async def _take(self, event: ExecutionEvent | _Removed, tasks: asyncio.TaskGroup) -> None:
        """Advance by one event, record, act."""
        if isinstance(event, _Removed):
            at = self._ports.clock.now()
            gone = tuple(
                replace(r, removed=True, removed_at=at) if r.id == event.replica_id else r
                for r in self.state.replicas
            )
            self.state = replace(self.state, replicas=gone)
            await self._ports.store.apply(self.state)
            return
        before = self.state
        execution_id = before.execution.id
        now = self._ports.clock.now()
        step = advance(before, event, now, lambda: names.replica_name(execution_id))
        if step.state != before:
            await self._ports.store.apply(step.state)
            self.state = step.state
            self._ports.ledger.put(step.state, now)
            if step.state.execution.is_final:
                self._tell_end()
        for action in step.actions:
            if isinstance(action, StartReplica) and action.replica.id not in self._resumed:
                self._spawn(tasks, action.replica, self._start(action.replica))
            elif isinstance(action, StopReplica):
                self._stop_event(action.replica_id).set()

    def _tell_end(self) -> None:
        execution = self.state.execution
        log.info(
            "execution.ended", job=execution.job, execution=execution.id, status=execution.status.value,
            reason=execution.reason, message=execution.message or None,
        )  # fmt: skip
        self._ports.ended(self.state)

    def _spawn(
        self, tasks: asyncio.TaskGroup, replica: Replica, work: Coroutine[object, object, None]
    ) -> None:
        tasks.create_task(work, name=f"replica:{replica.id}")

    async def _post(self, event: ExecutionEvent | _Removed) -> None:
        """Hand an event to the runner's loop and wait until it is recorded."""
        recorded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await self._events.put((event, recorded))
        await recorded

    def _stop_event(self, replica_id: str) -> asyncio.Event:
        return self._stops.setdefault(replica_id, asyncio.Event())

    # --- one replica ------------------------------------------------------------------------------------

    async def _start(self, replica: Replica) -> None:
        handle = await self._launch(replica)
        if handle is None:
            await self._post(_Removed(replica_id=replica.id))
            return
        await self._finish(replica.id, handle)

    async def _resume(self, replica: Replica, handle: ReplicaHandle | None) -> None:
        """Take up a replica that a former process of ours started."""
        if handle is None:
            lost = ReplicaExit(code=None, reason="Lost", message="the executor knows nothing of it any more")
            await self._post(Exited(replica_id=replica.id, exit=lost))
            await self._post(_Removed(replica_id=replica.id))
            return
        await self._post(Launched(replica_id=replica.id, handle=handle))
        await self._finish(replica.id, handle)

    async def _finish(self, replica_id: str, handle: ReplicaHandle) -> None:
        how = await self._watch(replica_id, handle)
        await self._post(Exited(replica_id=replica_id, exit=how))
        await self._remove(replica_id, handle)

    async def _launch(self, replica: Replica) -> ReplicaHandle | None:
        """Launch, for as long as the executor is unavailable; None once it is known not to have started."""
        ports, tried, pause = self._ports, replica.id in self._in_launch, self._ports.limits.retry_first_s
        if not tried:
            await self._await_turn(replica)
            await self._await_room(replica.id)
        asked_at = ports.clock.now()
        subject = f"executor:{self.state.execution.executor}"
        while True:
            if self._stop_event(replica.id).is_set() and not tried:
                await self._post(NeverStarted(replica_id=replica.id))
                return None
            try:
                spec = self._build(self.state, replica)
                tried = True
                async with asyncio.timeout(ports.limits.launch_s):
                    handle = await ports.executor.launch(spec)
            except LaunchError as exc:
                fault = Fault.INFRA if exc.passing else Fault.APP
                await self._post(
                    LaunchRefused(replica_id=replica.id, reason=exc.reason, message=str(exc), fault=fault)
                )
                return None
            except (ExecutorUnavailable, TimeoutError) as exc:
                text = str(exc) or f"no answer within {ports.limits.launch_s:g} s"
                ports.faults.failed(subject, "ExecutorUnavailable", text, ports.clock.now())
            except Exception:
                log.exception("executor.fault", replica=replica.id)
            else:
                ports.faults.well(subject, ports.clock.now())
                await self._post(Launched(replica_id=replica.id, handle=handle, asked_at=asked_at))
                return handle
            await ports.clock.sleep(pause)
            pause = min(pause * 2, ports.limits.retry_most_s)

    async def _await_room(self, replica_id: str) -> None:
        """Wait until the execution may start, or is to be stopped before."""
        turn = self._ports.turn(self.state.execution.id)
        if turn is None:
            return
        async with asyncio.TaskGroup() as tasks:
            events = (turn, self._stop_event(replica_id))
            waits = [tasks.create_task(event.wait(), name=f"turn:{replica_id}") for event in events]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()

    async def _await_turn(self, replica: Replica) -> None:
        """Let the pause after a failure pass, or part of it if the execution is stopped meanwhile.

        The record tells when it ends, by a clock that may have been set since: it never grows beyond its length.
        """
        if replica.not_before is None:
            return
        left = min(replica.not_before - self._ports.clock.now(), LONGEST_PAUSE).total_seconds()
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, left)):
                await self._stop_event(replica.id).wait()

    async def _watch(self, replica_id: str, handle: ReplicaHandle) -> ReplicaExit:
        """Wait for the end, stopping the replica when it is asked to or has used up its time.

        One that ended while no daemon looked on is heard first: whatever time has passed, it needs no stop.
        """
        if replica_id in self._over:
            return await self._wait(replica_id, handle)
        async with asyncio.TaskGroup() as tasks:
            stopper = tasks.create_task(self._stop_in_time(replica_id, handle), name=f"stop:{replica_id}")
            how = await self._wait(replica_id, handle)
            stopper.cancel()
        return how

    async def _wait(self, replica_id: str, handle: ReplicaHandle) -> ReplicaExit:
        while True:
            try:
                return await self._ports.executor.wait(handle)
            except ExecutorUnavailable:
                log.debug("executor.wait_again", replica=replica_id)
            except Exception:
                log.exception("executor.fault", replica=replica_id)
            await self._ports.clock.sleep(1.0)

    async def _stop_in_time(self, replica_id: str, handle: ReplicaHandle) -> None:
        replica = self.state.replica(replica_id)
        deadline = replica.deadline(self.state.execution.replica_timeout) if replica else None
        left = (deadline - self._ports.clock.now()).total_seconds() if deadline else None
        try:
            async with asyncio.timeout(None if left is None else max(0.0, left)):
                await self._stop_event(replica_id).wait()
        except TimeoutError:
            await self._post(TimedOut(replica_id=replica_id))
        grace = timedelta(seconds=self._ports.limits.stop_grace_s)
        await self._insist(lambda: self._ports.executor.stop(handle, grace))

    async def _remove(self, replica_id: str, handle: ReplicaHandle) -> None:
        await self._insist(lambda: self._ports.executor.remove(handle))
        await self._post(_Removed(replica_id=replica_id))

    def _clear_leftovers(self, tasks: asyncio.TaskGroup, adopted: Mapping[str, ReplicaHandle | None]) -> None:
        """Remove what a former process recorded as ended but did not come to remove."""
        for replica in self.state.replicas:
            if not replica.is_final or replica.removed or replica.id in adopted:
                continue
            if replica.handle is None:
                self._spawn(tasks, replica, self._post(_Removed(replica_id=replica.id)))
            else:
                self._spawn(tasks, replica, self._remove(replica.id, replica.handle))

    async def _insist(self, call: Callable[[], Awaitable[None]]) -> None:
        """Repeat an idempotent call until the executor has carried it out."""
        pause = self._ports.limits.retry_first_s
        while True:
            try:
                async with asyncio.timeout(self._ports.limits.call_s):
                    await call()
            except (ExecutorUnavailable, TimeoutError):
                log.debug("executor.ask_again")
            except Exception:
                log.exception("executor.fault")
            else:
                return
            await self._ports.clock.sleep(pause)
            pause = min(pause * 2, self._ports.limits.retry_most_s)
