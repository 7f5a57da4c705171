"""All live executions: begins them, drives each by a runner, takes up those of a former process.

Runners belong to the fleet and not to the loop of the job that started them, so editing or removing a job
never touches its executions.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass, field

import structlog

from scaler.engine import recovery
from scaler.engine.audit import Audit
from scaler.engine.capacity import Gate, Reservation
from scaler.engine.crew import Crew
from scaler.engine.faults import FaultLog
from scaler.engine.ledger import Ledger
from scaler.engine.limits import Limits
from scaler.engine.runner import Runner, RunnerPorts
from scaler.engine.spec import build_spec
from scaler.errors import ConfigError, Conflict, NotFound
from scaler.model import names
from scaler.model.audit import AuditAction
from scaler.model.execution import Execution, ExecutionState, Trigger
from scaler.model.job import Job, Template
from scaler.model.replica import Replica, ReplicaSpec
from scaler.model.secret import Secret
from scaler.model.share import Share
from scaler.model.snapshot import template_hash
from scaler.planning.advance import Begun, advance
from scaler.ports.clock import Clock
from scaler.ports.store import Store

log = structlog.get_logger("scaler")

Spawn = Callable[[Coroutine[object, object, None], str], "asyncio.Task[None]"]
"""Starts a named task that the engine owns."""


LOG_LOOK_S = 0.2
"""How often a log that is followed looks for replicas that were started meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetPorts:
    """What the fleet is built from. `secrets` gives a job's present ones, `ended` hears of every end."""

    clock: Clock
    limits: Limits
    store: Store
    audit: Audit
    ledger: Ledger
    gate: Gate
    faults: FaultLog
    crew: Crew
    instance: str
    spawn: Spawn
    secrets: Callable[[str], Mapping[str, Secret]]
    ended: Callable[[ExecutionState], None]


