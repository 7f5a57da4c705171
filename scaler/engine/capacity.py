"""The one gate that everything passes which begins an execution, so that no path can exceed the daemon's limits.

Room is reserved before an execution is begun (`Fleet.begin` takes nothing but a reservation), held under the
execution's id, and given back at its end. All of it happens between two awaits, so nothing can come in between.
A job that is held back is woken as soon as there is room for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

import structlog

from scaler.errors import LimitReached
from scaler.model.capacity import NOTHING, Amount, GlobalLimits, need_of
from scaler.model.decision import Reason
from scaler.model.execution import Execution, ExecutionState
from scaler.model.job import Job
from scaler.planning.capacity import (
    Allotment,
    Claim,
    Cut,
    Room,
    explain_cut,
    fits,
    passed_after,
    refusal,
    share_out,
)
from scaler.ports.clock import Clock
from scaler.ports.control import Usage

log = structlog.get_logger("scaler")

ANSWER_S = 15.0
"""How long room is kept for a job that was woken for it: a poll and its record take no longer."""
RENEW_S = 30.0
"""How old the claim may be of a job that others stand back for while there is too little room for it."""
_SHORTEST_S = 0.001


@dataclass(slots=True, eq=False)
class Reservation:
    """Room for `count` executions of a job. Left as a context, what was not used of it is given back.

    `cut` says what held, if the job wanted more.
    """

    gate: Gate
    job: str
    need: Amount
    count: int
    cut: Cut | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _exc: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.gate.give_back(self)


@dataclass(slots=True)
class _Waiting:
    """A job's claim, when it was made, and when the job was woken for it (None: it was not)."""

    claim: Claim
    asked_at: float
    woken_at: float | None = None


