"""One event job's loop: poll its rules on its cadence, decide, start executions, note the decision.

`pollingInterval` is the upper bound of waiting: when an execution ends the job is evaluated again at once,
and shortly after, because a broker may be about to put back what a closed connection held.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog

from scaler.engine.breaker_notes import BreakerNotes
from scaler.engine.capacity import Reservation
from scaler.engine.faults import FaultLog
from scaler.engine.ledger import Ledger
from scaler.engine.limits import Limits
from scaler.engine.pace import Pace
from scaler.engine.poison import PoisonMover, PoisonPorts
from scaler.engine.sources import RuleSource, SourcePorts
from scaler.engine.ticker import Ticker
from scaler.model.decision import Decision, Occasion
from scaler.model.execution import ExecutionState, ExecutionStatus
from scaler.model.job import EventTrigger, Job
from scaler.model.replica import Fault
from scaler.model.sample import PollFailure, Sample
from scaler.model.share import Share
from scaler.planning import breaker
from scaler.planning.answer import Plan
from scaler.planning.counts import Counts
from scaler.planning.decide import Inputs, decide
from scaler.planning.plan import RuleReading
from scaler.planning.retries import fault_of, is_failure
from scaler.planning.takings import Takings, observe
from scaler.ports.clock import Clock
from scaler.ports.store import Store
from scaler.ports.trace import Recorder, Unrecorded

log = structlog.get_logger("scaler")

REPEAT = timedelta(seconds=60)
"""How often a decision that repeats itself on an idle job is recorded anew: a record each tick would say nothing."""

SHORTEST_REST_S = 0.001
"""Below this a rest is not worth a timer, and rounding could make it no rest at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopPorts:
    """What every job loop shares.

    `ask` reserves room under the limits of the whole daemon; with it `start` gets one entry for each execution to
    start: its share, if it has one. `settle` finds out which executions may hold messages of what the job counts
    now; before the first reading. `notes` keep where breakers stand.
    """

    clock: Clock
    limits: Limits
    store: Store
    ledger: Ledger
    faults: FaultLog
    pace: Pace
    sources: SourcePorts
    notes: BreakerNotes
    poison: PoisonPorts
    ask: Callable[[Job, int], Reservation]
    start: Callable[[Job, tuple[Share | None, ...], Decision, Reservation], Awaitable[None]]
    settle: Callable[[Job, EventTrigger], Awaitable[None]]
    late: Callable[[float], None]
    recorder: Recorder = field(default_factory=Unrecorded)


