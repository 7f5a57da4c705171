"""What a decision says: how many are launched, which limit held, and why, in words that people can check."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from scaler.model.decision import Bound, Decision, Occasion, Reason, RuleVerdict
from scaler.model.job import EventTrigger
from scaler.model.share import Share
from scaler.planning.counts import Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How many to launch, and why. `handed` are the shares of those launched, `held` keys of shares with work."""

    launch: int
    wanted: int
    waiting: int
    bound: Bound
    reason: Reason
    formula: str
    message: str
    verdicts: tuple[RuleVerdict, ...]
    ended_since: int = 0
    handed: tuple[Share, ...] = ()
    held: tuple[str, ...] = ()

    @property
    def launches(self) -> tuple[Share | None, ...]:
        """One entry for each execution to launch: its share, or None where the source has none."""
        return self.handed or (None,) * self.launch

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
            handed=tuple(share.key for share in self.handed),
            held=self.held,
        )


def nothing(verdicts: tuple[RuleVerdict, ...], reason: Reason, message: str) -> Plan:
    """Launch nothing, for a reason that no arithmetic gave."""
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


def answer(
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