@dataclass(slots=True)
class Gate:
    """Counts what all executions take, and says who may begin more. `wake` tells a job's loop to ask again."""

    limits: GlobalLimits
    clock: Clock
    wake: Callable[[str], None]
    _held: dict[str, tuple[str, Amount]] = field(default_factory=dict)
    _used: Amount = NOTHING
    _by_job: dict[str, Amount] = field(default_factory=dict)
    _waiting: dict[str, _Waiting] = field(default_factory=dict)
    _parked: dict[str, asyncio.Event] = field(default_factory=dict)
    _passed: int = 0
    _tokens: float = field(init=False)
    _filled_at: float | None = None
    _timer: asyncio.TimerHandle | None = None

    def __post_init__(self) -> None:
        self._tokens = float(self.limits.launch_burst)

    def usage(self) -> Usage:
        """Tell what is taken, and who waits."""
        return Usage(limits=self.limits, used=self._used, waiting=tuple(sorted(self._waiting)))

    # --- asking ---------------------------------------------------------------------------------------

    def ask(self, job: Job, count: int) -> Reservation:
        """Reserve room for up to `count` executions, as many as are this job's; it waits for the rest.

        To ask for none says that the job does not wait any more.
        """
        need = need_of(job.template, job.parallelism)
        before = self._waiting.pop(job.name, None)
        if self.limits.is_unlimited or count <= 0:
            if before is not None:
                self._offer()
            return self._reserve(job.name, need, max(0, count))
        now = self.clock.monotonic()
        claim = Claim(
            job=job.name, need=need, live=self._by_job.get(job.name, NOTHING), asks=count,
            since=before.claim.since if before else now, priority=job.priority, weight=job.weight,
        )  # fmt: skip
        room = self._room()
        allotment = share_out(room, [claim, *(item.claim for item in self._waiting.values())])
        given = allotment.of(job.name)
        cut = explain_cut(room, claim, allotment)
        self._passed = passed_after(self._passed, given)
        self._tokens -= len(given) if room.starts is not None else 0
        reservation = self._reserve(job.name, need, len(given), cut)
        if cut is not None and cut.reason is not Reason.TOO_LARGE:
            left = replace(
                claim, asks=count - len(given), since=now if given else claim.since,
                live=self._by_job.get(job.name, NOTHING),
            )  # fmt: skip
            self._waiting[job.name] = _Waiting(left, asked_at=now)
        self._offer()
        return reservation

    def ask_by_hand(self, execution: Execution) -> Reservation:
        """Reserve room for one execution that somebody asked for; it waits for nobody, and is not waited for.

        Raises:
            LimitReached: there is no room.
        """
        need = need_of(execution.template, execution.parallelism)
        if not self.limits.is_unlimited:
            room = self._room()
            cut = refusal(room, need)
            if cut is not None:
                raise LimitReached(_refused(execution.job, cut))
            self._tokens -= 1 if room.starts is not None else 0
        return self._reserve(execution.job, need, 1)

    def forget(self, job: str) -> None:
        """Let a job wait no longer: it is gone, paused or defined anew."""
        if self._waiting.pop(job, None) is not None:
            self._offer()

    # --- holding --------------------------------------------------------------------------------------

    def redeem(self, reservation: Reservation, states: Iterable[ExecutionState]) -> None:
        """Hold the reserved room under the ids of the executions that are begun with it.

        Raises:
            ValueError: more are begun than were reserved, or larger ones.
        """
        found = tuple(states)
        needs = [need_of(state.execution.template, state.execution.parallelism) for state in found]
        if len(found) > reservation.count or any(need != reservation.need for need in needs):
            raise ValueError(f"{len(found)} executions of {reservation.job} need more than was reserved")
        for state in found:
            self._held[state.execution.id] = (reservation.job, reservation.need)
        reservation.count -= len(found)

    def give_back(self, reservation: Reservation) -> None:
        """Give back what was not used of a reservation."""
        count, reservation.count = reservation.count, 0
        if count:
            self._take(reservation.job, reservation.need, -count)
            self._offer()

    def release(self, execution_id: str) -> None:
        """Give back the room of an execution that has ended."""
        held = self._held.pop(execution_id, None)
        self._parked.pop(execution_id, None)
        if held is not None:
            self._take(*held, -1)
            self._unpark()
            self._offer()

    def _reserve(self, job: str, need: Amount, count: int, cut: Cut | None = None) -> Reservation:
        self._take(job, need, count)
        return Reservation(self, job, need, count, cut)

    def _take(self, job: str, need: Amount, times: int) -> None:
        if times:
            self._used = self._used.plus(need, times)
            self._by_job[job] = self._by_job.get(job, NOTHING).plus(need, times)
            if not self._by_job[job].executions:
                del self._by_job[job]
            if job in self._waiting:
                item = self._waiting[job]
                item.claim = replace(item.claim, live=self._by_job.get(job, NOTHING))

    # --- a former process -------------------------------------------------------------------------------

    def adopt(self, states: Iterable[ExecutionState]) -> None:
        """Count what a former process began, even beyond limits that are lower now: it may be running."""
        for state in states:
            execution = state.execution
            if not execution.is_final and execution.id not in self._held:
                need = need_of(execution.template, execution.parallelism)
                self._held[execution.id] = (execution.job, need)
                self._take(execution.job, need, 1)

    def park(self, execution_ids: Iterable[str]) -> None:
        """Let executions that were recorded and never started wait for room under the present limits."""
        if self.limits.is_unlimited:
            return
        for execution_id in execution_ids:
            if execution_id in self._held:
                self._parked[execution_id] = asyncio.Event()
        self._unpark()
        if self._parked:
            log.warning(
                "executions.parked", count=len(self._parked), why="limits.global is lower than it was"
            )

    def turn(self, execution_id: str) -> asyncio.Event | None:
        """Give what is set once a parked execution may start; None if it may at once."""
        return self._parked.get(execution_id)

    def _unpark(self) -> None:
        """Let those start that fit beside what runs, the oldest first."""
        running = self._used
        for execution_id in self._parked:
            running = running.plus(self._held[execution_id][1], -1)
        for execution_id in list(self._parked):
            need = self._held[execution_id][1]
            if fits(self.limits, running, need) is not None:
                return
            running = running.plus(need)
            self._parked.pop(execution_id).set()

    # --- waking -----------------------------------------------------------------------------------------

    def _room(self) -> Room:
        rate, starts = self.limits.launch_rate, None
        if rate is not None:
            now = self.clock.monotonic()
            since = now if self._filled_at is None else self._filled_at
            self._tokens = min(float(self.limits.launch_burst), self._tokens + max(0.0, now - since) * rate)
            self._filled_at = max(now, since)
            starts = max(0, int(self._tokens + 1e-6))
        return Room(limits=self.limits, used=self._used, starts=starts, passed=self._passed)

    def _offer(self) -> None:
        """Wake the jobs that there is room for; one that does not come in time loses its place."""
        if not self._waiting:
            return
        now = self.clock.monotonic()
        for name in [n for n, item in self._waiting.items() if _is_late(item, now)]:
            del self._waiting[name]
        room = self._room()
        allotment = share_out(room, [item.claim for item in self._waiting.values()])
        for name in self._to_wake(allotment, now):
            self._waiting[name].woken_at = now
            self.wake(name)
        self._set_timer(room, now)

    def _to_wake(self, allotment: Allotment, now: float) -> list[str]:
        names = dict.fromkeys(item.job for item in allotment.given)
        kept_for = allotment.kept_for  # it may have changed its mind, while others wait because of it
        if kept_for is not None and now - self._waiting[kept_for].asked_at >= RENEW_S:
            names[kept_for] = None
        return [name for name in names if self._waiting[name].woken_at is None]

    def _set_timer(self, room: Room, now: float) -> None:
        """Look again when the next start is allowed, or when one that was woken should have come."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waits = [
            item.woken_at + ANSWER_S - now for item in self._waiting.values() if item.woken_at is not None
        ]
        if self._waiting and room.starts == 0 and self.limits.launch_rate is not None:
            waits.append((1.0 - self._tokens) / self.limits.launch_rate)
        if waits:
            wait_s = max(min(waits), _SHORTEST_S)
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._offer)

    def close(self) -> None:
        """Wake nobody any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._waiting.clear()


def _is_late(item: _Waiting, now: float) -> bool:
    return item.woken_at is not None and now - item.woken_at >= ANSWER_S


def _refused(job: str, cut: Cut) -> str:
    if cut.reason is Reason.TOO_LARGE:
        return f"job '{job}' cannot start: {cut.message}; lower what it takes, or raise the limit"
    return f"job '{job}' cannot start now: {cut.message}; try again later"
