"""Lets requests to one source wait for their turn, so that a source gets no more of them a second than it may."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from typing import Final

from scaler.errors import PollError
from scaler.planning.turns import Ticket, Turns
from scaler.ports.clock import Clock

EXHAUSTED: Final = "BudgetExhausted"
"""Reason of a poll that did not get its turn: it speaks neither of the source nor of the rule."""

_SHORTEST_S: Final = 0.001
"""Below this a timer is late anyway, and rounding could make it wake up a moment too early, again and again."""


class _Queue:
    """Those who wait for one source."""

    def __init__(self, rate: float, clock: Clock) -> None:
        self.turns = Turns(rate)
        self._clock = clock
        self._woken: dict[Ticket, asyncio.Future[None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def turn(self, who: Hashable, patience_s: float, *, anew: bool) -> bool:
        """Wait for a turn; False if it did not come in time."""
        ticket = self.turns.join(who, self._clock.monotonic(), anew=anew)
        woken = self._woken[ticket] = asyncio.get_running_loop().create_future()
        try:
            self._serve()
            async with asyncio.timeout(max(0.0, patience_s)):
                await woken
        except TimeoutError:
            return False
        finally:
            self.turns.leave(ticket, self._clock.monotonic())
            self._woken.pop(ticket, None)
        return True

    def _serve(self) -> None:
        """Wake those whose turn it is, and see to it that the next ones are woken in time."""
        for ticket in self.turns.serve(self._clock.monotonic()):
            woken = self._woken.pop(ticket, None)
            if woken is not None and not woken.done():
                woken.set_result(None)
        if self._timer is not None:
            self._timer.cancel()
        wait_s = self.turns.wait_s(self._clock.monotonic())
        self._timer = None
        if wait_s is not None:
            self._timer = asyncio.get_running_loop().call_later(max(wait_s, _SHORTEST_S), self._serve)


class Budgets:
    """One budget for each source address; `rate` requests a second."""

    def __init__(self, clock: Clock, rate: float) -> None:
        self._clock = clock
        self._rate = rate
        self._queues: dict[str, _Queue] = {}

    async def turn(self, source: str, who: Hashable, patience_s: float, *, anew: bool) -> None:
        """Wait until `who` may send one request to the source, for `patience_s` seconds at most.

        `anew` tells the first request of a poll from further ones, which keep its place.

        Raises:
            PollError: `BudgetExhausted`, the turn did not come in time.
        """
        queue = self._queues.get(source)
        if queue is None:
            queue = self._queues[source] = _Queue(self._rate, self._clock)
        if not await queue.turn(who, patience_s, anew=anew):
            text = (
                f"{source}: no turn within {patience_s:.1f} s, for only {self._rate:g} requests a second are allowed; "
                "raise limits.sourceRequests of the daemon's settings, or pollingInterval"
            )
            raise PollError(text, reason=EXHAUSTED)
