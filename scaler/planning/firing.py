"""What becomes of a schedule's due times: which count, which were missed, and what a due one does now."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from scaler.model.decision import Reason
from scaler.model.job import CatchUp, Overlap, ScheduleTrigger
from scaler.planning.capacity import Cut
from scaler.planning.schedule import due_between

ON_TIME = timedelta(seconds=60)
"""A due time that is seen no later than this was not missed: cron itself looks once a minute."""

MOST_WAITING = 100
"""Due times that may wait for their turn; later ones are dropped, and said to be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Due times that are to be served, and how many are not, with why (empty if none)."""

    admitted: tuple[datetime, ...]
    dropped: int = 0
    why: str = ""


def oldest_of_interest(trigger: ScheduleTrigger, seen_until: datetime, now: datetime) -> datetime:
    """Give the moment from which on due times matter: those before are missed whatever the policy.

    Bounds the work after a long time without the daemon.
    """
    window = timedelta() if trigger.catch_up is CatchUp.NONE else trigger.catch_up_window
    return max(seen_until, now - max(window, ON_TIME) - timedelta(microseconds=1))


def admit(
    trigger: ScheduleTrigger, due: tuple[datetime, ...], *, now: datetime, waiting: int = 0
) -> Admission:
    """Apply the catch-up policy to due times that came up since the schedule was last looked at.

    Args:
        trigger: the schedule.
        due: in order, all `<= now`.
        now: aware.
        waiting: how many admitted earlier wait for their turn.
    """
    timely = tuple(at for at in due if now - at <= ON_TIME)
    late = due[: len(due) - len(timely)]
    within = tuple(at for at in late if now - at <= trigger.catch_up_window)
    kept = {CatchUp.NONE: (), CatchUp.LATEST: within[-1:], CatchUp.ALL: within}[trigger.catch_up]
    room = max(0, MOST_WAITING - waiting)
    admitted = (*kept, *timely)
    full = len(admitted) - room
    reasons = []
    if len(late) > len(kept):
        reasons.append(f"{len(late) - len(kept)} passed while nobody looked (catchUp: {trigger.catch_up})")
    if full > 0:
        reasons.append(f"{full} came while {MOST_WAITING} waited for their turn")
    return Admission(
        admitted=admitted[:room], dropped=len(due) - len(admitted[:room]), why="; ".join(reasons)
    )


def still_waiting(
    trigger: ScheduleTrigger, job: str, waited: Iterable[datetime], *, now: datetime
) -> tuple[datetime, ...]:
    """Give those of the due times that waited when the daemon ended that wait on; the others were missed.

    Whatever stood in the queue for the end of something else keeps its place there. Who only waited for its own moment
    (jitter) has missed it if that has passed.
    """
    if trigger.overlap in (Overlap.QUEUE, Overlap.REPLACE):
        return tuple(waited)
    return tuple(due for due in waited if now - (due + delay(trigger, job, due)) <= ON_TIME)


def delay(trigger: ScheduleTrigger, job: str, due: datetime) -> timedelta:
    """Give by how much a start is put off: from 0 to below `jitter`, always the same for a job and due time."""
    if not trigger.jitter:
        return timedelta()
    digest = hashlib.blake2b(f"{job}/{due.timestamp():.0f}".encode(), digest_size=8).digest()
    return trigger.jitter * (int.from_bytes(digest) / 2**64)


class Turn(StrEnum):
    """What the oldest due time does now."""

    START = "Start"
    SKIP = "Skip"
    WAIT = "Wait"
    REPLACE = "Replace"


def turn(overlap: Overlap, *, live: int) -> Turn:
    """Decide by the scheduled executions of the job that live."""
    if live == 0 or overlap is Overlap.ALLOW:
        return Turn.START
    return {Overlap.FORBID: Turn.SKIP, Overlap.QUEUE: Turn.WAIT, Overlap.REPLACE: Turn.REPLACE}[overlap]


@dataclass(frozen=True, slots=True, kw_only=True)
class FireInputs:
    """All that the decision on a due time depends on.

    Attributes:
        due: the oldest due time that waits.
        at: the moment of the decision.
        live: the job's scheduled executions that have not ended.
        cut: what the limits of the whole daemon leave, where they leave less than one.
    """

    job: str
    trigger: ScheduleTrigger
    due: datetime
    at: datetime
    live: int
    generation: int = 1
    cut: Cut | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fired:
    """What became of a due time: started or not, and why."""

    launch: int
    reason: Reason


def is_due(inputs: FireInputs) -> bool:
    """Whether a due time is one of the schedule's, and is no longer put off."""
    due, trigger = inputs.due, inputs.trigger
    is_ours = due in due_between(trigger, due - timedelta(minutes=1), due)
    return is_ours and inputs.at >= due + delay(trigger, inputs.job, due)


def fire(inputs: FireInputs) -> Fired:
    """Decide on a due time that is no longer put off."""
    if turn(inputs.trigger.overlap, live=inputs.live) is not Turn.START:
        return Fired(launch=0, reason=Reason.OVERLAP)
    if inputs.cut is not None:
        return Fired(launch=0, reason=inputs.cut.reason)
    return Fired(launch=1, reason=Reason.LAUNCHED)
