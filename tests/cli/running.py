"""The real daemon as a child process, on jobs that run nothing but processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaler.cli.client import Client
from scaler.errors import ScalerError

JOB = """\
name: good
properties:
  configuration: {triggerType: Manual, replicaTimeout: 60}
  template: {containers: [{name: main, command: ["true"]}]}
x-scaler: {executor: process}
"""


@dataclass
class Running:
    """A daemon that answers."""

    process: subprocess.Popen[bytes]
    jobs: Path
    state: Path
    client: Client

    def answers(self) -> bool:
        """Whether it answers on its socket."""
        try:
            return bool(self.client.health()["version"])
        except ScalerError:
            return False

    def until(self, check: Callable[[], bool], *, timeout_s: float = 20) -> None:
        """Wait until something holds."""
        end = time.monotonic() + timeout_s
        while not check():
            assert time.monotonic() < end, "not in time"
            time.sleep(0.05)


@contextmanager
def running(
    home: Path, *, redirect: str = "", env: dict[str, str] | None = None, **popen: Any
) -> Iterator[Running]:
    """Run `scaler run jobs` below `home` until the block is left.

    `redirect` is shell text after the command, such as a redirection.
    """
    jobs, state = home / "jobs", home / "state"
    jobs.mkdir(exist_ok=True)
    (jobs / "good.yaml").write_text(JOB)
    line = f"exec '{sys.executable}' -m scaler run '{jobs}' --state-dir '{state}' {redirect}"
    process = subprocess.Popen(["sh", "-c", line], env=os.environ | (env or {}), **popen)
    try:
        daemon = Running(process, jobs, state, Client(state))
        daemon.until(lambda: process.poll() is not None or daemon.answers())
        assert process.poll() is None
        yield daemon
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)
