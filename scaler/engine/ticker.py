"""A fixed cadence without drift: late ticks are skipped, never queued."""

from __future__ import annotations


class Ticker:
    """Due times at `start + n x interval`, on the monotonic clock."""

    def __init__(self, *, start: float, interval_s: float) -> None:
        self.interval_s = interval_s
        self.due = start

    def fired(self, now: float) -> float:
        """Note that the due tick is being served; give its lateness in seconds and set the next due time."""
        lateness = max(0.0, now - self.due)
        missed = int(lateness // self.interval_s)
        self.due += (missed + 1) * self.interval_s
        return lateness
