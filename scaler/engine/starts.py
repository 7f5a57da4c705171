"""The ways in which executions begin: by event, by schedule, by hand. Each comes with room that the gate has given."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from scaler.engine.capacity import Gate, Reservation
from scaler.engine.fleet import Fleet
from scaler.engine.ledger import Ledger
from scaler.errors import ConfigError, Conflict
from scaler.model import names
from scaler.model.audit import BY_SCHEDULE, by_rules
from scaler.model.decision import Decision
from scaler.model.execution import Cause, ExecutionState, Trigger
from scaler.model.job import Job, Template
from scaler.model.share import Share
from scaler.planning.asker import BY_FLOOR, asker
from scaler.ports.store import Store

log = structlog.get_logger("scaler")

Check = Callable[[Job], tuple[tuple[str, str], ...]]
"""Lists what an executor could not run of a job: (path in the job file, text)."""


@dataclass(frozen=True, slots=True)
class Starts:
    """Begins executions, and stops those that a schedule replaces."""

    fleet: Fleet
    gate: Gate
    ledger: Ledger
    store: Store
    check: Check

    async def by_event(
        self, job: Job, shares: tuple[Share | None, ...], decision: Decision, room: Reservation
    ) -> None:
        """Begin one execution for each entry: its share, if it has one."""
        trigger = asker(decision)
        new = [(names.event_execution_name(job.name), share) for share in shares]
        states = [
            self.fleet.new(job, trigger, name, decision_id=decision.id, share=share) for name, share in new
        ]
        by = trigger.by if trigger.by == BY_FLOOR else by_rules((trigger.by,))
        await self.fleet.begin(states, room, by=by)

    async def by_hand(self, job: Job, template: Template | None, *, by: str) -> ExecutionState:
        """Begin one execution; `template` replaces the job's.

        Raises:
            ConfigError: the executor could not run the template.
            Conflict: no room.
        """
        if template is not None:
            template = job.template.running(template)
            self._check(replace(job, template=template))
        name = names.manual_execution_name(job.name)
        state = self.fleet.new(job, Trigger(kind=Cause.MANUAL, by=by), name, template=template)
        with self.gate.ask_by_hand(state.execution) as room:
            await self.fleet.begin([state], room, by=by)
        log.info("execution.started_by_hand", job=job.name, execution=name, by=by)
        return state

    def _check(self, job: Job) -> None:
        """Ask the executor about a template that no job file's check has seen."""
        faults = [f"{path.removeprefix('properties.template.')}: {text}" for path, text in self.check(job)]
        if faults:
            raise ConfigError(f"The request body is not valid: {'; '.join(faults)}.")

    # --- schedules ------------------------------------------------------------------------------------

    async def is_fired(self, job: Job, due: datetime) -> bool:
        """Say whether the execution of a due time is recorded."""
        name = names.schedule_execution_name(job.name, due)
        return await self.store.execution(job.name, name) is not None

    async def fire(self, job: Job, due: datetime, decision_id: int, room: Reservation) -> None:
        """Begin the execution of a due time, unless it was begun before."""
        if not await self.is_fired(job, due):
            name = names.schedule_execution_name(job.name, due)
            trigger = Trigger(kind=Cause.SCHEDULE, by=BY_SCHEDULE)
            state = self.fleet.new(job, trigger, name, decision_id=decision_id)
            await self.fleet.begin([state], room, by=BY_SCHEDULE)

    async def stop_scheduled(self, job: str, message: str) -> None:
        """Stop what was not asked to stop before; what is being recovered is asked the next time."""
        for execution_id in self.ledger.scheduled(job):
            found = self.ledger.find(job, execution_id)
            if found is not None and found.execution.verdict is None:
                with suppress(Conflict):
                    await self.fleet.stop(job, execution_id, message, by=BY_SCHEDULE)
