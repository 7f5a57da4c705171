"""Which rows of samples must be flat, from when on, and within what bound. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from scaler.soak.account import Verdict
from scaler.soak.notes import Notes, Sample
from scaler.soak.slopes import Bound, Slope, longest, slope

MIB: Final = float(1 << 20)
WARM_SHARE: Final = 0.3
WARM_LEAST_S: Final = 20.0
WARM_MOST_S: Final = 300.0
PRUNE_S: Final = 35.0
"""A daemon drops what is too old half a minute after its start, and each half minute then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One thing that is judged. `by_start`: within the longest stretch between two starts of the daemon."""

    name: str
    unit: str
    of: Callable[[Sample], float | None]
    bound: Bound
    by_start: bool


def _mib(value: int | None) -> float | None:
    return None if value is None else value / MIB


def _own_descriptors(one: Sample) -> float | None:
    """Leave out what the load explains: a descriptor for each worker that lives."""
    return None if one.fds is None or one.workers is None else one.fds - one.workers


ROWS: Final = (
    Row(
        name="memory",
        unit="MiB",
        of=lambda one: _mib(one.rss),
        bound=Bound(
            per_minute=0.1,
            in_all=8.0,
            why="6 MiB an hour would be a leak; heap and pools settle within 8 MiB, slower the longer it runs",
        ),
        by_start=True,
    ),
    Row(
        name="file descriptors",
        unit="",
        of=_own_descriptors,
        bound=Bound(
            per_minute=0.1,
            in_all=6.0,
            why="less one for each worker, whose end is waited for by it; connections come and go",
        ),
        by_start=True,
    ),
    Row(
        name="threads",
        unit="",
        of=lambda one: one.threads,
        bound=Bound(
            per_minute=0.05,
            in_all=6.0,
            why="the interpreter's pool has up to cores + 4 threads, each made when one more is needed",
        ),
        by_start=True,
    ),
    Row(
        name="database",
        unit="MiB",
        of=lambda one: one.db / MIB,
        bound=Bound(
            per_minute=0.05,
            in_all=1.0,
            why="its bounds are reached after warm-up but for the rarest jobs, whose records are a few KiB a minute",
        ),
        by_start=False,
    ),
    Row(
        name="write-ahead log",
        unit="MiB",
        of=lambda one: one.wal / MIB,
        bound=Bound(
            per_minute=0.05,
            in_all=4.5,
            why="it is written anew from its beginning once it has 1,000 pages (4 MiB)",
        ),
        by_start=False,
    ),
    Row(
        name="logs",
        unit="MiB",
        of=lambda one: one.logs / MIB,
        bound=Bound(
            per_minute=0.05, in_all=3.0, why="they go with their executions and by history.logBytes, 1 MiB"
        ),
        by_start=False,
    ),
    Row(
        name="other files",
        unit="MiB",
        of=lambda one: one.other / MIB,
        bound=Bound(per_minute=0.05, in_all=1.0, why="records of replicas that run, a few KiB each"),
        by_start=False,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A row with the stretch that was judged, and its slope; None if there were too few samples."""

    row: Row
    since: float
    until: float
    slope: Slope | None


def growth(notes: Notes) -> tuple[Judged, ...]:
    """Judge each row over the load, after its warm-up."""
    return tuple(_judged(row, notes) for row in ROWS)


def _judged(row: Row, notes: Notes) -> Judged:
    end = notes.load_until
    starts = [at for at in notes.starts if at < end] or [0.0]
    begin, until = longest(starts, end) if row.by_start else (0.0, end)
    since = begin + min(WARM_MOST_S, max(WARM_LEAST_S, WARM_SHARE * (until - begin)))
    if not row.by_start:
        since = max(since, _first_pruning(starts, end))
    points = [
        (one.at_s, value)
        for one in notes.samples
        if since <= one.at_s <= until and (value := row.of(one)) is not None
    ]
    return Judged(row=row, since=since, until=until, slope=slope(points, row.bound))


def _first_pruning(starts: Sequence[float], end: float) -> float:
    """Give when a daemon had lived long enough to drop what is too old: before, the past has no bound."""
    lives = pairwise([*starts, end])
    return next((begin + PRUNE_S for begin, until in lives if until - begin >= PRUNE_S), end)


def verdict(judged: Judged) -> Verdict:
    """Say whether it is flat, and why."""
    row, found, unit = judged.row, judged.slope, judged.row.unit
    name = f"flat: {row.name}"
    if found is None:
        text = f"too few samples between {judged.since:.0f} and {judged.until:.0f} s"
        return Verdict(name=name, ok=None, text=text)
    text = (
        (
            f"{found.per_minute:+.3f} {unit}/min from {found.first:.2f} to {found.last:.2f} {unit}, "
            f"{judged.since:.0f}-{judged.until:.0f} s; noise {found.noise:.2f} {unit} could show "
            f"{found.pretended:.3f}; bound {found.bound:.3f}"
        )
        .replace(" /", "/")
        .replace(" ,", ",")
        .replace(" ;", ";")
    )
    amount = f"{found.per_minute:.3f} {unit}".rstrip()
    breaches = () if found.is_flat else (f"{row.name}: grows by {amount} a minute",)
    return Verdict(name=name, ok=found.is_flat, text=text, breaches=breaches)
