"""From readings and counts to a number of executions to launch: the only place that decides it.

`auto` (ours) weighs each reading against the executions that were live when the poll began, so that no
message gets a second execution and no slot stays empty beside a waiting message. The other strategies are
KEDA's. A source that tells its shares has them handed out one by one (`shares`). Rules are turned into
executions before they are combined. Every answer carries its reason (`answer`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from scaler.model.decision import Bound, Reason, RuleVerdict
from scaler.model.job import Combine, EventTrigger, ScaleRule, StrategyName
from scaler.model.sample import PollFailure, Reading, Sample
from scaler.planning import strategies
from scaler.planning.answer import Plan, answer, nothing
from scaler.planning.counts import Counts
from scaler.planning.shares import Allotment, allot

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
    without an active rule only up to the minimum. A source that tells its shares has no minimum, and each of its
    executions gets a share that nobody holds; a job with such a rule has this rule only, which `wire` sees to.
    """
    verdicts = tuple(_verdict(r) for r in readings)
    failed = [v for v in verdicts if v.error is not None]
    known = tuple(r for r in readings if isinstance(r.reading, Sample))
    if not known or (failed and trigger.combine in (Combine.MIN, Combine.AVG)):
        names = ", ".join(f"{v.name}: {v.error}" for v in failed) or "no rule"
        message = f"nothing is launched on an unknown count ({names})"
        return nothing(verdicts, Reason.UNKNOWN_COUNT, message)
    if hold is not None:
        return nothing(verdicts, Reason.LAUNCH_BACKOFF, hold)
    shared = tuple(r.reading for r in known if isinstance(r.reading, Sample) and r.reading.shares is not None)
    if shared:
        return _hand_out(trigger, shared, counts, now, verdicts)
    if trigger.strategy.name is StrategyName.AUTO:
        return _auto(trigger, known, counts, now, verdicts)
    return _keda(trigger, known, counts, verdicts)


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
        needed=_needed(reading, item.target) if reading.active else 0,
        shares=None if reading.shares is None else len(reading.shares),
        lower_bound=reading.lower_bound,
    )


def _needed(sample: Sample, target: float) -> int:
    if sample.shares is not None:
        return sum(share.value > 0 for share in sample.shares)
    return _units(sample.value, target)


def _units(value: float, target: float) -> int:
    """Executions for a number of messages; a target of 0 asks for none, as in KEDA."""
    if target <= 0 or value <= 0:
        return 0
    return max(1, math.ceil(round(min(value / target, MOST_UNITS), 6)))


# --- shares ---------------------------------------------------------------------------------------------


def _hand_out(
    trigger: EventTrigger,
    samples: tuple[Sample, ...],
    counts: Counts,
    now: datetime,
    verdicts: tuple[RuleVerdict, ...],
) -> Plan:
    as_of = min(sample.as_of or now for sample in samples)
    shares = [share for sample in samples if sample.active for share in sample.shares or ()]
    found = allot(shares, counts, most=trigger.max_executions, as_of=as_of)
    launch = len(found.handed)
    formula = (
        f"{found.wanted} shares with work - {len(found.held)} held = {launch + len(found.left)}; "
        f"{counts.running} live, max({trigger.max_executions}) -> {launch}"
    )
    made = answer(
        verdicts, counts, launch=launch, wanted=found.wanted, waiting=launch + len(found.left), floor=0,
        room=max(0, trigger.max_executions - counts.running), formula=formula,
        ended_since=counts.ended_since(as_of),
    )  # fmt: skip
    made = replace(made, handed=found.handed, held=tuple(share.key for share in found.held))
    return _explained(made, found, counts)


def _explained(made: Plan, found: Allotment, counts: Counts) -> Plan:
    """Put right what only a job without shares would say."""
    if found.unshared and found.left:
        message = (
            f"{found.unshared} executions that were handed no share may work on any; waiting for their end"
        )
        return replace(made, bound=Bound.CLAIMS, reason=Reason.ALL_CLAIMED, message=message)
    if made.reason is Reason.ALL_CLAIMED:
        message = f"every share with work has its execution ({counts.running} live)"
        return replace(made, message=message)
    return made


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
    own = counts.running - counts.elsewhere
    claims = own + ended_since
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
        f"{wanted} - {own} live - {ended_since} just ended = {wanted - claims}; "
        f"{f'{counts.elsewhere} live of another source; ' if counts.elsewhere else ''}"
        f"min({trigger.min_executions}) max({trigger.max_executions}) -> {launch}"
    )
    return answer(
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
        return answer(
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
    return answer(
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
