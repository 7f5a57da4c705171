"""One scale rule's source: opened on first use, polled within a time limit, rebuilt after a failure.

This is the fence between plugins and decisions: whatever a plugin does, what comes out is a reading or the
reason why there is none. Each source lives in a task of its own, because what it opens must be closed by
the task that opened it, and so that a source that hangs holds up nobody.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import structlog

from scaler.engine.budget import EXHAUSTED, Budgets
from scaler.engine.circuit import Circuits
from scaler.engine.deadline import Deadline
from scaler.errors import ConfigError, PollError
from scaler.model.job import Job, ScaleRule
from scaler.model.sample import PollFailure, Reading, Sample
from scaler.planning.plan import RuleReading
from scaler.ports.clock import Clock
from scaler.ports.scaler import AnyScalerType, Scaler, ScalerContext, SessionPool, unnoted

log = structlog.get_logger("scaler")

Resolve = Callable[[Job, ScaleRule], tuple[AnyScalerType, Any]]
"""Gives a rule's plugin and its validated parameters; raises ConfigError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePorts:
    """What every source needs."""

    clock: Clock
    sessions: SessionPool
    resolve: Resolve
    close_s: float
    circuits: Circuits = field(default_factory=Circuits)
    budgets: Budgets | None = None


PATIENCE = 0.75
"""Part of a poll's time in which its turn must come: the rest is left for the answer."""


