"""Local processes that never outlive the test run: own process group, log file, ended at exit."""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.infra import guardian
from tests.infra.choose import Broken


def free_ports(count: int) -> list[int]:
    """Return distinct TCP ports of 127.0.0.1 that were free a moment ago."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()


def wait_until(ready: Callable[[], bool], *, timeout_s: float, what: str, interval_s: float = 0.1) -> None:
    """Block until `ready()` is true.

    Raises:
        Broken: it was not within `timeout_s` seconds; the message starts with `what`.
    """
    deadline = time.monotonic() + timeout_s
    while not ready():
        if time.monotonic() > deadline:
            raise Broken(f"{what}: not ready after {timeout_s:g} s")
        time.sleep(interval_s)


def tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log, for an error message."""
    if not log.exists():
        return "(no log)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def is_alive(pid: int, name: str) -> bool:
    """Tell whether the process runs and is the named program; a zombie or a reused number is not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    program, _, rest = stat.partition("(")[2].rpartition(")")
    return program == name[:15] and rest.split()[0] != "Z"


class LocalProcess:
    """A program in its own process group, with everything it prints in one log file."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self._command = list(command)
        self._env = {**os.environ, **(env or {})}
        self._cwd = cwd
        self._popen: subprocess.Popen[bytes] | None = None
        self.log = log
        atexit.register(self.kill)

    @property
    def is_running(self) -> bool:
        """Whether the program was started and has not ended."""
        return self._popen is not None and self._popen.poll() is None

    def start(self) -> None:
        """Start the program; do nothing when it runs."""
        if self.is_running:
            return
        with self.log.open("ab") as out:
            self._popen = subprocess.Popen(
                self._command,
                env=self._env,
                cwd=self._cwd,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        guardian.watch(self._popen.pid)

    def wait_ready(self, ready: Callable[[], bool], *, timeout_s: float) -> None:
        """Block until `ready()`; raise `Broken` with the log's end when the program ends or time is up."""

        def check() -> bool:
            if not self.is_running:
                raise Broken(f"{self._command[0]} ended at start:\n{tail(self.log)}")
            return ready()

        try:
            wait_until(check, timeout_s=timeout_s, what=self._command[0])
        except Broken:
            self.kill()
            raise

    def stop(self, *, grace_s: float = 15.0) -> None:
        """Ask the program to end (SIGTERM), and kill it after `grace_s` seconds."""
        if self._popen is not None and self.is_running:
            self._popen.terminate()
            try:
                self._popen.wait(grace_s)
            except subprocess.TimeoutExpired:
                pass
        self.kill()

    def kill(self) -> None:
        """End the whole process group at once (SIGKILL)."""
        if self._popen is None:
            return
        try:
            os.killpg(self._popen.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._popen.wait()
        guardian.forget(self._popen.pid)
        self._popen = None
