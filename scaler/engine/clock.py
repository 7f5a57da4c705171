"""The real clock: wall time that never runs backwards within a process."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta


class SystemClock:
    """Wall time anchored once and carried on by the monotonic clock.

    A jump of the host's clock therefore neither ends executions early nor makes a reading look older
    than an execution that ended before it.
    """

    def __init__(self) -> None:
        self._wall = datetime.now(UTC)
        self._start = time.monotonic()

    def now(self) -> datetime:
        """Aware UTC time."""
        return self._wall + timedelta(seconds=time.monotonic() - self._start)

    @staticmethod
    def wall() -> datetime:
        """What the host's clock shows now, aware UTC; it jumps when somebody sets it, and after a sleep."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since an arbitrary start."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait; 0 or less yields once."""
        await asyncio.sleep(max(0.0, seconds))