@dataclass(slots=True)
class Fleet:
    """The executions that are not over yet."""

    ports: FleetPorts
    _beginning: int = 0
    _runners: dict[str, Runner] = field(default_factory=dict)
    _secrets: dict[str, Mapping[str, Secret]] = field(default_factory=dict)
    _left: tuple[ExecutionState, ...] = ()

    # --- beginning ------------------------------------------------------------------------------------

    def new(
        self,
        job: Job,
        trigger: Trigger,
        name: str,
        *,
        template: Template | None = None,
        decision_id: int | None = None,
        share: Share | None = None,
    ) -> ExecutionState:
        """Make the state of a new execution, its first replicas included; nothing is recorded yet."""
        now = self.ports.clock.now()
        execution = Execution(
            id=name,
            job=job.name,
            generation=job.generation,
            cause=trigger.kind,
            template=template or job.template,
            executor=job.executor,
            replica_timeout=job.replica_timeout,
            replica_retry_limit=job.replica_retry_limit,
            parallelism=job.parallelism,
            replica_completion_count=job.replica_completion_count,
            created_at=now,
            decision_id=decision_id,
            share=share,
            trigger=trigger,
            template_hash=template_hash(template or job.template),
        )
        fresh = ExecutionState(execution=execution)
        self._secrets[name] = job.secrets
        return advance(fresh, Begun(), now, lambda: names.replica_name(name)).state

    async def begin(self, states: list[ExecutionState], room: Reservation, *, by: str) -> None:
        """Record, with who began them, and hand over to runners; not cut short when the asking loop is cancelled.

        That loop ends only once they are counted, or its successor would launch for the same messages.

        Raises:
            ValueError: they need more room than was reserved for them.
        """
        self.ports.gate.redeem(room, states)
        begun = self.ports.spawn(self._begin(tuple(states), by), "engine/begin")
        self._beginning += 1
        begun.add_done_callback(self._has_begun)
        try:
            await asyncio.shield(begun)
        except asyncio.CancelledError:
            await asyncio.wait([begun])
            raise

    def _has_begun(self, _begun: asyncio.Task[None]) -> None:
        self._beginning -= 1

    async def _begin(self, states: tuple[ExecutionState, ...], by: str) -> None:
        await self.ports.store.begin(states, by=self.ports.audit.starts(states, by))
        for state in states:
            self.ports.ledger.put(state, self.ports.clock.now())
            fresh = recovery.Resumption(state=state)
            self.ports.spawn(self._drive(fresh), f"execution:{state.execution.id}")

    async def _drive(self, resumption: recovery.Resumption) -> None:
        """Run one execution to its end."""
        state, execution = resumption.state, resumption.state.execution
        ports = RunnerPorts(
            clock=self.ports.clock,
            limits=self.ports.limits,
            store=self.ports.store,
            ledger=self.ports.ledger,
            faults=self.ports.faults,
            executor=await self.ports.crew.get(execution.executor),
            ended=self._ended,
            turn=self.ports.gate.turn,
        )
        runner = self._runners[execution.id] = Runner(state, ports, self._build)
        try:
            await runner.run(resumption.adopted, in_launch=resumption.in_launch, over=resumption.over)
        finally:
            self._runners.pop(execution.id, None)
            self._secrets.pop(execution.id, None)

    def _ended(self, state: ExecutionState) -> None:
        """Give room back, then let others hear of the end."""
        self.ports.gate.release(state.execution.id)
        self.ports.ended(state)

    def _build(self, state: ExecutionState, replica: Replica) -> ReplicaSpec:
        """Build with the secrets of the definition it was begun with; after a restart with today's."""
        execution = state.execution
        secrets = self._secrets.get(execution.id)
        if secrets is None:
            secrets = self.ports.secrets(execution.job)
        return build_spec(state, replica, secrets, self.ports.instance)

    # --- a former process -----------------------------------------------------------------------------

    async def recover(self) -> None:
        """Load unfinished executions, so that they are counted; `resume` takes them up."""
        self._left = await self.ports.store.unfinished()
        self.ports.gate.adopt(self._left)
        for state in self._left:
            self.ports.ledger.put(state, self.ports.clock.now())

    def resume(self) -> None:
        """Take up what `recover` loaded, each executor's as soon as it answers; no-op the second time."""
        left, self._left = self._left, ()
        by_executor: dict[str, list[ExecutionState]] = {}
        for state in left:
            if secrets := self.ports.secrets(state.execution.job):
                self._secrets[state.execution.id] = secrets  # the job may be removed before it is launched
            by_executor.setdefault(state.execution.executor, []).append(state)
        for name, states in by_executor.items():
            self.ports.spawn(self._resume(name, tuple(states)), f"engine/recover/{name}")

    async def _resume(self, name: str, states: tuple[ExecutionState, ...]) -> None:
        ports = self.ports
        try:
            executor = await ports.crew.get(name)
        except ConfigError as exc:
            log.warning("executor.missing", executor=name, unfinished=len(states), error=str(exc))
            return
        found = await recovery.find_resumptions(
            name, executor, states, clock=ports.clock, limits=ports.limits, faults=ports.faults
        )
        ports.gate.park(item.state.execution.id for item in found if not item.is_running)
        for resumption in found:
            execution_id = resumption.state.execution.id
            ports.spawn(self._drive(resumption), f"execution:{execution_id}")

    async def sweep(self) -> None:
        """Look for replicas that nobody owns, for ever."""
        limits = self.ports.limits
        while True:
            await self.ports.clock.sleep(limits.sweep_s)
            for name in self.ports.crew.names():
                executor = await self.ports.crew.get(name)
                await recovery.sweep(executor, self._known, self.ports.clock, limits.orphan_grace_s)

    def _known(self) -> set[str]:
        leftovers = {r.id for runner in self._runners.values() for r in runner.state.replicas}
        return self.ports.ledger.replica_ids() | leftovers

    # --- asked from outside -----------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._runners)

    def unfinished(self) -> int:
        """Count executions that have not ended or whose remains are not removed, those that begin now included."""
        return len(self.ports.ledger.execution_ids() | self._runners.keys()) + self._beginning

    async def stop(self, job: str, execution_id: str, message: str, *, by: str) -> ExecutionState:
        """Ask an execution to stop, once it is recorded who asked; one that has ended is left as it is.

        Raises:
            NotFound: no such execution.
            Conflict: it is being recovered: its executor has not answered since the daemon started.
        """
        runner = self._runners.get(execution_id)
        if runner is not None and runner.state.execution.job == job:
            if runner.state.execution.is_final:  # only its remains are left
                return runner.state
            stopping = self.ports.spawn(self._stop(runner, message, by), "engine/stop")
            await asyncio.shield(stopping)  # who asked may leave: the stop goes on
            return runner.state
        if self.ports.ledger.find(job, execution_id) is not None:
            raise Conflict(f"execution '{execution_id}' is being recovered; try again in a moment")
        return await self._recorded(job, execution_id)

    async def _stop(self, runner: Runner, message: str, by: str) -> None:
        execution = runner.state.execution
        await self.ports.audit.record(
            AuditAction.EXECUTION_STOPPED, by=by, job=execution.job, execution=execution.id, detail=message
        )
        await runner.stop(message)

    async def _recorded(self, job: str, execution_id: str) -> ExecutionState:
        state = await self.ports.store.execution(job, execution_id)
        if state is None:
            raise NotFound(f"no execution '{execution_id}' of job '{job}'")
        return state

    async def logs(
        self, job: str, execution_id: str, *, tail: int | None, follow: bool, only: str | None = None
    ) -> AsyncIterator[str]:
        """Give the log lines of an execution's replicas, or of one, one replica after the other.

        With `follow` also those of replicas that are started meanwhile, until the execution has ended.

        Raises:
            NotFound: no such execution or replica, or none has a log; one without hides no other's.
        """
        state = await self._recorded(job, execution_id)
        executor = await self.ports.crew.get(state.execution.executor)
        told: set[str] = set()
        missing: list[NotFound] = []
        while True:
            runner = self._runners.get(execution_id)
            state = runner.state if runner else await self._recorded(job, execution_id)
            wanted = [one for one in state.replicas if only in (None, one.id) and one.id not in told]
            is_over = not follow or runner is None or state.execution.is_final
            ready = [one for one in wanted if is_over or one.handle is not None or one.is_final]
            for replica in ready:
                told.add(replica.id)
                try:
                    async for line in executor.logs(replica.id, replica.handle, tail=tail, follow=follow):
                        yield line
                except NotFound as exc:
                    missing.append(exc)
            if is_over:
                break
            if not ready:
                await self.ports.clock.sleep(LOG_LOOK_S)
        if only is not None and not told:
            raise NotFound(f"no replica '{only}' of execution '{execution_id}'")
        if missing and len(missing) == len(told):
            raise missing[-1]
