"""Who may ask a source next when only so many requests a second are allowed. Decides; waits for nobody."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from dataclasses import dataclass, field
from itertools import count

BURST_S = 0.1
"""Requests of so many seconds may go at once: waking up for each single one would cost more than it smooths."""

GATHER_S = 0.5
"""How long a new line waits for those who last left unserved: rules of one cadence come at about the same time, and
whoever is the first of them each time must not find the others' tokens."""
RETURN_S = 120.0
"""Who has not come back by then is waited for no longer, seconds."""


@dataclass(slots=True, eq=False)
class Ticket:
    """One request that waits for its turn. `is_over` once it was served or has left."""

    who: Hashable
    is_over: bool = False


@dataclass(slots=True)
class Turns:
    """A bucket of tokens for one source, and those who wait for one.

    The next token is for whoever was served longest ago; of several who never were, for who came first. To
    leave unserved costs nobody the place that the time since the last service gives, so that everybody who goes
    on asking is served equally often, however many ask and however short each one's patience is. Who needs
    several requests for one answer keeps the place of the first for all of them, or nobody would get an answer.

    In any t seconds at most `rate * t + max(1, rate * BURST_S)` are served. Times are seconds of one monotonic
    clock.
    """

    rate: float
    _tokens: float = field(init=False)
    _filled_at: float | None = None
    _waiting: list[tuple[int, int, Ticket]] = field(default_factory=list)
    _served: dict[Hashable, int] = field(default_factory=dict)
    _places: dict[Hashable, int] = field(default_factory=dict)
    _hungry: dict[Hashable, float] = field(default_factory=dict)
    _began_at: float = 0.0
    _numbers: count[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        self._tokens = self._most

    @property
    def _most(self) -> float:
        return max(1.0, self.rate * BURST_S)

    def join(self, who: Hashable, now: float, *, anew: bool = True) -> Ticket:
        """Wait for a turn, `anew` or for one more request of the same answer; `serve` tells when it has come."""
        ticket = Ticket(who)
        if not self._drop_gone():
            self._began_at = now
        self._hungry.pop(who, None)
        if anew or who not in self._places:
            self._places[who] = self._served.get(who, 0)
        heapq.heappush(self._waiting, (self._places[who], next(self._numbers), ticket))
        return ticket

    def leave(self, ticket: Ticket, now: float) -> None:
        """Wait no longer; of no effect once served."""
        if not ticket.is_over:
            ticket.is_over = True
            self._hungry[ticket.who] = now

    def serve(self, now: float) -> list[Ticket]:
        """Take those whose turn has come, each with its token."""
        self._fill(now)
        found: list[Ticket] = []
        while self._tokens >= 1.0 and self._drop_gone() and self._gather_s(now) <= 0.0:
            ticket = heapq.heappop(self._waiting)[2]
            ticket.is_over = True
            self._served[ticket.who] = next(self._numbers)
            self._tokens -= 1.0
            found.append(ticket)
        return found

    def wait_s(self, now: float) -> float | None:
        """Give the seconds until `serve` has something to do; None if nobody waits."""
        if not self._drop_gone():
            return None
        self._fill(now)
        return max(0.0, (1.0 - self._tokens) / self.rate, self._gather_s(now))

    def _gather_s(self, now: float) -> float:
        """Give the seconds for which this line still waits for others."""
        while self._hungry and now - next(iter(self._hungry.values())) > RETURN_S:
            self._hungry.pop(next(iter(self._hungry)))
        return self._began_at + GATHER_S - now if self._hungry else 0.0

    def _fill(self, now: float) -> None:
        since = now if self._filled_at is None else self._filled_at
        self._tokens = min(self._most, self._tokens + max(0.0, now - since) * self.rate)
        self._filled_at = max(now, since)

    def _drop_gone(self) -> bool:
        """Forget those who left; whether anybody waits."""
        while self._waiting and self._waiting[0][2].is_over:
            heapq.heappop(self._waiting)
        return bool(self._waiting)
