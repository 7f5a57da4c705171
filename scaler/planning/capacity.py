"""Who may begin how many executions when all jobs together are limited. Decides; begins nothing.

Room is given out one execution after the other. Of the jobs that wait, those of the highest priority come first;
among equals the one that has the least of its share: what its live executions take of the scarcest cap, over its
weight (weighted max-min fairness; for several caps, of dominant shares). One whose execution does not fit
is passed over. So that nobody starves, after `pass_over` starts that went past somebody, the next one belongs to
whoever of them has waited longest, and room is kept until it fits. What runs is never ended for another job's sake.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from scaler.model.capacity import NOTHING, Amount, GlobalLimits
from scaler.model.decision import Bound, Reason
from scaler.planning.answer import Plan

_EPSILON = 1e-9
"""Cores are decimal fractions: ten times 0.1 must fit into 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A job that wants executions.

    Attributes:
        need: what one execution takes.
        live: what its live executions take.
        asks: executions it wants beside them, at least 1.
        since: when it began to wait, or got its latest start; seconds of a monotonic clock.
    """

    job: str
    need: Amount
    live: Amount
    asks: int
    since: float
    priority: int = 0
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What there is to give.

    Attributes:
        used: what all live executions take, of whatever cause.
        starts: executions that the launch rate lets begin now; None: as many as fit.
        passed: starts that went past somebody since one went to who had waited longest.
    """

    limits: GlobalLimits
    used: Amount = NOTHING
    starts: int | None = None
    passed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """One start: whose it is, whether it went past somebody, or belonged to who had waited longest."""

    job: str
    past: bool = False
    in_turn: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Allotment:
    """What is given out, in order, and for whom room is kept that is too small yet."""

    given: tuple[Given, ...] = ()
    kept_for: str | None = None

    def of(self, job: str) -> tuple[Given, ...]:
        """Give the starts of one job."""
        return tuple(item for item in self.given if item.job == job)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """How many a job may begin when it wanted more, which limit held, and why, for people."""

    launch: int
    bound: Bound
    reason: Reason
    message: str


def fits(limits: GlobalLimits, used: Amount, need: Amount) -> Bound | None:
    """Give the cap that one execution more would pass; None if it fits."""
    if _is_passed(limits.executions, used.executions + need.executions):
        return Bound.GLOBAL_EXECUTIONS
    if need.cpu > 0 and _is_passed(limits.cpu, used.cpu + need.cpu):
        return Bound.GLOBAL_CPU
    if need.memory_bytes > 0 and _is_passed(limits.memory_bytes, used.memory_bytes + need.memory_bytes):
        return Bound.GLOBAL_MEMORY
    return None


def _is_passed(cap: float | None, taken: float) -> bool:
    return cap is not None and taken > cap + _EPSILON * max(1.0, cap)


def _share(limits: GlobalLimits, claim: Claim) -> float:
    """Give how much of its share a job has; without caps its live executions stand for that."""
    live, share = claim.live, 0.0
    if limits.executions is not None:
        share = live.executions / limits.executions
    if limits.cpu is not None:
        share = max(share, live.cpu / limits.cpu)
    if limits.memory_bytes is not None:
        share = max(share, live.memory_bytes / limits.memory_bytes)
    if limits.executions is None and limits.cpu is None and limits.memory_bytes is None:
        share = float(live.executions)
    return share / claim.weight


def is_full(room: Room) -> bool:
    """Say whether nothing can begin, whatever it needs: then nobody's place in the line matters."""
    return room.starts == 0 or _is_passed(room.limits.executions, room.used.executions + 1)


class _Line:
    """The jobs that wait, in the order in which they come; one that does not fit stands aside."""

    def __init__(self, limits: GlobalLimits, claims: Iterable[Claim]) -> None:
        self._limits = limits
        self.waiting = {claim.job: claim for claim in claims}
        self._heap = [self._key(claim) for claim in self.waiting.values()]
        heapq.heapify(self._heap)
        self._priorities = Counter(claim.priority for claim in self.waiting.values())
        self._latest = max((claim.since for claim in self.waiting.values()), default=0.0)

    def _key(self, claim: Claim) -> tuple[int, float, float, str]:
        return -claim.priority, _share(self._limits, claim), claim.since, claim.job

    def first_that_fits(self, used: Amount) -> Claim | None:
        """Give who comes first; what does not fit now does not fit later either, for `used` only grows."""
        while self._heap:
            claim = self.waiting.get(self._heap[0][3])
            is_stale = claim is None or self._key(claim) != self._heap[0]
            if claim is not None and not is_stale and fits(self._limits, used, claim.need) is None:
                return claim
            heapq.heappop(self._heap)
        return None

    def longest_waiting(self) -> Claim:
        """Give who has got nothing for the longest time."""
        return min(self.waiting.values(), key=lambda claim: (claim.since, claim.job))

    def goes_past(self, chosen: Claim) -> bool:
        """Say whether a start of this job leaves one waiting that has less priority or does not fit."""
        return min(self._priorities) < chosen.priority or len(self._heap) < len(self.waiting)

    def take(self, claim: Claim) -> None:
        """Note a start of that job."""
        self._latest += 1.0
        left = replace(
            claim, asks=claim.asks - 1, live=claim.live.plus(claim.need), since=max(claim.since, self._latest)
        )
        if left.asks:
            self.waiting[claim.job] = left
            heapq.heappush(self._heap, self._key(left))
            return
        del self.waiting[claim.job]
        self._priorities[claim.priority] -= 1
        self._priorities = +self._priorities


