"""The only time in the system."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time, elapsed time and sleep, which tests replace together."""

    def now(self) -> datetime:
        """Aware UTC time that never runs backwards within a process."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary start."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; 0 or less yields once."""
        ...
