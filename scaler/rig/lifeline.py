"""Ties a child to whoever measures: if that one is killed, nobody else would ever end what it had started."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None)


def tied() -> Callable[[], None]:
    """Give what a child is to run before its program: the system then asks it to end when its parent is dead.

    Its parent is the thread that starts it, so that must be one which lives as long as the child shall. What the
    child itself starts is not tied. Linux only; elsewhere nothing is tied.
    """
    parent = os.getpid()

    def tie() -> None:
        if sys.platform == "linux":
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
            if os.getppid() != parent:  # it died before it could be heard of
                os._exit(1)

    return tie
