"""Spaces polls outside the cadence, per source, so that a burst of ends is not a burst of requests."""

from __future__ import annotations

from collections.abc import Iterable


class Pace:
    """Remembers when each source was last asked out of turn, on the monotonic clock."""

    def __init__(self, *, gap_s: float) -> None:
        self._gap = gap_s
        self._next: dict[str, float] = {}

    def wait_for(self, sources: Iterable[str], now: float) -> float:
        """Give the seconds until all of the sources may be asked; 0 reserves them now."""
        names = list(sources)
        wait = max((self._next.get(name, 0.0) - now for name in names), default=0.0)
        if wait > 0:
            return wait
        for name in names:
            self._next[name] = now + self._gap
        return 0.0
