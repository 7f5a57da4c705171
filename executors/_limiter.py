"""Finds out how many launches at once an engine bears, and lets no more through.

An engine that is asked for too much at once gets slower for everybody. So the bound follows what is
measured: it grows by one for a full round of launches that were not slower than usual, and shrinks by
a quarter when they were (additive increase, multiplicative decrease).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

_REMEMBERED = 64
_TOLERANCE = 3.0  # launches at once share the engine: a little slower each is still faster in all
_DECREASE = 0.75


class Aimd:
    """The arithmetic: a bound between `least` and `upper`, moved by observed latencies. No clock, no waiting.

    `least` must be worth its name: on a machine that others load too, latencies scatter by more than the
    tolerance whatever we do, and the bound rests there.
    """

    def __init__(self, *, upper: int, start: int = 4, least: int = 1) -> None:
        self._upper = float(upper)
        self._least = float(min(least, upper))
        self._bound = float(min(start, upper))
        self._latencies: dict[str, deque[float]] = {}
        self._since_decrease = 0

    @property
    def bound(self) -> int:
        """How many may be under way at once; at least 1."""
        return max(1, int(self._bound))

    def observe(self, latency_s: float, *, in_flight: int, kind: str = "") -> None:
        """Take in one launch that succeeded.

        Args:
            latency_s: how long it took.
            in_flight: how many were under way when it began, itself included. Unless that was the bound,
                nothing is learnt about a higher one.
            kind: launches of one kind are compared with each other only.
        """
        latencies = self._latencies.setdefault(kind, deque(maxlen=_REMEMBERED))
        latencies.append(latency_s)
        self._since_decrease += 1
        if latency_s > min(latencies) * _TOLERANCE:
            if self._since_decrease >= self.bound:  # one decrease a round: its launches share one cause
                self._bound = max(self._least, self._bound * _DECREASE)
                self._since_decrease = 0
        elif in_flight >= self.bound:
            self._bound = min(self._upper, self._bound + 1.0 / self._bound)


@dataclass(slots=True)
class Slot:
    """One launch under way; its kind may be told while it is."""

    kind: str = ""


class Limiter:
    """Lets as many through at once as its `Aimd` says; the others wait in order of arrival."""

    def __init__(self, rule: Aimd) -> None:
        self.rule = rule
        self._in_flight = 0
        self._queue: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[Slot]:
        """Hold one place. The time from entry to a normal exit is what the rule learns from."""
        await self._enter()
        in_flight, began = self._in_flight, asyncio.get_running_loop().time()
        slot = Slot()
        try:
            yield slot
            took = asyncio.get_running_loop().time() - began
            self.rule.observe(took, in_flight=in_flight, kind=slot.kind)
        finally:
            self._leave()

    async def _enter(self) -> None:
        if self._in_flight < self.rule.bound and not self._queue:
            self._in_flight += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                with suppress(ValueError):
                    self._queue.remove(turn)
            else:
                self._leave()  # our turn came in the same moment: pass it on
            raise

    def _leave(self) -> None:
        self._in_flight -= 1
        while self._queue and self._in_flight < self.rule.bound:
            turn = self._queue.popleft()
            if not turn.done():
                self._in_flight += 1
                turn.set_result(None)
