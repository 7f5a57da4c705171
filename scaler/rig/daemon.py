"""The real daemon as a process of its own, seen as users see it: through its log, its API, and what the system says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol

from scaler.errors import DaemonUnreachable, ScalerError
from scaler.rig.lifeline import tied

LOOK_S: Final = 0.05
STOP_S: Final = 30.0
_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
_ENTRY_POINTS: Final = "[scaler.scalers]\nspool = scaler.rig.spool_scaler\n"
_METADATA: Final = "Metadata-Version: 2.1\nName: scaler-rig\nVersion: 0\n"


class RigError(ScalerError):
    """Something of the set-up did not work, so there is nothing to measure."""

    code = "RigFailed"


class Api(Protocol):
    """What the daemon is asked; raises `DaemonUnreachable` while none answers. All of them block."""

    def health(self) -> Any:
        """Give its figures."""
        ...

    def inspection(self) -> Any:
        """Give what it holds against its promises."""
        ...

    def live_jobs(self) -> list[Any]:
        """List jobs as they live now."""
        ...

    def start(self, job: str, template: object = None) -> Any:
        """Start an execution by hand."""
        ...

    def executions(self, job: str | None, *, limit: int | None = None, **query: str) -> list[Any]:
        """List executions, newest first."""
        ...

    def decisions(self, job: str, limit: int) -> list[Any]:
        """List the latest decisions of a job."""
        ...

    def counts(self, job: str) -> Any:
        """Give the number of a job's executions by status."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How the daemon is run.

    Attributes:
        folder: for its files; new or empty.
        settings: further settings.
        env: further variables.
        core: the one processor core that it may use, or None for all.
        profile: where the standard profiler shall write its figures at the end, or None to run without it.
    """

    folder: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    core: int | None = None
    profile: Path | None = None


class Daemon:
    """One daemon that can be started, killed and started again on the same state."""

    def __init__(self, plan: Plan, connect: Callable[[Path], Api]) -> None:
        plan.folder.mkdir(parents=True, exist_ok=True)
        self._plan = plan
        self._process: subprocess.Popen[bytes] | None = None
        self.state_dir = plan.folder / "state"
        self.jobs = plan.folder / "jobs"
        self.log = plan.folder / "daemon.log"
        self.api = connect(self.state_dir)
        self.jobs.mkdir(exist_ok=True)
        self._settings = plan.folder / "settings.yaml"
        base = {"stateDir": str(self.state_dir), "log": {"format": "json"}}
        self._settings.write_text(json.dumps({**base, **plan.settings}), encoding="utf-8")
        self._plugins = _plugin_folder(plan.folder / "plugins")

    def write(self, *jobs: Mapping[str, Any]) -> None:
        """Write a file a job (JSON is YAML), each whole at any moment."""
        for job in jobs:
            self.write_together(job["name"], [job])

    def write_together(self, name: str, jobs: Iterable[Mapping[str, Any]]) -> None:
        """Write one file that holds them all: what takes long to read is thousands of files, not thousands of jobs."""
        fresh = self.jobs / f".{name}.yaml"
        fresh.write_text("\n---\n".join(json.dumps(job) for job in jobs), encoding="utf-8")
        fresh.rename(self.jobs / f"{name}.yaml")

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._running().pid

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """The code with which it ended; negative for a signal, None while it runs."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Start it; its log goes on. It ends with the thread that starts it, if nothing else ends it before."""
        watched = ["-m", "cProfile", "-o", str(self._plan.profile)] if self._plan.profile else []
        # The folder by an option too: a variable of the user's would be heard before the settings.
        state = ["--state-dir", str(self.state_dir)]
        ours = ["-m", "scaler", "run", str(self.jobs), "--settings", str(self._settings), *state]
        command = [sys.executable, *watched, *ours]
        path = os.pathsep.join(filter(None, (str(self._plugins), os.environ.get("PYTHONPATH"))))
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - a program and arguments of our own
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._plan.env, "PYTHONPATH": path},
                cwd=self._plan.folder,
                start_new_session=True,
                preexec_fn=tied(),  # noqa: PLW1509 - it takes no lock
            )
        if self._plan.core is not None:
            os.sched_setaffinity(self._process.pid, {self._plan.core})

    def kill(self) -> None:
        """Kill it as a power cut would; what it started lives on."""
        process = self._running()
        process.kill()
        process.wait()

    def stop(self, *, number: int = signal.SIGTERM) -> None:
        """End it in peace, or after `STOP_S` by force; no-op when it does not run."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_S)
            return
        self.kill()

    @contextmanager
    def running(self) -> Iterator[Daemon]:
        """Run it until it is ready, and for as long as the context is open."""
        self.start()
        try:
            self.ready()
            yield self
        finally:
            self.stop()

    def ready(self, timeout_s: float = 60.0) -> Any:
        """Wait until it answers and knows all job files, and give its health."""
        wanted = len(list(self.jobs.glob("*.yaml")))

        def look() -> Any:
            with suppress(DaemonUnreachable):
                health = self.api.health()
                return health if len(self.api.live_jobs()) >= wanted else None
            return None

        return self.until(look, timeout_s=timeout_s, what="ready")

    def loaded(self, jobs: int, timeout_s: float) -> None:
        """Wait until it has taken up so many jobs, by its log: to ask for a long list would cost what is measured."""
        self.until(
            lambda: self.log.read_bytes().count(b'"event": "job.added"') >= jobs,
            timeout_s=timeout_s,
            what=f"{jobs} jobs loaded",
        )

    def until(self, look: Callable[[], Any], *, timeout_s: float, what: str, every_s: float = LOOK_S) -> Any:
        """Wait until `look` gives something true, and give that.

        Raises:
            RigError: it did not in time, or the daemon ended; with the end of its log.
        """
        deadline = time.monotonic() + timeout_s
        while not (found := look()):
            if not self.is_alive:
                raise RigError(f"the daemon ended:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise RigError(f"{what}: not within {timeout_s:g} s:\n{self.tail()}")
            time.sleep(every_s)
        return found

    def events(self, *names: str) -> list[dict[str, Any]]:
        """Give the log's lines of these events, each with `at`: seconds since 1970."""
        found = []
        for line in self.log.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("{") and line.endswith("}"):
                event = json.loads(line)
                if not names or event["event"] in names:
                    event["at"] = datetime.fromisoformat(event["timestamp"]).timestamp()
                    found.append(event)
        return found

    def tail(self, lines: int = 15) -> str:
        """Give the end of its log."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RigError("the daemon was not started")
        return self._process


def cpu_s(pid: int) -> float:
    """Give the processor time of a process so far, user and system, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def rss_bytes(pid: int) -> int:
    """Give the resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RigError(f"process {pid} has no memory: it ended")


def spool_job(
    name: str,
    spool: Path,
    *,
    scale: Mapping[str, Any],
    container: Mapping[str, Any],
    extension: Mapping[str, Any],
) -> dict[str, Any]:
    """Make an event job of one queue of files."""
    rule = {"name": "spool", "type": "spool", "metadata": {"path": str(spool)}}
    return {
        "name": name,
        "configuration": {
            "triggerType": "Event",
            "replicaTimeout": 300,
            "replicaRetryLimit": 0,
            "eventTriggerConfig": {"scale": {**scale, "rules": [rule]}},
        },
        "template": {"containers": [{"name": "worker", **container}]},
        "x-scaler": dict(extension),
    }


def _plugin_folder(folder: Path) -> Path:
    """Make what an installed package of a third party would be to the daemon: a name and its entry point."""
    info = folder / "scaler_rig-0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text(_METADATA, encoding="ascii")
    (info / "entry_points.txt").write_text(_ENTRY_POINTS, encoding="ascii")
    return folder


def process_container(spool: Path, **env: object) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give the container and the extension of a job whose workers are processes of this machine."""
    variables = {"SPOOL": str(spool), **env}
    container = {"command": ["/bin/sh", str(spool / "worker.sh")], "env": env_list(variables)}
    return container, {"executor": "process"}


def env_list(variables: Mapping[str, object]) -> Sequence[dict[str, str]]:
    """Write variables as a job file has them."""
    return [{"name": name, "value": str(value)} for name, value in variables.items()]
