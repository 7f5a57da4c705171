"""Has a poison message moved out of a job's source, after its record is kept. Off unless the job file asks for it.

The fence around the plugin that moves: whatever it does, the job's loop goes on.
"""

from __future__ import annotations

import asyncio
import json
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
from scaler.planning.breaker import Breaker, Phase, explained_by
from scaler.ports.clock import Clock
from scaler.ports.scaler import MoveOrder, ScalerContext, SessionPool, Suspect
from scaler.ports.store import Store

log = structlog.get_logger("scaler")

MOST_LOOKS: Final = 200
"""Messages whose looks are remembered, the latest of each job."""
MOST_OF_ONE: Final = 3
"""Looks at one message after which there are no more before the breaker has been closed: a broker with a limit of
deliveries would drop the message for our looks."""
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
class Looks:
    """How often each message was only looked at: brokers count that as a delivery, and no execution had it.

    Kept in the store for good, as the counts in the broker are: forgotten looks would make a message suspect.
    """

    store: Store
    key: str
    _counts: dict[str, int] | None = None

    async def recall(self) -> None:
        """Read what a former process noted."""
        if self._counts is None:
            self._counts = json.loads(await self.store.recall(self.key) or "{}")

    @property
    def are_enough(self) -> bool:
        """Whether the message that was looked at last was looked at often."""
        return bool(self._counts) and list((self._counts or {}).values())[-1] >= MOST_OF_ONE

    def of(self, message: str) -> int:
        """Give how often this one was looked at."""
        return (self._counts or {}).get(message, 0)

    async def add(self, message: str) -> None:
        """Note one look, durably."""
        counts = dict(self._counts or {})
        counts[message] = counts.pop(message, 0) + 1  # the latest stands last
        self._counts = dict(list(counts.items())[-MOST_LOOKS:])
        await self.store.remember(self.key, json.dumps(self._counts))


@dataclass(slots=True)
class PoisonMover:
    """Moves messages of one job."""

    job: Job
    trigger: EventTrigger
    ports: PoisonPorts
    _looks: Looks = field(init=False)
    _next_try: float = 0.0
    _was_well: bool = False

    def __post_init__(self) -> None:
        self._looks = Looks(self.ports.store, f"poison/{self.job.name}")

    async def act(self, breaker: Breaker) -> bool:
        """Move the message that explains all failures, if it is time and there is one; True if it was moved."""
        self._was_well |= breaker.phase is Phase.CLOSED
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
        await self._looks.recall()
        if self._looks.are_enough and not self._was_well:
            return None
        self._was_well = False
        scaler, metadata = ports.resolve(self.job, rule)
        if scaler.mover is None or poison is None:
            return None
        context = ScalerContext(
            job=self.job.name, rule=rule.name, timeout_s=ports.timeout_s, sessions=ports.sessions,
            now=ports.clock.now, identity=rule.identity,
        )  # fmt: skip
        order = MoveOrder(
            least=least, to=poison.to, before=self._record, looks=self._looks.of, hold=self._looks.add
        )
        return await scaler.mover.move(metadata, context, order)

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
