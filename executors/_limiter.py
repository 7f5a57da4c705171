"""Finds out how many launches at once an engine bears, and lets no more through.

Launches at once share the engine, so each takes longer although all together are done sooner: the time of one says
little. What counts is how many an engine gets through in a second, which is how many are under way by how long each
takes. The bound grows for as long as that rate does not fall, and shrinks when it has collapsed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

_ROUNDS = 8  # remembered: an engine that others load as well gets slower, and that is not to count for ever
_GOOD = 0.8  # of the best rate: as good, for rates scatter
_BAD = 0.5
_DECREASE = 0.75


class Climb:
    """The arithmetic: a bound between `least` and `upper`, moved by observed launches. No clock, no waiting.

    A round is as many launches as are allowed at once, begun while half as many or more were under way. At first half a
    round is enough, and a good one doubles the bound, so that a burst need not wait for the search; after the first
    that was not good, a good one adds one.

    `least` must be worth its name: on a machine that others load too, rates collapse whatever we do, and the bound
    rests there.
    """

    def __init__(self, *, upper: int, start: int = 8, least: int = 1) -> None:
        self._upper = upper
        self._least = min(least, upper)
        self._rates: dict[str, deque[float]] = {}
        self._seen: dict[str, list[tuple[float, int]]] = {}
        self._is_opening = True
        self.bound = min(start, upper)
        """How many may be under way at once; at least 1."""

    def observe(self, latency_s: float, *, in_flight: int, kind: str = "") -> None:
        """Take in one launch that succeeded.

        Args:
            latency_s: how long it took.
            in_flight: how many were under way when it began, itself included. Fewer than half the bound teach nothing:
                the engine had less to do than it may get.
            kind: launches of one kind are compared with each other only.
        """
        if in_flight * 2 < self.bound:
            return
        seen = self._seen.setdefault(kind, [])
        seen.append((latency_s, in_flight))
        if len(seen) >= (self.bound // 2 if self._is_opening else self.bound):
            rate = sum(count for _, count in seen) / max(sum(took for took, _ in seen), 1e-9)
            seen.clear()
            self._judge(rate, self._rates.setdefault(kind, deque(maxlen=_ROUNDS)))

    def _judge(self, rate: float, rates: deque[float]) -> None:
        rates.append(rate)
        best = max(rates)
        if rate >= best * _GOOD:
            self.bound = min(self._upper, self.bound * 2 if self._is_opening else self.bound + 1)
            return
        self._is_opening = False
        if rate < best * _BAD:
            self.bound = max(self._least, int(self.bound * _DECREASE))


@dataclass(slots=True)
class Slot:
    """One launch under way; its kind may be told while it is."""

    kind: str = ""


class Limiter:
    """Lets as many through at once as its `Climb` says; the others wait in order of arrival."""

    def __init__(self, rule: Climb) -> None:
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
