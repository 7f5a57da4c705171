"""What one tick of one job decided, and everything it decided on: the answer to "why (not)?"."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from scaler.model.job import Combine, StrategyName


class Occasion(StrEnum):
    """Why a job was evaluated at that moment."""

    TICK = "Tick"
    REFILL = "Refill"
    LOOK_AGAIN = "LookAgain"
    PLAN = "Plan"
    SCHEDULE = "Schedule"
    ROOM = "Room"
    SUSPEND = "Suspend"
    POISON = "Poison"


class Reason(StrEnum):
    """The one word that says how a decision came about."""

    LAUNCHED = "Launched"
    NO_WORK = "NoWork"
    BELOW_ACTIVATION = "BelowActivation"
    ALL_CLAIMED = "AllClaimed"
    AT_MAX = "AtMaxExecutions"
    MIN_EXECUTIONS = "MinExecutions"
    UNKNOWN_COUNT = "UnknownCount"
    NO_TARGET = "NoTarget"
    LAUNCH_BACKOFF = "LaunchBackoff"
    BACKING_OFF = "BackingOff"
    OVERLAP = "Overlap"
    MISSED = "Missed"
    AT_GLOBAL_LIMIT = "AtGlobalLimit"
    FAIR_SHARE = "FairShare"
    LAUNCH_RATE = "LaunchRate"
    TOO_LARGE = "TooLarge"
    SUSPENDED = "Suspended"
    POISON_MOVED = "PoisonMoved"


class Bound(StrEnum):
    """Which limit cut the number that was wanted."""

    NONE = "None"
    MAX = "maxExecutions"
    MIN = "minExecutions"
    CLAIMS = "claims"
    BREAKER = "breaker"
    GLOBAL_EXECUTIONS = "limits.global.executions"
    GLOBAL_CPU = "limits.global.cpu"
    GLOBAL_MEMORY = "limits.global.memory"
    LAUNCH_RATE = "limits.global.launchRate"
    FAIR_SHARE = "fairShare"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleVerdict:
    """What one rule said. `error` None means that the figures are real; else they are None.

    `needed` is the rule alone, in executions: ceil(value / target), or how many of its shares have work; 0 while
    not active. `shares` is how many shares the source told; None if it has none.
    `lower_bound` says why there may be more than `value`.
    """

    name: str
    type: str
    value: float | None = None
    taken: float | None = None
    active: bool | None = None
    target: float | None = None
    needed: int | None = None
    error: str | None = None
    error_reason: str | None = None
    shares: int | None = None
    lower_bound: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One evaluation of one job.

    Attributes:
        running: event executions that had not ended when the decision was made.
        pending: those of them that had no running replica yet.
        ended_since: event executions that ended after the reading began, which it may still hold.
        wanted: executions that the reading asks for in all, before bounds.
        waiting: wanted executions that nothing live covers, before `maxExecutions`.
        launch: how many were started.
        formula: the arithmetic, with its numbers, for people.
        handed: keys of the shares that were handed to the executions started.
        held: keys of shares with work that an execution had already, or had after the reading began.
    """

    job: str
    at: datetime
    occasion: Occasion
    rules: tuple[RuleVerdict, ...]
    strategy: StrategyName
    combine: Combine
    min_executions: int
    max_executions: int
    running: int
    pending: int
    ended_since: int
    wanted: int
    waiting: int
    launch: int
    bound: Bound
    reason: Reason
    formula: str
    message: str
    handed: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    id: int | None = None


def bare_decision(
    job: str,
    at: datetime,
    occasion: Occasion,
    reason: Reason,
    message: str,
    *,
    running: int = 0,
    waiting: int = 0,
    launch: int = 0,
) -> Decision:
    """Make a decision that no reading led to: a schedule's, or that a job is suspended."""
    return Decision(
        job=job, at=at, occasion=occasion, rules=(), strategy=StrategyName.AUTO, combine=Combine.MAX,
        min_executions=0, max_executions=0, running=running, pending=0, ended_since=0, wanted=launch,
        waiting=waiting, launch=launch, bound=Bound.NONE, reason=reason, formula="none", message=message,
    )  # fmt: skip
