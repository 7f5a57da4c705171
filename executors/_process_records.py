"""Reads what the shim of a process replica has left in its folder, and says whether it still lives.

The files are the whole truth about a replica: a daemon that has just started knows as much as the one
that launched it. Their meaning is told in `_process_shim.py`, which alone writes them.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from executors._process_shim import boot_id, start_ticks


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Who runs the replica: the shim's process id, and when it began (seconds since 1970)."""

    pid: int
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The replica's own process. `ticks` and `boot` tell it from a later one with the same id."""

    pid: int
    ticks: int | None
    boot: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How the replica ended. `killed`: by us; `signal` None means that it exited by itself.

    `cpu_s` and `peak_rss` are sums and maximum over all its processes, the latter in the system's unit; None in
    what the shim of an older release wrote.
    """

    code: int
    signal: int | None
    cpu_limited: bool
    killed: bool
    at: float
    log_lost: str | None
    cpu_s: float | None = None
    peak_rss: int | None = None


class Records:
    """The folder of one replica."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            content: dict[str, Any] = json.loads((self.folder / name).read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        return content

    def claim(self) -> Claim | None:
        """Say who took the replica; None if nobody did, so that nothing was ever started."""
        found = self._read("claim")
        return None if found is None else Claim(**found)

    def started(self) -> Started | None:
        """Say what was started, if anything."""
        found = self._read("started")
        return None if found is None else Started(**found)

    def ended(self) -> Ended | None:
        """Say how it ended; None if it has not, or if nobody was left to see it."""
        found = self._read("exit")
        return None if found is None else Ended(**found)

    def is_alive(self) -> bool:
        """Whether the shim lives. It holds a lock, which no crash, reboot or reused process id can fake."""
        try:
            descriptor = os.open(self.folder / "claim", os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def kill_remains(self) -> None:
        """Kill what is left of the replica's group after its shim was killed (the replica itself died then).

        The group's id may have been given to strangers meanwhile: a process is spared if it is older than
        the replica was, or if the group has a new leader, or after a reboot.
        """
        started = self.started()
        if started is None or started.ticks is None or started.boot != boot_id():
            return
        if start_ticks(started.pid) not in (None, started.ticks):
            return
        for pid in _session(started.pid):
            ticks = start_ticks(pid)
            if ticks is not None and ticks >= started.ticks:
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)


def _session(leader: int) -> list[int]:
    """List the processes of one session, by what /proc tells."""
    members = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError, IndexError):
            fields = Path(f"/proc/{name}/stat").read_bytes().rpartition(b")")[2].split()
            if int(fields[3]) == leader:
                members.append(int(name))
    return members
