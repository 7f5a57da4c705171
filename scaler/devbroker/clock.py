"""Time for the broker: what o'clock it is, and calls that happen later.

All timers of a broker are made here, so that closing it cancels every one of them.
"""

import asyncio
import time
from collections.abc import Callable


class Clock:
    """Wall clock plus the timers of one broker; use only inside its event loop."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        """Make a clock; `now` gives seconds since 1970."""
        self.now = now
        self._timers: set[Timer] = set()
        self._closed = False

    def later(self, delay_s: float, call: Callable[[], None]) -> "Timer":
        """Run `call` once after `delay_s` seconds (at once in the next turn when not positive)."""
        timer = Timer(self._timers, call)
        if not self._closed:
            timer.start(max(delay_s, 0.0))
        return timer

    @property
    def pending(self) -> int:
        """Timers that have neither fired nor been cancelled."""
        return len(self._timers)

    def close(self) -> None:
        """Cancel every timer; later ones never fire."""
        self._closed = True
        for timer in tuple(self._timers):
            timer.cancel()


class Timer:
    """One call in the future."""

    __slots__ = ("_call", "_handle", "_register")

    def __init__(self, register: "set[Timer]", call: Callable[[], None]) -> None:
        """Use `Clock.later` instead."""
        self._register, self._call = register, call
        self._handle: asyncio.TimerHandle | None = None

    def start(self, delay_s: float) -> None:
        """Arm the timer on the running loop."""
        self._handle = asyncio.get_running_loop().call_later(delay_s, self._fire)
        self._register.add(self)

    def cancel(self) -> None:
        """Forget the call; harmless when it has already happened."""
        self._register.discard(self)
        if self._handle is not None:
            self._handle.cancel()

    def _fire(self) -> None:
        self._register.discard(self)
        self._call()
