"""Whether a row of samples grows: a robust slope, what the noise alone could pretend, and a bound. Pure.

The slope is that of Theil and Sen, the median of the slopes of all pairs, which a few wild samples do not move. The
noise is the median distance from that line. Noise that comes in waves can tilt a line by twice its size over the time
that is judged, so that much is taken off the slope before it is held against the bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Final

MOST_POINTS: Final = 300
"""Points of which all pairs are compared; longer rows are thinned by medians of neighbours."""
LEAST_POINTS: Final = 20
_WAVES: Final = 2.0

Points = Sequence[tuple[float, float]]
"""Moments (seconds) and values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """How much growth is none.

    Attributes:
        per_minute: what may be, however long one looks.
        in_all: what may be in one stretch that is judged: things settle after a start, and a short stretch shows that
            as a slope.
        why: the reason, for people.
    """

    per_minute: float
    in_all: float
    why: str

    def over(self, seconds: float) -> float:
        """Give the bound of a stretch, per minute."""
        return max(self.per_minute, self.in_all / (seconds / 60))


@dataclass(frozen=True, slots=True, kw_only=True)
class Slope:
    """What a row of samples says.

    Attributes:
        per_minute: the slope.
        noise: the median distance of the samples from the line.
        pretended: the slope that the noise alone could show over this time, per minute.
        bound: the bound, per minute.
        seconds: the time between the first and the last sample.
        points: how many samples were judged.
        first, last: the line's value at both ends.
    """

    per_minute: float
    noise: float
    pretended: float
    bound: float
    seconds: float
    points: int
    first: float
    last: float

    @property
    def is_flat(self) -> bool:
        """Whether it grows no more than the bound, by all that can be told."""
        return self.per_minute - self.pretended <= self.bound


def slope(points: Points, bound: Bound) -> Slope | None:
    """Judge a row of samples; None if they are too few to say anything."""
    if len(points) < LEAST_POINTS or points[-1][0] <= points[0][0]:
        return None
    row = _thinned(points)
    gradient = median(
        (y2 - y1) / (x2 - x1) for n, (x1, y1) in enumerate(row) for x2, y2 in row[n + 1 :] if x2 > x1
    )
    offset = median(y - gradient * x for x, y in row)
    noise = median(abs(y - offset - gradient * x) for x, y in points)
    seconds = points[-1][0] - points[0][0]
    return Slope(
        per_minute=gradient * 60,
        noise=noise,
        pretended=_WAVES * noise / seconds * 60,
        bound=bound.over(seconds),
        seconds=seconds,
        points=len(points),
        first=offset + gradient * points[0][0],
        last=offset + gradient * points[-1][0],
    )


def longest(starts: Sequence[float], end: float) -> tuple[float, float]:
    """Give the longest stretch between starts, the last one up to the end; of equal ones the last."""
    stretches = list(pairwise([*starts, end]))
    return max(reversed(stretches), key=lambda one: one[1] - one[0])


def _thinned(points: Points) -> Points:
    size = -(-len(points) // MOST_POINTS)
    parts = [points[n : n + size] for n in range(0, len(points), size)]
    return [(median(x for x, _ in part), median(y for _, y in part)) for part in parts]
