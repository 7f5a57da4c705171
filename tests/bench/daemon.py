"""The real daemon as a process of its own, seen only through its log and its database."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.infra.choose import Broken
from tests.infra.paths import REPOSITORY
from tests.infra.process import LocalProcess, tail

_LOOK_S = 0.2


class Daemon:
    """One running daemon. Times are those of its own log, so looking at it late changes nothing."""

    def __init__(self, process: LocalProcess, state_dir: Path) -> None:
        self._process = process
        self.state_dir = state_dir

    @property
    def log(self) -> Path:
        """The daemon's log, one JSON object a line."""
        return self._process.log

    @property
    def pid(self) -> int:
        """The daemon's process id, from its lock file."""
        return int(json.loads((self.state_dir / "scaler.db.lock").read_text())["pid"])

    def lines(self) -> list[dict[str, Any]]:
        """Read the log; what is not an event is left out."""
        lines = self.log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def times(self, event: str) -> list[float]:
        """Give the moments of an event, seconds of the wall clock."""
        return [_moment(line) for line in self.lines() if line["event"] == event]

    async def until(
        self, done: Callable[[list[dict[str, Any]]], bool], *, timeout_s: float, what: str
    ) -> None:
        """Wait until the log satisfies `done`.

        Raises:
            Broken: it did not in time, or the daemon ended; with the log's end.
        """
        deadline = asyncio.get_running_loop().time() + timeout_s
        while not done(self.lines()):
            if not self._process.is_running:
                raise Broken(f"the daemon ended:\n{tail(self.log)}")
            if asyncio.get_running_loop().time() > deadline:
                raise Broken(f"{what}: not within {timeout_s:g} s:\n{tail(self.log)}")
            await asyncio.sleep(_LOOK_S)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Daemon]:
        """Run it for as long as the context is open."""
        self._process.start()
        try:
            yield self
        finally:
            await asyncio.to_thread(self._process.stop)


def make_daemon(folder: Path, *jobs: Mapping[str, Any], profile: Path | None = None) -> Daemon:
    """Prepare a daemon for jobs (JSON is YAML) with a state of its own below `folder`.

    `profile` names a file for the standard profiler's figures.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file, settings = folder / "jobs.yaml", folder / "settings.yaml"
    file.write_text("\n---\n".join(json.dumps(job) for job in jobs))
    settings.write_text(json.dumps({"stateDir": str(folder / "state"), "log": {"format": "json"}}))
    watched = ["-m", "cProfile", "-o", str(profile)] if profile else []
    command = [sys.executable, *watched, "-m", "scaler", "run", str(file), "--settings", str(settings)]
    return Daemon(LocalProcess(command, log=folder / "daemon.log", cwd=REPOSITORY), folder / "state")


def _moment(line: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(line["timestamp"]).timestamp()
