"""Workers that are processes: what they did with each message, and their end when their daemon is gone."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from scaler.rig.daemon import RigError

GONE_S: Final = 10.0


def check_once(journal: Iterable[Sequence[str]], wanted: Iterable[str]) -> None:
    """See by the workers' own notes that each message was taken and done once. Pure.

    Raises:
        RigError: one was not; with what its workers noted.
    """
    lines = list(journal)
    did = Counter((word, message) for word, _replica, message in lines)
    for message in wanted:
        taken, done = did["took", message], did["done", message]
        if (taken, done) != (1, 1):
            noted = ", ".join(f"{word} by {replica}" for word, replica, name in lines if name == message)
            raise RigError(f"{message} was taken {taken} times and done {done} times: {noted or 'no note'}")


def end_workers(folder: Path) -> None:
    """End every process that names the folder in its command; their daemon must have ended."""
    deadline = time.monotonic() + GONE_S
    while (found := _working(folder)) and time.monotonic() < deadline:
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def _working(folder: Path) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if os.fsencode(folder) in path.read_bytes() and int(path.parent.name) != os.getpid():
                found.append(int(path.parent.name))
    return found
