"""Writes log lines where nobody may be reading: a line that cannot be written is dropped, never an error."""

from __future__ import annotations

import os
import select
from collections.abc import Callable

_WAIT_MS = 1000  # for a reader that is slow; spent once, then only lines that fit at once are written
_PIECE = select.PIPE_BUF  # what a pipe that can be written to takes without blocking


class PatientLines:
    """A text stream on a file descriptor whose `write` neither raises nor hangs.

    A full disk, a closed pipe and a reader that has stopped reading all end the same way: the line is
    dropped and counted. Once a line can be written again, `notice` of the number goes before it.
    """

    def __init__(self, descriptor: int, notice: Callable[[int], str]) -> None:
        self._descriptor = descriptor
        self._notice = notice
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._dropped = 0
        self._torn = False

    def write(self, text: str) -> int:
        """Write it, or drop it."""
        before = ("\n" if self._torn else "") + (self._notice(self._dropped) if self._dropped else "")
        if self._put((before + text).encode("utf-8", "backslashreplace")):
            self._dropped = 0
        elif text.strip():
            self._dropped += 1
        return len(text)

    def flush(self) -> None:
        """Nothing is kept back, so there is nothing to do."""

    def _put(self, data: bytes) -> bool:
        """Say whether all of it was written; part of it may have been."""
        wait_ms = 0 if self._dropped else _WAIT_MS
        try:
            while data:
                if not self._poll.poll(wait_ms):
                    return False
                data = self._take(data)
        except OSError:
            return False
        self._torn = False
        return True

    def _take(self, data: bytes) -> bytes:
        written = os.write(self._descriptor, data[:_PIECE])
        self._torn = True
        return data[written:]
