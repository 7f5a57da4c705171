"""That a job is suspended: nothing of it starts until somebody resumes it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspension:
    """Who suspended a job, and when."""

    by: str
    at: datetime

    def __str__(self) -> str:
        return f"suspended by {self.by} at {self.at:%Y-%m-%dT%H:%M:%SZ}"
