"""What our own records say of a job's event executions: the other half of what a decision is made on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """This job's event executions.

    Attributes:
        running: not ended, the starting ones included.
        pending: those of them that have no running replica yet.
        ended: when recent ones were seen to end; must reach back as far as any source lags. One may be put in
            late, with a moment that lies before a reading that was taken into account without it.
        forgotten: how many more ended, before all of those.
        held: keys of the shares that those not ended were handed.
        released: keys of the shares that those of `ended` were handed, and when they ended.
        elsewhere: those of `running` that were begun for another source: they have slots here, but no message.
    """

    running: int
    pending: int
    ended: tuple[datetime, ...] = ()
    forgotten: int = 0
    held: frozenset[str] = frozenset()
    released: tuple[tuple[str, datetime], ...] = ()
    elsewhere: int = 0

    def ended_since(self, moment: datetime) -> int:
        """How many ended at or after a moment."""
        return sum(1 for at in self.ended if at >= moment)

    def ended_until(self, moment: datetime) -> int:
        """How many ended up to a moment, since counting began."""
        return self.forgotten + sum(1 for at in self.ended if at <= moment)

    def holders_since(self, moment: datetime) -> frozenset[str]:
        """Keys of the shares that were in the hands of an execution at a moment or later."""
        return self.held | {key for key, at in self.released if at >= moment}

    def unshared_since(self, moment: datetime) -> int:
        """How many executions of a moment or later had no share of their own: they may work on any."""
        released = sum(1 for _key, at in self.released if at >= moment)
        return self.running - len(self.held) + self.ended_since(moment) - released


NO_COUNTS = Counts(running=0, pending=0)
"""Of a job of which nothing runs and nothing has ended: most jobs, most of the time."""
