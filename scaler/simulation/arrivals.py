"""When messages come in: made up from a rate, written down, or told by a recorded trace."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from scaler.errors import ConfigError
from scaler.model.execution import Cause, ExecutionStatus
from scaler.model.sample import Sample
from scaler.planning.plan import RuleReading
from scaler.simulation.chance import UNITS, Spans, dice, read_span
from scaler.trace.lines import Arrival, Decided, Due, Ended, Entry
from scaler.trace.read import Trace

Arrivals = Sequence[tuple[float, int]]
"""Seconds from the beginning, and how many messages; in order."""

MOST_MESSAGES = 5_000_000
_FORMS = "write 10/m, 600/h@9h-17h (in that time only), 1000@0s (all at once), or several of them joined by +"
_BURST = re.compile(r"([0-9]+)@(\S+)")
_FLOW = re.compile(r"([0-9]+(?:\.[0-9]+)?)/(s|m|h|d)(?:@([^-\s]+)-(\S+))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Messages at random, so many a second on average, between two moments (None: to the end), seconds."""

    rate: float
    begin_s: float = 0.0
    end_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """So many messages at one moment."""

    count: int
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What comes in for one job, or one rule (`job/rule`); `target` None: for every rule."""

    target: str | None
    parts: tuple[Flow | Burst, ...]


def read_rate(text: str) -> Rate:
    """Read `[JOB[/RULE]=]PART[+PART…]`.

    Raises:
        ConfigError: it has another form.
    """
    target, equals, rest = text.rpartition("=")
    parts = tuple(_read_part(part.strip(), text) for part in rest.split("+"))
    return Rate(target=target if equals else None, parts=parts)


def _read_part(text: str, whole: str) -> Flow | Burst:
    what = f"--rate {whole}"
    if match := _BURST.fullmatch(text):
        return Burst(count=int(match[1]), at_s=read_span(match[2], what))
    if match := _FLOW.fullmatch(text):
        rate = float(match[1]) / UNITS[match[2]]
        if match[3] is None:
            return Flow(rate=rate)
        begin, end = read_span(match[3], what), read_span(match[4], what)
        if end <= begin:
            raise ConfigError(f"{what}: got '{text}'; the second time lies behind the first")
        return Flow(rate=rate, begin_s=begin, end_s=end)
    raise ConfigError(f"{what}: got '{text}'; {_FORMS}")


def draw(parts: Iterable[Flow | Burst], *, span_s: float, seed: int, name: str) -> Arrivals:
    """Draw arrivals within a span, the same ones for the same seed and name.

    Raises:
        ConfigError: there would be more than can be simulated.
    """
    found: list[tuple[float, int]] = []
    for number, part in enumerate(parts):
        if isinstance(part, Burst):
            found += [(part.at_s, part.count)] if part.at_s <= span_s and part.count else []
            continue
        chance, end = dice(seed, "arrivals", name, number), min(span_s, part.end_s or span_s)
        _refuse_too_many(part.rate * max(0.0, end - part.begin_s))
        at = part.begin_s
        while part.rate > 0:
            at += chance.expovariate(part.rate)
            if at > end:
                break
            found.append((at, 1))
    _refuse_too_many(sum(count for _at, count in found))
    return sorted(found)


def _refuse_too_many(count: float) -> None:
    if count > MOST_MESSAGES:
        text = f"{count:.0f} messages; at most {MOST_MESSAGES} can be simulated: lower --rate or --for"
        raise ConfigError(text)


# --- from a trace -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a trace tells of a load.

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


def told_by(trace: Trace) -> Told:
    """Find out what came in when, and how long executions took.

    What comes in between two readings is what they differ by and what executions did in between: each that succeeded is
    taken to have done one target's worth. It is spread evenly over the time between.
    """
    moments = [moment for placed in trace.entries for moment in _moments(placed.entry)]
    begin = min(moments)
    found: dict[tuple[str, str | None], list[tuple[float, int]]] = defaultdict(list)
    ends: dict[str, list[Ended]] = defaultdict(list)
    seen: dict[tuple[str, str], list[tuple[datetime, RuleReading]]] = defaultdict(list)
    for placed in trace.entries:
        entry = placed.entry
        if isinstance(entry, Arrival):
            found[entry.job, entry.rule].append(((entry.at - begin).total_seconds(), entry.count))
        elif isinstance(entry, Ended):
            ends[entry.job].append(entry)
        elif isinstance(entry, Decided):
            for item in entry.inputs.readings:
                seen[entry.inputs.job, item.rule.name].append((entry.inputs.at, item))
    for (job, rule), readings in seen.items():
        done = sorted(e.ended_at for e in ends[job] if e.status is ExecutionStatus.SUCCEEDED)
        found[job, rule] += _between(readings, done, begin)
    own = {job: [e for e in some if e.cause is Cause.EVENT and e.started_at] for job, some in ends.items()}
    return Told(
        begin=begin,
        span_s=(max(moments) - begin).total_seconds(),
        arrivals={key: sorted(item) for key, item in found.items()},
        work=_spans(own, lambda e: (e.ended_at, e.started_at)),
        start=_spans(own, lambda e: (e.started_at, e.created_at)),
        failing={
            job: sum(e.status is ExecutionStatus.FAILED for e in some) / len(some)
            for job, some in own.items()
            if some
        },
    )


def _moments(entry: Entry) -> tuple[datetime, ...]:
    if isinstance(entry, Decided | Due):
        return (entry.inputs.at,)
    return (entry.at,) if isinstance(entry, Arrival) else (entry.created_at, entry.ended_at)


def _spans(
    ends: Mapping[str, list[Ended]], between: Callable[[Ended], tuple[datetime | None, datetime | None]]
) -> dict[str, Spans]:
    found: dict[str, Spans] = {}
    for job, some in ends.items():
        pairs = [between(end) for end in some]
        seconds = [max(0.0, (until - since).total_seconds()) for until, since in pairs if until and since]
        if seconds:
            found[job] = Spans(kind="seen", seen=tuple(seconds))
    return found


def _between(
    readings: Sequence[tuple[datetime, RuleReading]], done: Sequence[datetime], begin: datetime
) -> list[tuple[float, int]]:
    """Deduce arrivals of one rule from its readings, and from when executions succeeded.

    A worker settles its message before its end is seen: what left the queue without an end is set against the next
    ends.
    """
    found: list[tuple[float, int]] = []
    before: datetime | None = None
    known, ahead, ended = 0.0, 0.0, 0
    for decided_at, item in readings:
        sample = item.reading
        at = (sample.as_of or decided_at) if isinstance(sample, Sample) else decided_at
        if not isinstance(sample, Sample) or (before is not None and at < before):
            continue
        gone = 0.0
        while ended < len(done) and done[ended] <= at:
            gone += max(1.0, item.target)
            ended += 1
        expected = max(0.0, known - max(0.0, gone - ahead))
        there = _there(item, sample)
        ahead = max(0.0, ahead - gone) + max(0.0, expected - there)
        new = round(there - expected)
        if new > 0:
            found += _spread(before or at, at, new, begin)
        before, known = at, there
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
