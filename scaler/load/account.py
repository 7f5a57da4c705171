"""What a run comes to: sums and percentiles of what was sent, reported and seen. Pure."""

from __future__ import annotations

import heapq
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_UNDER_WAY = ("Processing", "Running")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One look. What the daemon did not tell is None, never 0.

    Attributes:
        at_s: seconds since the first message.
        sent: messages sent until then.
        done: messages done until then, each counted once.
        depth: the daemon's latest reading of the queue.
        running: executions that are starting or running.
    """

    at_s: float
    sent: int
    done: int
    depth: int | None
    running: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one worker said: which message it worked on (None: it found none), and when (seconds since 1970)."""

    id: str | None
    started: float
    reported: float
    is_poison: bool


@dataclass(slots=True, kw_only=True)
class Notes:
    """All that is noted during a run of one job; whoever floods adds to it.

    Attributes:
        sent: id of each good message to when it was handed to the broker (seconds since 1970).
        poison: ids of the messages that fail.
        executions: seconds that each execution of the run took.
        statuses: executions of the run by status.
        faults: what went wrong on the way.
    """

    job: str
    kind: str
    max_executions: int
    sent: dict[str, float] = field(default_factory=dict)
    poison: set[str] = field(default_factory=set)
    reports: list[Report] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    executions: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    interrupted: bool = False

    def done(self) -> int:
        """How many good messages are done."""
        return len({report.id for report in self.reports if report.id in self.sent})

    def is_drained(self) -> bool:
        """Whether every good message is done; of nothing but poison, whether each was tried."""
        return (self.sent.keys() or self.poison) <= {report.id for report in self.reports}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The sums. Seconds and counts; None where nothing is known.

    Attributes:
        sent: good messages that the broker took; `poison` are beside them.
        done: good messages that a worker reported, each once.
        duplicates: further reports of good messages.
        lost: good messages that were sent and not reported until the end.
        poison_tries: reports of poison messages.
        empty: executions that found no message.
        executions: executions that ended or ran.
        wasted: executions that ended beyond one for each message that was done.
        peak: most executions that were seen at once.
        wait_p50_s: from sending a message to the start of the worker that did it first.
        drain_s: from the first message sent to the last one reported.
        ideal_s: the same if each message had been taken at once by a free one of `max_executions` slots, for as long
            as executions took on average.
        work_s: the same with the work in the messages alone, as if starting cost nothing.
    """

    job: str
    kind: str
    max_executions: int
    sent: int
    poison: int
    done: int
    duplicates: int
    lost: int
    poison_tries: int
    empty: int
    executions: int
    wasted: int
    statuses: Mapping[str, int]
    peak: int | None
    wait_p50_s: float | None
    wait_p99_s: float | None
    drain_s: float | None
    ideal_s: float | None
    work_s: float | None
    interrupted: bool
    faults: tuple[str, ...]

    @property
    def sums_up(self) -> bool:
        """Whether every good message was done and never more ran than may."""
        return not (self.lost or self.interrupted or self.faults or (self.peak or 0) > self.max_executions)


def account(notes: Notes, *, think_s: float) -> Outcome:
    """Sum up."""
    good = [report for report in notes.reports if report.id in notes.sent]
    first: dict[str, Report] = {}
    for report in sorted(good, key=lambda one: one.reported):
        first.setdefault(str(report.id), report)
    waits = sorted(max(0.0, one.started - notes.sent[name]) for name, one in first.items())
    peaks = [one.running for one in notes.samples if one.running is not None]
    executions = sum(notes.statuses.values())
    ended = executions - sum(notes.statuses[status] for status in _UNDER_WAY)
    mean = sum(notes.executions) / len(notes.executions) if notes.executions else None
    sent_at, slots = sorted(notes.sent.values()), notes.max_executions
    return Outcome(
        job=notes.job,
        kind=notes.kind,
        max_executions=slots,
        sent=len(notes.sent),
        poison=len(notes.poison),
        done=len(first),
        duplicates=len(good) - len(first),
        lost=len(notes.sent) - len(first),
        poison_tries=sum(1 for one in notes.reports if one.is_poison and one.id in notes.poison),
        empty=sum(1 for one in notes.reports if one.id is None),
        executions=executions,
        wasted=max(0, ended - len(first)),
        statuses=dict(notes.statuses),
        peak=max(peaks, default=None),
        wait_p50_s=_percentile(waits, 0.5),
        wait_p99_s=_percentile(waits, 0.99),
        drain_s=max(one.reported for one in first.values()) - sent_at[0] if first else None,
        ideal_s=None if mean is None else ideal(sent_at, mean, slots),
        work_s=ideal(sent_at, think_s, slots),
        interrupted=notes.interrupted,
        faults=tuple(notes.faults),
    )


def ideal(sent_at: Sequence[float], each_s: float, slots: int) -> float | None:
    """Give the seconds from the first message to the last end, if free slots took messages as they came."""
    if not sent_at or slots < 1:
        return None
    free = [sent_at[0]] * slots
    end = sent_at[0]
    for at in sent_at:
        end_of_this = max(at, heapq.heappop(free)) + each_s
        heapq.heappush(free, end_of_this)
        end = max(end, end_of_this)
    return end - sent_at[0]


def read_report(text: str, *, run: str) -> Report | None:
    """Read a worker's report; None if it is of another run or no report at all.

    A report of an empty queue names no message, so whichever run is on takes it for its own.
    """
    try:
        found: Any = json.loads(text)
        name = found["id"]
        report = Report(
            id=None if name is None else str(name),
            started=float(found["startedAt"]),
            reported=float(found["reportedAt"]),
            is_poison=bool(found.get("poison", False)),
        )
    except (ValueError, TypeError, KeyError):
        return None
    return report if report.id is None or report.id.startswith(f"{run}/") else None


def _percentile(ordered: Sequence[float], share: float) -> float | None:
    """Give the smallest value that so many are not above (nearest rank)."""
    if not ordered:
        return None
    rank = max(1, -(-int(share * 1_000_000) * len(ordered) // 1_000_000))
    return ordered[rank - 1]


def total(outcomes: Iterable[Outcome]) -> Mapping[str, int]:
    """Add up what can be added up over several jobs."""
    sums: Counter[str] = Counter()
    for one in outcomes:
        for name in ("sent", "poison", "done", "duplicates", "lost", "empty", "executions", "wasted"):
            sums[name] += getattr(one, name)
    return dict(sums)
