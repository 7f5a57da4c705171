"""How late ticks are served: the latest ones by percentiles, all of them by counts that can be subtracted."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from itertools import accumulate
from typing import Final

LATEST: Final = 10_000
BOUNDS_S: Final = (
    0.001, 0.002, 0.003, 0.005, 0.007, 0.01, 0.015, 0.02, 0.03, 0.05,
    0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0,
)  # fmt: skip
"""Seconds; what is later than the last one is in no count."""


class Lateness:
    """Takes note of each tick."""

    def __init__(self) -> None:
        self._latest: deque[float] = deque(maxlen=LATEST)
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self.ticks = 0

    def note(self, seconds: float) -> None:
        """Count a tick that was so late, 0 or more."""
        self._latest.append(seconds)
        self._counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.ticks += 1

    def percentiles(self) -> tuple[float, float]:
        """Give the median and the 99th percentile of the latest ticks, seconds; zeros without any."""
        ordered = sorted(self._latest)
        if not ordered:
            return 0.0, 0.0
        return ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]

    def at_most(self) -> tuple[tuple[float, int], ...]:
        """Give for each bound (seconds) how many ticks were no later, since the beginning."""
        return tuple(zip(BOUNDS_S, accumulate(self._counts[:-1]), strict=True))