class JobLoop:
    """Evaluates one job for as long as `run` runs. At most one loop may exist for a job name."""

    def __init__(self, job: Job, trigger: EventTrigger, ports: LoopPorts) -> None:
        self.job = job
        self._decision: Decision | None = None
        self._decided_at: datetime | None = None
        self._idle: tuple[object, ...] | None = None
        self._due: float | None = None
        self.breaker = breaker.CLOSED
        self._early: list[ExecutionState] | None = []
        self._mover = PoisonMover(job, trigger, ports.poison)
        self._trigger = trigger
        self._ports = ports
        self._wake = asyncio.Event()
        self._looks: list[float] = []
        self._takings: dict[str, Takings] = {}
        self._refill = False
        self._room = False
        self._refusals = 0
        self._hold_until: datetime | None = None

    @property
    def last_decision(self) -> Decision | None:
        """The latest decision; one that repeats the recorded one has its id and a later time."""
        if self._decision is None or self._decided_at is None:
            return self._decision
        return replace(self._decision, at=self._decided_at)

    @property
    def next_poll(self) -> datetime | None:
        """When the next tick is due; None before the first decision."""
        if self._due is None:
            return None
        left_s = max(0.0, self._due - self._ports.clock.monotonic())
        return self._ports.clock.now() + timedelta(seconds=left_s)

    def execution_ended(self, state: ExecutionState) -> None:
        """Take note of the end of one of this job's event executions."""
        if self._early is not None:
            self._early.append(state)
            return
        self._note_outcome(state)
        if not self._trigger.refill:
            return
        now = self._ports.clock.monotonic()
        pauses = list(self._ports.limits.look_again_s)
        tries = (self.breaker.until, breaker.next_try(self.breaker))
        wall = self._ports.clock.now()
        pauses += [max(0.0, (moment - wall).total_seconds()) for moment in tries if moment is not None]
        self._looks = sorted(now + pause for pause in pauses)
        self._refill = True
        self._wake.set()

    def room_came(self) -> None:
        """Take note that there is room under a limit of the daemon that held this job back."""
        self._room = True
        self._looks = sorted([self._ports.clock.monotonic(), *self._looks])
        self._wake.set()

    def reset_breaker(self) -> None:
        """Forget failures: everything may be tried at once."""
        self.breaker = breaker.CLOSED
        self._refusals, self._hold_until = 0, None
        self._looks = [self._ports.clock.monotonic()]
        self._wake.set()

    def _note_outcome(self, state: ExecutionState) -> None:
        """Tell the breaker of ends; refused launches hold new ones back for a growing time."""
        execution, now = state.execution, self._ports.clock.now()
        if execution.status is ExecutionStatus.SUCCEEDED:
            self.breaker = breaker.succeeded(self.breaker, now)
            self._refusals, self._hold_until = 0, None
        failed = [r for r in state.replicas if is_failure(r)]
        if execution.status not in (ExecutionStatus.FAILED, ExecutionStatus.UNKNOWN) or not failed:
            return
        if failed[-1].handle is None:
            self._refusals += 1
            pause = min(2.0**self._refusals, self._ports.limits.backoff_most_s)
            self._hold_until = now + timedelta(seconds=pause)
            return
        if fault_of(failed[-1]) is Fault.INFRA:
            return  # no message is to blame
        began = execution.started_at or execution.created_at
        self.breaker = breaker.failed(self.breaker, now, (execution.ended_at or now) - began)

    async def run(self) -> None:
        """Poll at once, then on the cadence, until cancelled."""
        await self._recall_breaker()
        await self._ports.settle(self.job, self._trigger)
        interval_s = self._trigger.polling_interval.total_seconds()
        timeout_s = self._ports.limits.poll_timeout(interval_s)
        sources = [
            RuleSource(self.job, rule, self._ports.sources, timeout_s=timeout_s)
            for rule in self._trigger.rules
        ]
        async with asyncio.TaskGroup() as tasks:
            for source in sources:
                tasks.create_task(source.run(), name=f"rule:{self.job.name}/{source.rule.name}")
            await self._cadence(sources, Ticker(start=self._ports.clock.monotonic(), interval_s=interval_s))

    async def _recall_breaker(self) -> None:
        """Learn where the breaker stood in a former process, then what ended since this one began."""
        if self._early is None:
            return
        self.breaker = await self._ports.notes.recall(self.job)
        early, self._early = self._early, None
        for state in early:
            self.execution_ended(state)

    async def _cadence(self, sources: list[RuleSource], ticker: Ticker) -> None:
        while True:
            now = self._ports.clock.monotonic()
            if now >= ticker.due:
                self._ports.late(ticker.fired(now))
                await self._evaluate(sources, Occasion.TICK, ticker)
            elif self._looks and now >= self._looks[0]:
                await self._look(sources, now, ticker)
            else:
                await self._rest(min([ticker.due, *self._looks[:1]]) - now)

    async def _look(self, sources: list[RuleSource], now: float, ticker: Ticker) -> None:
        """Evaluate out of turn, if the sources may be asked now; else note when."""
        wait = self._ports.pace.wait_for((s.address for s in sources), now)
        if wait > 0:
            self._looks[0] = now + wait
            return
        occasion = Occasion.REFILL if self._refill else Occasion.ROOM if self._room else Occasion.LOOK_AGAIN
        self._refill = self._room = False
        self._looks.pop(0)
        await self._evaluate(sources, occasion, ticker)

    async def _rest(self, seconds: float) -> None:
        """Sleep until woken. A timer that wakes costs half of what a limit on the waiting would."""
        timer = asyncio.get_running_loop().call_later(max(seconds, SHORTEST_REST_S), self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()
        self._wake.clear()

    async def _evaluate(self, sources: list[RuleSource], occasion: Occasion, ticker: Ticker) -> None:
        """Read every rule, decide, note, start. Nothing awaits between counting and deciding."""
        began = self._ports.clock.monotonic()
        readings = await self._read(sources)
        read_s = self._ports.clock.monotonic() - began
        now = self._ports.clock.now()
        self._due = ticker.due
        counts = self._ports.ledger.counts(self.job.name, now)
        readings = tuple(self._with_takings(item, counts) for item in readings)
        hold = self._hold(now)
        self.breaker = breaker.at(self.breaker, now)
        if self._repeats(readings, counts, now, occasion, hold):
            return
        inputs = Inputs(
            job=self.job.name, generation=self.job.generation, trigger=self._trigger, readings=readings,
            counts=counts, at=now, occasion=occasion, hold=hold, breaker=self.breaker,
        )  # fmt: skip
        planned = decide(inputs)
        with self._ports.ask(self.job, planned.launch) as room:
            if room.cut is not None:
                inputs = replace(inputs, cut=room.cut)
                planned = decide(inputs)
            await self._carry_out(inputs, planned, room, read_s)
        if planned.waiting and await self._mover.act(self.breaker):
            self.reset_breaker()

    async def _carry_out(self, inputs: Inputs, planned: Plan, room: Reservation, read_s: float) -> None:
        """Record the decision, then start what it says."""
        occasion = inputs.occasion
        decision = planned.decision(
            job=self.job.name, trigger=self._trigger, counts=inputs.counts, at=inputs.at, occasion=occasion
        )
        self._decision, self._decided_at = decision, None
        decision_id = await self._ports.store.decide(decision)
        self._decision = replace(decision, id=decision_id)
        self._ports.recorder.decided(inputs, planned, decision_id=decision_id, read_s=read_s)
        if room.cut is not None or planned.launch:
            self._idle = None
        if not planned.launch:
            await self._ports.notes.keep(self.job, self.breaker)
        if planned.launch:
            log.info(
                "job.launch", job=self.job.name, launch=planned.launch, occasion=occasion.value,
                formula=planned.formula,
            )  # fmt: skip
            self.breaker = breaker.launched(self.breaker, planned.launch)
            await self._ports.notes.keep(self.job, self.breaker)
            await self._ports.start(self.job, planned.launches, self._decision, room)

    def _repeats(
        self,
        readings: tuple[RuleReading, ...],
        counts: Counts,
        now: datetime,
        occasion: Occasion,
        hold: str | None,
    ) -> bool:
        """Whether this tick of an idle job reads what the recorded one read, so that it decides the same.

        With nothing live or lately ended the age of a reading is of no account.
        """
        before, self._idle = self._idle, None
        troubled = hold is not None or self.breaker is not breaker.CLOSED
        if counts.running or counts.ended or troubled or occasion is not Occasion.TICK:
            return False
        said: list[object] = []
        for item in readings:
            sample = item.reading
            if isinstance(sample, PollFailure):
                return False
            said += (sample.value, sample.active, sample.taken, sample.includes_taken)
            said += (item.target, item.seen_held)
        self._idle = tuple(said)
        recorded = self._decision
        if self._idle != before or recorded is None or now - recorded.at >= REPEAT:
            return False
        self._decided_at = now
        return True

    def _with_takings(self, item: RuleReading, counts: Counts) -> RuleReading:
        """Add what this and earlier readings of a ready count tell of messages in live executions' hands."""
        sample = item.reading
        if (
            not isinstance(sample, Sample)
            or sample.includes_taken
            or item.target <= 0
            or sample.as_of is None
        ):
            return item
        seen = observe(
            self._takings.get(item.rule.name),
            ready=sample.value,
            target=item.target,
            as_of=sample.as_of,
            counts=counts,
        )
        self._takings[item.rule.name] = seen
        return replace(item, seen_held=seen.held)

    def _hold(self, now: datetime) -> str | None:
        if self._hold_until is None or now >= self._hold_until:
            return None
        left = (self._hold_until - now).total_seconds()
        return f"{self._refusals} launches in a row were refused; the next one in {left:.0f} s"

    async def _read(self, sources: list[RuleSource]) -> tuple[RuleReading, ...]:
        if (
            len(sources) == 1
        ):  # the common case is worth a shortcut: a task costs as much as the rest of the tick
            readings: tuple[RuleReading, ...] = (await sources[0].poll(),)
        else:
            async with asyncio.TaskGroup() as tasks:
                polls = [tasks.create_task(s.poll(), name=f"poll:{s.address}") for s in sources]
            readings = tuple(p.result() for p in polls)
        for source, item in zip(sources, readings, strict=True):
            self._note(source.subject, item)
        return readings

    def _note(self, subject: str, item: RuleReading) -> None:
        """Log what changed about a rule: it failed, it is well again, it tells less or more than before."""
        faults, reading = self._ports.faults, item.reading
        is_plain = isinstance(reading, Sample) and reading.lower_bound is None
        if is_plain and faults.is_quiet(subject):
            return
        now, fields = self._ports.clock.now(), {"job": self.job.name, "rule": item.rule.name}
        if isinstance(reading, PollFailure):
            faults.failed(subject, reading.reason, reading.message, now, **fields)
        else:
            faults.well(subject, now, **fields)
            faults.limited(subject, reading.lower_bound, **fields)