class _Guard:
    """Answers for a poll that outlives every limit, because its scaler does not let itself be cancelled.

    Its timer is not set anew for each poll: it looks again when the latest one's time is up. A timer a poll would cost
    more than the rest of this.
    """

    def __init__(self, limit_s: float, late: Callable[[], PollFailure]) -> None:
        self._limit_s = limit_s
        self._late = late
        self._answer: asyncio.Future[Reading] | None = None
        self._until = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, answer: asyncio.Future[Reading]) -> None:
        """Watch this poll instead of the one before."""
        loop = asyncio.get_running_loop()
        self._answer, self._until = answer, loop.time() + self._limit_s
        if self._timer is None:
            self._timer = loop.call_at(self._until, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._answer is None or self._answer.done():
            return
        loop = asyncio.get_running_loop()
        if loop.time() >= self._until:
            self._answer.set_result(self._late())
        else:
            self._timer = loop.call_at(self._until, self._look)

    def close(self) -> None:
        """Set no timer any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class RuleSource:
    """Polls one rule. `run` must be running in a task for `poll` to answer."""

    def __init__(self, job: Job, rule: ScaleRule, ports: SourcePorts, *, timeout_s: float) -> None:
        self.rule = rule
        self.address = f"{rule.type}/{job.name}/{rule.name}"
        self.subject = f"rule:{job.name}/{rule.name}"
        self._job = job
        self._ports = ports
        self._timeout_s = timeout_s
        self._target = 0.0
        self._scaler: Scaler | None = None
        self._fault: type[Exception] | None = None
        self._stack = AsyncExitStack()
        self._turn_until = 0.0
        self._is_new_poll = True
        self._asked: deque[asyncio.Future[Reading]] = deque()
        self._rest: asyncio.Future[None] | None = None
        self._deadline = Deadline()
        self._guard = _Guard(timeout_s + ports.close_s + 1.0, self._late)

    async def poll(self) -> RuleReading:
        """Read the source once. Never raises except on cancellation."""
        answer: asyncio.Future[Reading] = asyncio.get_running_loop().create_future()
        self._asked.append(answer)
        if self._rest is not None and not self._rest.done():
            self._rest.set_result(None)
        self._guard.watch(answer)
        reading = await answer
        if isinstance(reading, Sample) and reading.target is not None:
            self._target = reading.target
        return RuleReading(rule=self.rule, target=self._target, reading=reading)

    async def run(self) -> None:
        """Serve polls until cancelled, then close."""
        try:
            while True:
                while not self._asked:
                    self._rest = asyncio.get_running_loop().create_future()
                    await self._rest
                answer = self._asked.popleft()
                if answer.done():
                    continue
                reading = await self._read()
                if not answer.done():
                    answer.set_result(reading)
                if isinstance(reading, PollFailure) and reading.reason != EXHAUSTED:
                    await self._close()
        finally:
            self._guard.close()
            self._deadline.close()
            await self._close()

    async def _read(self) -> Reading:
        circuits, clock = self._ports.circuits, self._ports.clock
        began = clock.monotonic()
        self._turn_until, self._is_new_poll = began + self._timeout_s * PATIENCE, True
        if circuits.is_calm(self.address):
            return self._noted(await self._ask(self._timeout_s))
        refusal = circuits.refusal(self.address, began)
        if refusal is not None and await self._outcome_is_known():
            refusal = circuits.refusal(self.address, clock.monotonic())
        if refusal is not None:
            return refusal
        address = self.address  # opening may settle another one
        with circuits.asking(address):
            return self._noted(await self._ask(self._timeout_s - (clock.monotonic() - began)))

    def _noted(self, reading: Reading) -> Reading:
        """Tell the source's circuit what came of asking; that its budget was spent says nothing of the source."""
        circuits = self._ports.circuits
        if not isinstance(reading, PollFailure):
            circuits.well(self.address)
        elif reading.reason != EXHAUSTED:
            circuits.failed(self.address, reading, self._ports.clock.monotonic())
        return reading

    async def _outcome_is_known(self) -> bool:
        """Wait for whoever asks the troubled source now: if it is back, this job need not wait a whole interval."""
        try:
            async with asyncio.timeout(self._timeout_s / 2):
                await self._ports.circuits.verdict(self.address)
        except TimeoutError:
            return False
        return True

    async def _ask(self, left_s: float) -> Reading:
        started = self._ports.clock.now()
        try:
            with self._deadline.begin(left_s):
                scaler = self._scaler or await self._open()
                sample = await scaler.poll()
        except TimeoutError:
            return self._late()
        except PollError as exc:
            return PollFailure(reason=exc.reason, message=str(exc), transient=exc.transient)
        except ConfigError as exc:
            return PollFailure(reason="InvalidConfiguration", message=str(exc), transient=False)
        except Exception as exc:
            if self._fault is not type(exc):  # with its traceback, once for as long as it is the same
                self._fault = type(exc)
                log.exception("rule.fault", job=self._job.name, rule=self.rule.name)
            return PollFailure(reason="ScalerFault", message=f"fault in the scaler: {type(exc).__name__}")
        self._fault = None
        return _checked(sample, started)

    def _late(self) -> PollFailure:
        return PollFailure(
            reason="Timeout", message=f"{self.address}: no answer within {self._timeout_s:g} s"
        )

    async def _open(self) -> Scaler:
        scaler_type, metadata = self._ports.resolve(self._job, self.rule)
        self._target = scaler_type.target(metadata)
        self.address = scaler_type.source(metadata)
        context = ScalerContext(
            job=self._job.name,
            rule=self.rule.name,
            timeout_s=self._timeout_s,
            sessions=self._ports.sessions,
            now=self._ports.clock.now,
            identity=self.rule.identity,
            note_request=self._turn if self._ports.budgets else unnoted,
        )
        self._scaler = await self._stack.enter_async_context(scaler_type.open(metadata, context))
        return self._scaler

    async def _turn(self) -> None:
        """Wait until one request of this rule may go to its source."""
        budgets, left_s = self._ports.budgets, self._turn_until - self._ports.clock.monotonic()
        anew, self._is_new_poll = self._is_new_poll, False
        if budgets is not None:
            await budgets.turn(self.address, (self._job.name, self.rule.name), left_s, anew=anew)

    async def _close(self) -> None:
        """Close what was opened, within a limit; the next poll opens anew."""
        stack, self._stack, self._scaler = self._stack, AsyncExitStack(), None
        try:
            async with asyncio.timeout(self._ports.close_s):
                await stack.aclose()
        except Exception as exc:  # noqa: BLE001 - fence: closing a broken client may raise anything
            log.debug("rule.close_failed", rule=self.rule.name, error=type(exc).__name__)


def _checked(sample: Sample, started: datetime) -> Reading:
    """Refuse nonsense, and date the reading if the scaler did not."""
    figures = [sample.value] if sample.taken is None else [sample.value, sample.taken]
    figures += [share.value for share in sample.shares or ()]
    if not all(0 <= figure < math.inf for figure in figures):  # no comparison holds for what is not a number
        return PollFailure(reason="BadValue", message=f"the source answered {sample.value:g}, not a count")
    if sample.target is not None and not 0 < sample.target < math.inf:
        text = f"the source answered a target of {sample.target:g}; it must be above 0"
        return PollFailure(reason="BadValue", message=text)
    if sample.shares and len({share.key for share in sample.shares}) < len(sample.shares):
        return PollFailure(reason="BadValue", message="the source told two shares by one key")
    return sample if sample.as_of is not None else replace(sample, as_of=started)
