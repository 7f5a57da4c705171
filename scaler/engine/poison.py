"""Has a poison message moved out of a job's source, after its record is kept. Off unless the job file asks for it.

The fence around the plugin that moves: whatever it does, the job's loop goes on.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

import structlog

from scaler.engine.audit import Audit
from scaler.engine.faults import FaultLog
from scaler.engine.sources import Resolve
from scaler.errors import ConfigError, PollError, StoreError
from scaler.model.audit import BY_DAEMON, AuditAction
from scaler.model.decision import Occasion, Reason, bare_decision
from scaler.model.job import EventTrigger, Job, ScaleRule
from scaler.planning.breaker import Breaker, explained_by
from scaler.ports.clock import Clock
from scaler.ports.scaler import MoveOrder, ScalerContext, SessionPool, Suspect
from scaler.ports.store import Store

log = structlog.get_logger("scaler")

TRY_EVERY_S: Final = 10.0
"""Least time between two looks for the message: it may be hidden for a while after an execution failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoisonPorts:
    """What moving needs; `timeout_s` bounds one look and move in all."""

    clock: Clock
    store: Store
    audit: Audit
    faults: FaultLog
    sessions: SessionPool
    resolve: Resolve
    timeout_s: float


@dataclass(slots=True)
class PoisonMover:
    """Moves messages of one job."""

    job: Job
    trigger: EventTrigger
    ports: PoisonPorts
    _next_try: float = field(default=0.0)

    async def act(self, breaker: Breaker) -> bool:
        """Move the message that explains all failures, if it is time and there is one; True if it was moved."""
        least = explained_by(breaker, self.job.poison)
        now = self.ports.clock.monotonic()
        if least is None or now < self._next_try:
            return False
        self._next_try = now + TRY_EVERY_S
        rule = self.trigger.rules[0]
        subject, fields = f"poison:{self.job.name}", {"job": self.job.name, "rule": rule.name}
        try:
            async with asyncio.timeout(self.ports.timeout_s):
                moved = await self._move(rule, least)
        except StoreError:
            raise
        except Exception as exc:  # noqa: BLE001 - fence: a plugin may raise anything
            reason, text = _told(exc, self.ports.timeout_s)
            self.ports.faults.failed(subject, reason, text, self.ports.clock.now(), **fields)
            return False
        self.ports.faults.well(subject, self.ports.clock.now(), **fields)
        if moved is not None:
            log.warning("poison.moved", message_id=moved.message_id, to=moved.to, **fields)
        return moved is not None

    async def _move(self, rule: ScaleRule, least: int) -> Suspect | None:
        ports, poison = self.ports, self.job.poison
        scaler, metadata = ports.resolve(self.job, rule)
        if scaler.mover is None or poison is None:
            return None
        context = ScalerContext(
            job=self.job.name, rule=rule.name, timeout_s=ports.timeout_s, sessions=ports.sessions,
            now=ports.clock.now, identity=rule.identity,
        )  # fmt: skip
        return await scaler.mover.move(
            metadata, context, MoveOrder(least=least, to=poison.to, before=self._record)
        )

    async def _record(self, suspect: Suspect) -> None:
        """Keep what is about to be done."""
        text = (
            f"message '{suspect.message_id}' was delivered {suspect.deliveries} times and its executions failed; "
            f"it is moved to {suspect.to}"
        )
        said = bare_decision(
            self.job.name, self.ports.clock.now(), Occasion.POISON, Reason.POISON_MOVED, text
        )
        await self.ports.audit.record(AuditAction.MESSAGE_MOVED, by=BY_DAEMON, job=self.job.name, detail=text)
        await self.ports.store.decide(said)


def _told(exc: Exception, timeout_s: float) -> tuple[str, str]:
    if isinstance(exc, PollError):
        return exc.reason, str(exc)
    if isinstance(exc, ConfigError):
        return "InvalidConfiguration", str(exc)
    if isinstance(exc, TimeoutError):
        return "Timeout", f"the message was not moved within {timeout_s:g} s"
    return "ScalerFault", f"fault in the scaler: {type(exc).__name__}"