def share_out(room: Room, claims: Iterable[Claim]) -> Allotment:
    """Give out all there is room for; those whose execution could never fit are left out."""
    limits, used, passed = room.limits, room.used, room.passed
    if is_full(room):
        return Allotment()
    starts = math.inf if room.starts is None else room.starts
    line = _Line(limits, (claim for claim in claims if fits(limits, NOTHING, claim.need) is None))
    given: list[Given] = []
    while line.waiting and len(given) < starts:
        in_turn = passed >= limits.pass_over
        chosen = line.longest_waiting() if in_turn else line.first_that_fits(used)
        if chosen is None:
            break
        if in_turn and fits(limits, used, chosen.need) is not None:
            return Allotment(given=tuple(given), kept_for=chosen.job)
        past = not in_turn and line.goes_past(chosen)
        passed = 0 if in_turn else passed + past
        given.append(Given(job=chosen.job, past=past, in_turn=in_turn))
        used = used.plus(chosen.need)
        line.take(chosen)
    return Allotment(given=tuple(given))


def passed_after(passed: int, given: Iterable[Given]) -> int:
    """Count on which starts went past somebody, once those given have begun."""
    for item in given:
        passed = 0 if item.in_turn else passed + item.past
    return passed


def explain_cut(room: Room, claim: Claim, allotment: Allotment) -> Cut | None:
    """Name the limit that held a job back; None if it gets all it asks for."""
    launch = len(allotment.of(claim.job))
    if launch == claim.asks:
        return None
    limits, used, need = room.limits, room.used.plus(claim.need, launch), claim.need
    never = fits(limits, NOTHING, need)
    if never is not None:
        text = (
            f"one execution takes {_said(never, need)}; {never} is {_cap(limits, never)}: it can never start"
        )
        return Cut(launch=0, bound=never, reason=Reason.TOO_LARGE, message=text)
    held = fits(limits, used, need)
    if held is not None:
        text = f"{held} = {_cap(limits, held)} is reached: all executions together take {_said(held, used)}"
        return Cut(launch=launch, bound=held, reason=Reason.AT_GLOBAL_LIMIT, message=text)
    if room.starts is not None and launch >= room.starts:
        text = f"limits.global.launchRate lets {limits.launch_rate:g} executions begin a second"
        return Cut(launch=launch, bound=Bound.LAUNCH_RATE, reason=Reason.LAUNCH_RATE, message=text)
    whose = allotment.kept_for or ", ".join(
        dict.fromkeys(item.job for item in allotment.given if item.job != claim.job)
    )
    text = f"the room that is left is the share of {whose}"
    return Cut(launch=launch, bound=Bound.FAIR_SHARE, reason=Reason.FAIR_SHARE, message=text)


def refusal(room: Room, need: Amount) -> Cut | None:
    """Say why one execution that is asked for by hand may not begin; None if it may.

    It waits for nobody: free room is its own, whoever else waits.
    """
    claim = Claim(job="", need=need, live=NOTHING, asks=1, since=0.0)
    return explain_cut(room, claim, share_out(replace(room, passed=0), [claim]))


def restrict(plan: Plan, cut: Cut | None) -> Plan:
    """Cut a plan to what the limits of the daemon leave it; never adds to it."""
    if cut is None or cut.launch >= plan.launch:
        return plan
    message = f"launch {cut.launch}; {cut.message}" if cut.launch else cut.message
    return replace(
        plan, launch=cut.launch, bound=cut.bound, reason=plan.reason if cut.launch else cut.reason,
        message=message, formula=f"{plan.formula}; {cut.bound} -> {cut.launch}",
        handed=plan.handed[: cut.launch],
    )  # fmt: skip


def _cap(limits: GlobalLimits, bound: Bound) -> str:
    cap = dict(limits.caps)[bound] or 0.0
    return _size(cap) if bound is Bound.GLOBAL_MEMORY else f"{cap:g}"


def _said(bound: Bound, amount: Amount) -> str:
    if bound is Bound.GLOBAL_EXECUTIONS:
        return f"{amount.executions}"
    return f"{amount.cpu:g} cores" if bound is Bound.GLOBAL_CPU else _size(amount.memory_bytes)


def _size(size_bytes: float) -> str:
    return f"{size_bytes / (1 << 30):.4g}Gi"
