"""From readings and counts to a number of executions to launch: the only place that decides it.

`auto` (ours) weighs each reading against the executions that were live when the poll began, so that no
message gets a second execution and no slot stays empty beside a waiting message. The other strategies are
KEDA's. Rules are turned into executions before they are combined. Every answer carries its reason.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from scaler.model.decision import Bound, Decision, Occasion, Reason, RuleVerdict
from scaler.model.job import Combine, EventTrigger, ScaleRule, StrategyName
from scaler.model.sample import PollFailure, Reading, Sample
from scaler.planning import strategies

MOST_UNITS = 1_000_000_000
"""No answer asks for more: a source may say any number, and no room is larger."""

SETTLE = timedelta(seconds=0.5)
"""How long a source may go on counting the connection of an execution that has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleReading:
    """One rule, its target (messages an execution takes, 0 if none) and what its source said.

    `seen_held` is how many live executions are known from earlier readings to hold a message (`takings`).
    """

    rule: ScaleRule
    target: float
    reading: Reading
    seen_held: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """This job's event executions, from our own records.

    Attributes:
        running: not ended, the starting ones included.
        pending: those of them that have no running replica yet.
        ended: when recent ones were seen to end; must reach back as far as any source lags. One may be put in
            late, with a moment that lies before a reading that was taken into account without it.
        forgotten: how many more ended, before all of those.
    """

    running: int
    pending: int
    ended: tuple[datetime, ...] = ()
    forgotten: int = 0

    def ended_since(self, moment: datetime) -> int:
        """How many ended at or after a moment."""
        return sum(1 for at in self.ended if at >= moment)

    def ended_until(self, moment: datetime) -> int:
        """How many ended up to a moment, since counting began."""
        return self.forgotten + sum(1 for at in self.ended if at <= moment)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How many to launch, and why."""

    launch: int
    wanted: int
    waiting: int
    bound: Bound
    reason: Reason
    formula: str
    message: str
    verdicts: tuple[RuleVerdict, ...]
    ended_since: int = 0

    def decision(
        self, *, job: str, trigger: EventTrigger, counts: Counts, at: datetime, occasion: Occasion
    ) -> Decision:
        """The record of this plan."""
        return Decision(
            job=job,
            at=at,
            occasion=occasion,
            rules=self.verdicts,
            strategy=trigger.strategy.name,
            combine=trigger.combine,
            min_executions=trigger.min_executions,
            max_executions=trigger.max_executions,
            running=counts.running,
            pending=counts.pending,
            ended_since=self.ended_since,
            wanted=self.wanted,
            waiting=self.waiting,
            launch=self.launch,
            bound=self.bound,
            reason=self.reason,
            formula=self.formula,
            message=self.message,
        )


def plan(
    trigger: EventTrigger,
    readings: tuple[RuleReading, ...],
    counts: Counts,
    now: datetime,
    *,
    hold: str | None = None,
) -> Plan:
    """Decide how many executions to launch. `hold` is a text that says why none may be launched now.

    Promises: launch >= 0; running + launch <= max whenever launch > 0; nothing is launched when no rule
    could be read, or when a rule is unknown whose number could only lower the answer (`min`, `avg`);
    without an active rule only up to the minimum.
    """
    verdicts = tuple(_verdict(r) for r in readings)
    failed = [v for v in verdicts if v.error is not None]
    known = tuple(r for r in readings if isinstance(r.reading, Sample))
    if not known or (failed and trigger.combine in (Combine.MIN, Combine.AVG)):
        names = ", ".join(f"{v.name}: {v.error}" for v in failed) or "no rule"
        message = f"nothing is launched on an unknown count ({names})"
        return _nothing(verdicts, Reason.UNKNOWN_COUNT, message)
    if hold is not None:
        return _nothing(verdicts, Reason.LAUNCH_BACKOFF, hold)
    if trigger.strategy.name is StrategyName.AUTO:
        return _auto(trigger, known, counts, now, verdicts)
    return _keda(trigger, known, counts, verdicts)


def _nothing(verdicts: tuple[RuleVerdict, ...], reason: Reason, message: str) -> Plan:
    return Plan(
        launch=0,
        wanted=0,
        waiting=0,
        bound=Bound.NONE,
        reason=reason,
        formula="none",
        message=message,
        verdicts=verdicts,
    )


def _verdict(item: RuleReading) -> RuleVerdict:
    rule, reading = item.rule, item.reading
    if isinstance(reading, PollFailure):
        return RuleVerdict(
            name=rule.name,
            type=rule.type,
            target=item.target or None,
            error=reading.message,
            error_reason=reading.reason,
        )
    return RuleVerdict(
        name=rule.name,
        type=rule.type,
        value=reading.value,
        taken=reading.taken,
        active=reading.active,
        target=item.target,
        needed=_units(reading.value, item.target) if reading.active else 0,
        lower_bound=reading.lower_bound,
    )


def _units(value: float, target: float) -> int:
    """Executions for a number of messages; a target of 0 asks for none, as in KEDA."""
    if target <= 0 or value <= 0:
        return 0
    return max(1, math.ceil(round(min(value / target, MOST_UNITS), 6)))


# --- auto -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Weighed:
    """One reading in executions: `gross` wanted in all, of which `held` are known to have their message."""

    gross: int
    held: int
    formula: str


def _weigh(item: RuleReading, sample: Sample, claims: int, counts: Counts, as_of: datetime) -> _Weighed:
    """Turn a reading into executions wanted in all, those that have their message included.

    A source that leaves taken messages out (`includes_taken` False) is given back what live executions
    hold; one that counts them is cut to what can still be waiting, if it can tell.
    """
    weighed = _weigh_active(item, sample, claims, counts, as_of)
    if sample.active:
        return weighed
    return _Weighed(gross=0, held=weighed.held, formula=f"{item.rule.name}: not active")


def _weigh_active(
    item: RuleReading, sample: Sample, claims: int, counts: Counts, as_of: datetime
) -> _Weighed:
    total = _units(sample.value, item.target)
    least = ">=" if sample.lower_bound is not None else ""
    name, shown = item.rule.name, f"ceil({least}{sample.value:g}/{item.target:g})"
    if sample.includes_taken:
        if sample.taken is None:
            return _Weighed(gross=total, held=0, formula=f"{name}: {shown}")
        free = _units(max(0.0, sample.value - sample.taken), item.target)
        gross = min(total, free + claims)
        return _Weighed(
            gross=gross, held=gross - free, formula=f"{name}: min({shown}, {free} free + {claims})"
        )
    settling = sum(1 for at in counts.ended if as_of - SETTLE <= at < as_of)
    shown_held = max(0, _units(sample.taken or 0.0, item.target) - settling)
    held = min(max(shown_held, item.seen_held), claims)
    return _Weighed(gross=total + held, held=held, formula=f"{name}: {shown} + {held} taken")


def _auto(
    trigger: EventTrigger,
    known: tuple[RuleReading, ...],
    counts: Counts,
    now: datetime,
    verdicts: tuple[RuleVerdict, ...],
) -> Plan:
    as_of = min((s.as_of or now) for s in (r.reading for r in known) if isinstance(s, Sample))
    ended_since = counts.ended_since(as_of)
    claims = counts.running + ended_since
    weighed = [
        _weigh(r, r.reading, claims, counts, r.reading.as_of or now)
        for r in known
        if isinstance(r.reading, Sample)
    ]
    active = [
        w for w, r in zip(weighed, known, strict=True) if isinstance(r.reading, Sample) and r.reading.active
    ]
    wanted = _combine(trigger.combine, active, claims, held=sum(w.held for w in weighed))
    waiting = max(0, wanted - claims)
    floor = max(0, trigger.min_executions - counts.running)
    room = max(0, trigger.max_executions - counts.running)
    launch = min(max(waiting, floor), room)
    formula = (
        f"{trigger.combine}[{'; '.join(w.formula for w in weighed)}] = {wanted}; "
        f"{wanted} - {counts.running} live - {ended_since} just ended = {wanted - claims}; "
        f"min({trigger.min_executions}) max({trigger.max_executions}) -> {launch}"
    )
    return _answer(
        verdicts, counts, launch=launch, wanted=wanted, waiting=waiting, floor=floor, room=room,
        formula=formula, ended_since=ended_since,
    )  # fmt: skip


def _combine(how: Combine, active: list[_Weighed], claims: int, *, held: int) -> int:
    """Combine active rules, in executions.

    Under `sum`, what live executions hold is counted once, and for inactive rules too (`held`: of all
    rules): who works on a message of an emptied queue is not there for another queue's messages.
    """
    if not active:
        return 0
    gross = [w.gross for w in active]
    if how is Combine.SUM:
        return sum(w.gross - w.held for w in active) + min(held, claims)
    if how is Combine.AVG:
        return math.ceil(sum(gross) / len(gross))
    return max(gross) if how is Combine.MAX else min(gross)


def _answer(
    verdicts: tuple[RuleVerdict, ...],
    counts: Counts,
    *,
    launch: int,
    wanted: int,
    waiting: int,
    floor: int,
    room: int,
    formula: str,
    ended_since: int,
) -> Plan:
    """Name the bound that held and the reason; the numbers are decided already."""
    bound = Bound.NONE
    if max(waiting, floor) > launch:
        bound = Bound.MAX
    elif launch and floor >= waiting and floor == launch and floor > 0 and waiting < floor:
        bound = Bound.MIN
    elif launch == 0 and wanted > 0:
        bound = Bound.CLAIMS
    reason, message = _reason(verdicts, counts, launch, wanted, bound, room)
    return Plan(
        launch=launch,
        wanted=wanted,
        waiting=waiting,
        bound=bound,
        reason=reason,
        formula=formula,
        message=message + _lower_bounds(verdicts),
        verdicts=verdicts,
        ended_since=ended_since,
    )


def _reason(
    verdicts: tuple[RuleVerdict, ...], counts: Counts, launch: int, wanted: int, bound: Bound, room: int
) -> tuple[Reason, str]:
    read = [v for v in verdicts if v.error is None]
    left_out = "".join(f"; rule {v.name} left out: {v.error}" for v in verdicts if v.error is not None)
    if launch and bound is Bound.MIN:
        return Reason.MIN_EXECUTIONS, f"launch {launch} to keep minExecutions{left_out}"
    if launch:
        cut = ", as many as maxExecutions leaves room for" if bound is Bound.MAX else ""
        return Reason.LAUNCHED, f"launch {launch}{cut}{left_out}"
    if bound is Bound.MAX:
        return Reason.AT_MAX, f"{counts.running} executions live: maxExecutions is reached{left_out}"
    if not any(v.active for v in read):
        if left_out:
            return Reason.UNKNOWN_COUNT, f"the rules that could be read hold no work{left_out}"
        if any(v.value for v in read):
            return Reason.BELOW_ACTIVATION, f"no rule is above its activation threshold{left_out}"
        return Reason.NO_WORK, f"the sources are empty{left_out}"
    if wanted == 0 and any(v.value and not v.target for v in read):
        return Reason.NO_TARGET, f"a target of 0 asks for no execution{left_out}"
    if room == 0:
        return Reason.AT_MAX, f"{counts.running} executions live: maxExecutions is reached{left_out}"
    return Reason.ALL_CLAIMED, f"every message has its execution ({counts.running} live){left_out}"


def _lower_bounds(verdicts: tuple[RuleVerdict, ...]) -> str:
    return "".join(f"; rule {v.name} is a lower bound: {v.lower_bound}" for v in verdicts if v.lower_bound)


# --- KEDA ------------------------------------------------------------------------------------------------


def _keda(
    trigger: EventTrigger, known: tuple[RuleReading, ...], counts: Counts, verdicts: tuple[RuleVerdict, ...]
) -> Plan:
    """KEDA's decision (minimum first, then the strategy), cut so that the maximum always holds."""
    low = min(trigger.min_executions, trigger.max_executions)
    cap = trigger.max_executions - (low if trigger.min_executions <= trigger.max_executions else 0)
    wanted, queue = _keda_merge(trigger.combine, known, cap)
    room = max(0, trigger.max_executions - counts.running)
    if counts.running < low:
        launch = min(low - counts.running, room)
        formula = f"minExecutions {low} - live {counts.running}"
        return _answer(
            verdicts, counts, launch=launch, wanted=wanted, waiting=0, floor=launch, room=room,
            formula=formula, ended_since=0,
        )  # fmt: skip
    demand = strategies.Demand(
        wanted=wanted, queue=queue, live=counts.running - low, pending=counts.pending, room=cap
    )
    effective, scale_to, formula = strategies.apply(trigger.strategy, demand)
    asked = min(scale_to, max(effective, 0))
    launch = min(asked, room)
    waiting = max(asked, wanted - demand.live if launch == room else 0)
    return _answer(
        verdicts, counts, launch=launch, wanted=wanted, waiting=waiting, floor=0, room=room,
        formula=f"{formula}, at most {room} to maxExecutions -> {launch}", ended_since=0,
    )  # fmt: skip


def _keda_merge(how: Combine, known: tuple[RuleReading, ...], cap: int) -> tuple[int, int]:
    """Give (wanted executions, queue length) of the active rules; executions before combining."""
    entries = [
        (min(_units(r.reading.value, r.target), cap), r.reading.value)
        for r in known
        if isinstance(r.reading, Sample) and r.reading.active
    ]
    if not entries:
        return 0, 0
    if how is Combine.SUM:
        wanted, queue = float(sum(n for n, _ in entries)), sum(q for _, q in entries)
    elif how is Combine.AVG:
        wanted, queue = sum(n for n, _ in entries) / len(entries), sum(q for _, q in entries) / len(entries)
    else:
        wanted, queue = max(entries) if how is Combine.MAX else min(entries)
    return min(math.ceil(wanted), cap), math.ceil(min(queue, MOST_UNITS))
