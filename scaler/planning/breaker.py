"""Holds back messages whose executions fail, so that a poison message is not tried, and billed, for ever.

It needs no help from the image: it sees only how executions end. After a failure one message is *suspect*. While
no other one waits, nothing starts until a pause ends, which doubles with each failing round. While others wait they
go on: at once in the first round, later in tries that are the rarer the more executions fail (a broker may hand out
the suspect first, so each try may cost one failure). Launches are paid for by successes, so an outage behind the
workers, which fails them all, ends launches until the pause is over. Then everything may be tried again (half-open);
the first failure opens the next round, and enough time without one closes the breaker.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from scaler.model.decision import Bound, Reason
from scaler.model.job import Poison
from scaler.planning.answer import Plan

LONGEST_PAUSE = timedelta(seconds=300)
FREE_LAUNCHES = 3
"""Launches of a round that no success has paid for yet."""
LAUNCHES_A_SUCCESS = 2
SETTLING = timedelta(seconds=1)
RAREST_TRY = timedelta(seconds=2)
"""Between a failure and the next try of what waits beside the suspects, were there failures only."""


class Phase(StrEnum):
    """Where the breaker stands."""

    CLOSED = "Closed"
    BACKING_OFF = "BackingOff"
    HALF_OPEN = "HalfOpen"


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """The breaker of one job.

    Attributes:
        round: failing rounds in a row; 0 while closed.
        suspects: failures since the latest try, as many messages are held back.
        until: when the pause of this round ends; None while closed or half-open.
        since: when this phase began.
        credit: how many more may be launched in this round.
        successes: executions that succeeded since this half-open phase began.
        good, bad: executions that succeeded and failed since it was closed.
        latest: when the latest one failed.
        slowest: longest that a failing execution took.
    """

    round: int = 0
    suspects: int = 0
    until: datetime | None = None
    since: datetime | None = None
    credit: int = FREE_LAUNCHES
    successes: int = 0
    good: int = 0
    bad: int = 0
    latest: datetime | None = None
    slowest: timedelta = timedelta()

    @property
    def phase(self) -> Phase:
        """Closed, backing off or half-open; as of the latest `at`."""
        if self.round == 0:
            return Phase.CLOSED
        return Phase.HALF_OPEN if self.until is None else Phase.BACKING_OFF


CLOSED = Breaker()


def pause(round_: int) -> timedelta:
    """Give how long the pause of a round is: 1, 2, 4 … seconds, at most `LONGEST_PAUSE`."""
    return min(timedelta(seconds=2.0 ** min(round_ - 1, 20)), LONGEST_PAUSE)


def at(breaker: Breaker, now: datetime) -> Breaker:
    """Let time have its effect: the end of a pause, or of a half-open phase without a failure."""
    if breaker.phase is Phase.BACKING_OFF and breaker.until is not None and now >= breaker.until:
        return replace(breaker, until=None, suspects=0, since=now, credit=FREE_LAUNCHES, successes=0)
    tried = breaker.phase is Phase.HALF_OPEN and breaker.successes > 0
    if tried and breaker.since is not None and now - breaker.since >= 2 * breaker.slowest + SETTLING:
        return CLOSED
    return breaker


def failed(breaker: Breaker, now: datetime, took: timedelta) -> Breaker:
    """Note that an execution failed by itself, after running for `took`."""
    breaker = at(breaker, now)
    noted = replace(breaker, bad=breaker.bad + 1, latest=now, slowest=max(breaker.slowest, took))
    if breaker.phase is Phase.BACKING_OFF:
        return replace(noted, suspects=breaker.suspects + 1)
    round_ = breaker.round + 1
    return replace(noted, round=round_, suspects=1, until=now + pause(round_), since=now, successes=0)


def succeeded(breaker: Breaker, now: datetime) -> Breaker:
    """Note that an execution succeeded."""
    breaker = at(breaker, now)
    if breaker.phase is Phase.CLOSED:
        return breaker
    return replace(
        breaker,
        successes=breaker.successes + 1,
        good=breaker.good + 1,
        credit=breaker.credit + LAUNCHES_A_SUCCESS,
    )


def launched(breaker: Breaker, count: int) -> Breaker:
    """Note that executions were launched."""
    if breaker.phase is Phase.CLOSED or count == 0:
        return breaker
    suspects = breaker.suspects if breaker.round == 1 else 0  # a later try takes in everything
    return replace(breaker, credit=breaker.credit - count, suspects=suspects)


def next_try(breaker: Breaker) -> datetime | None:
    """Give when what waits beside the suspects may be tried; None if at once."""
    if breaker.phase is not Phase.BACKING_OFF or breaker.round == 1 or breaker.latest is None:
        return None
    return breaker.latest + min(
        pause(breaker.round), RAREST_TRY * (breaker.bad / (breaker.bad + breaker.good))
    )


def _let_through(plan: Plan, breaker: Breaker, now: datetime) -> int:
    if breaker.phase is Phase.HALF_OPEN:
        return plan.launch
    beside = max(plan.waiting, plan.launch) - breaker.suspects
    if breaker.round == 1 or beside <= 0:
        return beside
    tried_from = next_try(breaker)
    return plan.launch if tried_from is None or now >= tried_from else 0


def brake(plan: Plan, breaker: Breaker, now: datetime) -> Plan:
    """Cut a plan to what the breaker lets through; never adds to it."""
    if breaker.phase is Phase.CLOSED or plan.launch == 0:
        return plan
    launch = max(0, min(plan.launch, _let_through(plan, breaker, now), breaker.credit))
    if launch == plan.launch:
        return plan
    message = f"{explain(breaker, now)}; launch {launch}" if launch else explain(breaker, now)
    reason = plan.reason if launch else Reason.BACKING_OFF
    formula = f"{plan.formula}; {breaker.suspects} suspect, credit {max(0, breaker.credit)} -> {launch}"
    return replace(
        plan, launch=launch, bound=Bound.BREAKER, reason=reason, message=message, formula=formula,
        handed=plan.handed[:launch],
    )  # fmt: skip


def explained_by(breaker: Breaker, poison: Poison | None) -> int | None:
    """Give how often a message must have been delivered to be the cause of all failures; None: move nothing yet.

    Every failed execution counts, whatever message it had. So nothing is moved that may be innocent: of an outage
    that fails many messages, or of two poison messages, none explains all failures alone.
    """
    if poison is None or breaker.phase is not Phase.BACKING_OFF or breaker.round < poison.move_after:
        return None
    return max(breaker.bad, poison.move_after)


def explain(breaker: Breaker, now: datetime) -> str:
    """Say in a sentence where the breaker stands; empty while closed."""
    if breaker.phase is Phase.CLOSED:
        return ""
    rounds = "1 round" if breaker.round == 1 else f"{breaker.round} rounds in a row"
    if breaker.until is None:
        return f"executions failed in {rounds}; half-open: trying again"
    left = max(0.0, (breaker.until - now).total_seconds())
    held = "1 message is" if breaker.suspects == 1 else f"{breaker.suspects} messages are"
    return f"executions failed in {rounds}; {held} held back, the next try in {left:.0f} s"
