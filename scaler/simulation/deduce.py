"""What a recorded trace tells of a load: when messages came in, how long executions took, how many failed.

A trace is read once and may be large, so only what this needs of it is kept.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from scaler.model.execution import Cause, ExecutionStatus
from scaler.model.sample import Sample
from scaler.planning.plan import RuleReading
from scaler.simulation.arrivals import Arrivals
from scaler.simulation.chance import Spans
from scaler.trace.lines import Arrival, Decided, Ended
from scaler.trace.read import Placed


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a trace tells.

    Attributes:
        begin: its first moment; `span_s`: seconds to its last one.
        arrivals: by (job, rule); the rule None stands for every rule of the job.
        work, start: times of executions by job: from start to end, and from decision to start.
        failing: share of a job's executions that failed.
    """

    begin: datetime
    span_s: float
    arrivals: Mapping[tuple[str, str | None], Arrivals]
    work: Mapping[str, Spans]
    start: Mapping[str, Spans]
    failing: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class _Look:
    """One reading: when, how many messages were there (in hands too), and how many an execution takes."""

    at: datetime
    there: float
    target: float


@dataclass(slots=True)
class _Ends:
    """How the executions of one job went, seconds."""

    done: list[datetime] = field(default_factory=list)
    work_s: list[float] = field(default_factory=list)
    start_s: list[float] = field(default_factory=list)
    statuses: Counter[ExecutionStatus] = field(default_factory=Counter)


class _Gathered:
    """What is kept of a trace."""

    def __init__(self) -> None:
        self.first: datetime | None = None
        self.last: datetime | None = None
        self.arrivals: list[Arrival] = []
        self.looks: dict[tuple[str, str], list[_Look]] = defaultdict(list)
        self.ends: dict[str, _Ends] = defaultdict(_Ends)

    def take(self, placed: Placed) -> None:
        entry = placed.entry
        if isinstance(entry, Arrival):
            self._seen(entry.at)
            self.arrivals.append(entry)
        elif isinstance(entry, Ended):
            self._seen(entry.created_at)
            self._seen(entry.ended_at)
            self._take_end(entry)
        else:
            self._seen(entry.inputs.at)
            if isinstance(entry, Decided):
                self._take_readings(entry)

    def _seen(self, at: datetime) -> None:
        self.first = at if self.first is None else min(self.first, at)
        self.last = at if self.last is None else max(self.last, at)

    def _take_readings(self, decided: Decided) -> None:
        inputs = decided.inputs
        for item in inputs.readings:
            if isinstance(item.reading, Sample):
                look = _Look(item.reading.as_of or inputs.at, _there(item, item.reading), item.target)
                self.looks[inputs.job, item.rule.name].append(look)

    def _take_end(self, ended: Ended) -> None:
        ends = self.ends[ended.job]
        if ended.status is ExecutionStatus.SUCCEEDED:
            ends.done.append(ended.ended_at)
        if ended.cause is Cause.EVENT and ended.started_at is not None:
            ends.statuses[ended.status] += 1
            ends.work_s.append(_seconds(ended.started_at, ended.ended_at))
            ends.start_s.append(_seconds(ended.created_at, ended.started_at))


def told_by(trace: Iterable[Placed]) -> Told:
    """Find out what came in when, and how long executions took.

    What comes in between two readings is what they differ by and what executions did in between: each that succeeded is
    taken to have done one target's worth. It is spread evenly over the time between.
    """
    seen = _Gathered()
    for placed in trace:
        seen.take(placed)
    if seen.first is None or seen.last is None:
        raise ValueError("an empty trace")
    found: dict[tuple[str, str | None], list[tuple[float, int]]] = defaultdict(list)
    for arrival in seen.arrivals:
        found[arrival.job, arrival.rule].append((_seconds(seen.first, arrival.at), arrival.count))
    for (job, rule), looks in seen.looks.items():
        found[job, rule] += _between(looks, sorted(seen.ends[job].done), seen.first)
    return Told(
        begin=seen.first,
        span_s=_seconds(seen.first, seen.last),
        arrivals={key: sorted(item) for key, item in found.items()},
        work={job: Spans(kind="seen", seen=ends.work_s) for job, ends in seen.ends.items() if ends.work_s},
        start={job: Spans(kind="seen", seen=ends.start_s) for job, ends in seen.ends.items() if ends.start_s},
        failing={
            job: ends.statuses[ExecutionStatus.FAILED] / ends.statuses.total()
            for job, ends in seen.ends.items()
            if ends.statuses
        },
    )


def _seconds(since: datetime, until: datetime) -> float:
    return max(0.0, (until - since).total_seconds())


def _between(looks: Sequence[_Look], done: Sequence[datetime], begin: datetime) -> list[tuple[float, int]]:
    """Deduce arrivals of one rule from its readings, and from when executions succeeded.

    A worker settles its message before its end is seen: what left the queue without an end is set against the next
    ends.
    """
    found: list[tuple[float, int]] = []
    before: datetime | None = None
    known, ahead, ended = 0.0, 0.0, 0
    for look in looks:
        if before is not None and look.at < before:
            continue
        gone = 0.0
        while ended < len(done) and done[ended] <= look.at:
            gone += max(1.0, look.target)
            ended += 1
        expected = max(0.0, known - max(0.0, gone - ahead))
        ahead = max(0.0, ahead - gone) + max(0.0, expected - look.there)
        new = round(look.there - expected)
        if new > 0:
            found += _spread(before or look.at, look.at, new, begin)
        before, known = look.at, look.there
    return found


def _there(item: RuleReading, sample: Sample) -> float:
    """Messages in the queue and in hands."""
    if sample.includes_taken:
        return sample.value
    return sample.value + max(sample.taken or 0.0, item.seen_held * item.target)


def _spread(since: datetime, until: datetime, count: int, begin: datetime) -> list[tuple[float, int]]:
    first, width = (since - begin).total_seconds(), (until - since) / timedelta(seconds=1)
    if width <= 0:
        return [(max(0.0, first), count)]
    return [(max(0.0, first + width * (number + 0.5) / count), 1) for number in range(count)]
