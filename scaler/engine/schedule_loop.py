"""One scheduled job's loop: sleeps until the next due time, then starts an execution, or notes why not.

How far the schedule has been served, and which due times wait for their turn, is kept in the store after each
step, so that a restart serves no due time twice, loses none that waits, and knows which ones passed meanwhile.

The clock is the host's, which may jump: forth is like downtime; back shows times again, of which those that were
started already are left out.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

import structlog

from scaler.engine.capacity import Reservation
from scaler.model.decision import Bound, Decision, Occasion, Reason, bare_decision
from scaler.model.execution import ExecutionState
from scaler.model.job import Job, Overlap, ScheduleTrigger
from scaler.planning import firing
from scaler.planning.firing import Fired, FireInputs, Turn, fire, turn
from scaler.planning.schedule import due_between, next_due
from scaler.ports.store import Store
from scaler.ports.trace import Recorder, Unrecorded

log = structlog.get_logger("scaler")

LONGEST_NAP_S = 30.0
"""The sleep is cut so that a host that was suspended notices soon after it wakes."""
SHORTEST_NAP_S = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulePorts:
    """What a schedule's loop is given.

    Attributes:
        wall: what the host's clock shows, aware UTC; it may jump.
        live: counts the job's scheduled executions that have not ended.
        started: whether the execution of a due time is recorded.
        ask: reserves room under the limits of the whole daemon.
        fire: starts the execution of a due time, unless it was started before; takes the decision's id and the room.
        stop_all: asks a job's scheduled executions to stop, with the reason; repeated until none lives.
    """

    wall: Callable[[], datetime]
    store: Store
    live: Callable[[str], int]
    started: Callable[[Job, datetime], Awaitable[bool]]
    ask: Callable[[Job, int], Reservation]
    fire: Callable[[Job, datetime, int, Reservation], Awaitable[None]]
    stop_all: Callable[[str, str], Awaitable[None]]
    recorder: Recorder = field(default_factory=Unrecorded)


class ScheduleLoop:
    """Serves one job's schedule for as long as `run` runs."""

    def __init__(self, job: Job, trigger: ScheduleTrigger, ports: SchedulePorts) -> None:
        self.job = job
        self.next_poll: datetime | None = None
        self.last_decision: Decision | None = None
        self._trigger = trigger
        self._ports = ports
        self._wake = asyncio.Event()
        self._waiting: deque[datetime] = deque()
        self._again: tuple[datetime, ...] = ()
        self._is_unsaved = False
        self._blocked: tuple[datetime, Reason] | None = None

    def execution_ended(self, _state: ExecutionState) -> None:
        """Take note of the end of one of this job's scheduled executions: the next one may have its turn."""
        self._wake.set()

    def room_came(self) -> None:
        """Take note that there is room under a limit of the daemon that held a due time back."""
        self._wake.set()

    async def run(self) -> None:
        """Serve until cancelled. A schedule that is new, or has changed its times, begins now."""
        seen_until = await self._begin()
        while True:
            now = self._ports.wall()
            if seen_until - now > firing.ON_TIME:  # the clock was set back, and shows times again
                seen_until = now
            await self._look(seen_until, now)
            seen_until = max(seen_until, now)
            while self._waiting and await self._serve(self._waiting[0], now):
                self._waiting.popleft()
                await self._remember(seen_until)
            if self._is_unsaved:
                await self._remember(seen_until)
            await self._rest()

    async def _begin(self) -> datetime:
        """Find up to when the schedule is served, also by a process that was killed before it noted so."""
        now = self._ports.wall()
        mark = await self._recall()
        if mark is None:
            await self._remember(now)
            return now
        until, waited = mark
        waited = [due for due in waited if not await self._ports.started(self.job, due)]
        kept = firing.still_waiting(self._trigger, self.job.name, waited, now=now)
        self._waiting.extend(kept)
        self._again = tuple(due for due in waited if due not in kept)
        for due in due_between(self._trigger, until, now):
            if not await self._ports.started(self.job, due):
                break
            until = due
        return until

    async def _look(self, seen_until: datetime, now: datetime) -> None:
        """Take in what has become due, but for what was started already."""
        begin = firing.oldest_of_interest(self._trigger, seen_until, now)
        due = (*self._again, *due_between(self._trigger, begin, now))
        self._again = ()
        if len(due) <= firing.MOST_WAITING:
            due = tuple([at for at in due if await self._is_new(at)])
        found = firing.admit(self._trigger, due, now=now, waiting=len(self._waiting))
        reasons = [found.why] if found.dropped else []
        if next(due_between(self._trigger, seen_until, begin), None) is not None:
            reasons.append(f"those before {_moment(begin)} are too old (catchUp: {self._trigger.catch_up})")
        if reasons:
            await self._note(Reason.MISSED, f"due times that are not served: {'; '.join(reasons)}", now)
        self._waiting.extend(found.admitted)
        if self._trigger.overlap is Overlap.REPLACE:
            while len(self._waiting) > 1:  # a later one replaces an earlier one that has not begun
                self._waiting.popleft()
        self._is_unsaved |= bool(reasons or found.admitted)

    async def _is_new(self, due: datetime) -> bool:
        return due not in self._waiting and not await self._ports.started(self.job, due)

    async def _serve(self, due: datetime, now: datetime) -> bool:
        """Do what the oldest waiting due time asks for; True once it needs nothing more."""
        if now < due + firing.delay(self._trigger, self.job.name, due):
            return False
        live = self._ports.live(self.job.name)
        inputs = FireInputs(
            job=self.job.name,
            generation=self.job.generation,
            trigger=self._trigger,
            due=due,
            at=now,
            live=live,
        )
        fired = fire(inputs)
        text = f"due {_moment(due)}, {live} live, overlap: {self._trigger.overlap}"
        if fired.launch:
            return await self._start(inputs, text)
        what = turn(self._trigger.overlap, live=live)
        if what is Turn.SKIP:
            await self._conclude(inputs, fired, f"skipped: {text}")
            return True
        if self._blocked != (due, fired.reason):
            self._blocked = (due, fired.reason)
            await self._conclude(inputs, fired, f"waits for the end of what runs: {text}")
        if what is Turn.REPLACE:
            await self._ports.stop_all(self.job.name, f"replaced by the execution due {_moment(due)}")
        return False

    async def _start(self, inputs: FireInputs, text: str) -> bool:
        """Start the execution of a due time, or let it wait for room; True once it has begun."""
        due = inputs.due
        with self._ports.ask(self.job, 1) as room:
            inputs = replace(inputs, cut=room.cut)
            fired = fire(inputs)
            if fired.launch:
                decision_id = await self._conclude(inputs, fired, f"started: {text}")
                await self._ports.fire(self.job, due, decision_id, room)
                return True
            if room.cut is not None and self._blocked != (due, fired.reason):
                self._blocked = (due, fired.reason)
                message = f"waits for room: {room.cut.message}; due {_moment(due)}"
                await self._conclude(inputs, fired, message, bound=room.cut.bound)
        return False

    async def _conclude(
        self, inputs: FireInputs, fired: Fired, message: str, *, bound: Bound = Bound.NONE
    ) -> int:
        """Note what was decided on a due time, and hand it to the recorder; gives the decision's id."""
        decision_id = await self._note(fired.reason, message, inputs.at, launch=fired.launch, bound=bound)
        self._ports.recorder.fired(inputs, fired, decision_id=decision_id)
        return decision_id

    async def _note(
        self, reason: Reason, message: str, now: datetime, *, launch: int = 0, bound: Bound = Bound.NONE
    ) -> int:
        said = bare_decision(
            self.job.name, now, Occasion.SCHEDULE, reason, message,
            running=self._ports.live(self.job.name), waiting=len(self._waiting), launch=launch,
        )  # fmt: skip
        decision = replace(said, bound=bound)
        decision_id = await self._ports.store.decide(decision)
        self.last_decision = replace(decision, id=decision_id)
        log.info("job.schedule", job=self.job.name, reason=reason.value, message=message)
        return decision_id

    # --- how far it is served -------------------------------------------------------------------------

    @property
    def _key(self) -> str:
        return f"schedule/{self.job.name}"

    @property
    def _times(self) -> list[str]:
        return [*self._trigger.crons, self._trigger.time_zone]

    async def _recall(self) -> tuple[datetime, list[datetime]] | None:
        """Give up to when these very times were looked at, and which of them wait; None if they never were."""
        kept = await self._ports.store.recall(self._key)
        found = json.loads(kept) if kept else {}
        if found.get("times") != self._times:
            return None
        waiting = [datetime.fromisoformat(at) for at in found.get("waiting", ())]
        return datetime.fromisoformat(found["until"]), waiting

    async def _remember(self, until: datetime) -> None:
        waiting = [due.isoformat() for due in self._waiting]
        mark = {"until": until.isoformat(), "times": self._times, "waiting": waiting}
        await self._ports.store.remember(self._key, json.dumps(mark))
        self._is_unsaved = False

    async def _rest(self) -> None:
        """Sleep until something is due, an execution ends, or a while has passed."""
        now = self._ports.wall()
        wakes: list[datetime] = []
        try:
            self.next_poll = next_due(self._trigger, now)
            wakes.append(self.next_poll)
        except StopIteration:
            self.next_poll = None
        if self._waiting and (self._blocked is None or self._waiting[0] != self._blocked[0]):
            due = self._waiting[0]
            wakes.append(due + firing.delay(self._trigger, self.job.name, due))
        left_s = min(((at - now).total_seconds() for at in wakes), default=LONGEST_NAP_S)
        try:
            async with asyncio.timeout(min(max(left_s, SHORTEST_NAP_S), LONGEST_NAP_S)):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()


def _moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%MZ")
