"""Lets Ctrl-C end the demo at points of its own choosing, so that it always knows what it has to tidy up."""

from __future__ import annotations

import signal
import time
from types import FrameType, TracebackType
from typing import Any, Self

_STEP_S = 0.05


class Interrupted(Exception):
    """The user (or the system) wants the demo to end.

    Attributes:
        exit_code: what a shell expects then: 128 and the number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


class Signals:
    """Takes note of INT, TERM and HUP while it is open; those that were ignored stay so."""

    def __init__(self) -> None:
        self._came: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._came = number

    def check(self) -> None:
        """Raise `Interrupted` if a signal has come."""
        if self._came is not None:
            raise Interrupted(self._came)

    def pause(self, seconds: float) -> None:
        """Wait; a signal ends it by `Interrupted`."""
        end = time.monotonic() + seconds
        self.check()
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _STEP_S))
            self.check()
