"""Holds what the demo starts: a folder, the broker, the daemon, the sender; and leaves nothing of it behind.

Children get sessions of their own: Ctrl-C reaches the demo alone, which then ends them in order.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from scaler.demo.job_file import CONNECTION_VARIABLE, JOB, QUEUE, write_job
from scaler.errors import ConfigError, ExecutorUnavailable, ScalerError
from scaler.plugins import EXECUTORS
from scaler.ports.executor import ExecutorContext

STOP_S = 10.0
"""How long a child may take to end before it is killed."""

GRACE = timedelta(seconds=1)
STOP_ROUNDS = 20
_ROUND_S = 0.1
_SENT = "sent: "
_HERE = Path(__file__).parent
_BROKER = re.compile(r"management on [^\n]*:(\d+)\nconnection string: (\S+)\n")


class StageError(ScalerError):
    """The demo could not be set up, or one of its programs ended too early."""

    code = "DemoFailed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bus:
    """Where the broker listens. The key in it is not a secret: the broker checks none."""

    connection_string: str
    admin_port: int


class Stage:
    """The folder and the programs; a context manager that ends and removes them."""

    def __init__(self, folder: Path | None) -> None:
        self._given = folder
        self._programs: dict[str, subprocess.Popen[bytes]] = {}
        self._bus: Bus | None = None
        self.folder = Path()

    def __enter__(self) -> Self:
        self.folder = _fill_folder(self._given)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            for name in ("sender", "daemon"):
                self._stop(name)
            self._stop_replicas()
            self._stop("broker")
        finally:
            for program in self._programs.values():
                if program.poll() is None:
                    program.kill()
                    program.wait()
            if self._given is None:
                shutil.rmtree(self.folder, ignore_errors=True)

    # --- what is there --------------------------------------------------------------------------------

    @property
    def state_dir(self) -> Path:
        """The daemon's state directory."""
        return self.folder / "state"

    @property
    def job_file(self) -> Path:
        """The job file."""
        return self.folder / f"{JOB}.yaml"

    def check(self) -> None:
        """Raise `StageError` if the broker or the daemon has ended."""
        for name in ("broker", "daemon"):
            program = self._programs.get(name)
            if program is not None and program.poll() is not None:
                raise StageError(
                    f"the {name} ended with code {program.returncode}; its last line: {self._last_line(name)}"
                )

    def bus(self) -> Bus | None:
        """Give the broker's address, once it listens."""
        self.check()
        if self._bus is None:
            found = _BROKER.search(self._log("broker").read_text())
            if found:
                self._bus = Bus(connection_string=found[2], admin_port=int(found[1]))
        return self._bus

    def sent(self) -> tuple[str, ...] | None:
        """Give the bodies of all messages, once they are sent; until then None."""
        program = self._programs["sender"]
        if program.poll() is None:
            return None
        if program.returncode:
            raise StageError(
                f"the sender ended with code {program.returncode}; its last line: {self._last_line('sender')}"
            )
        lines = self._log("sender").read_text().splitlines()
        return tuple(line.removeprefix(_SENT) for line in lines if line.startswith(_SENT))

    # --- what it does ---------------------------------------------------------------------------------

    def start_broker(self) -> None:
        """Start the broker on any free ports."""
        self._start("broker", "-m", "scaler.devbroker", "--amqp-port=0", "--http-port=0", f"--queue={QUEUE}")

    def start_daemon(self, bus: Bus, *, max_executions: int) -> None:
        """Write the job file and start the daemon on it."""
        text = write_job(max_executions=max_executions, admin_port=bus.admin_port, python=sys.executable)
        self.job_file.write_text(text)
        self._start("daemon", "-m", "scaler", "run", self.job_file.name, "--state-dir", str(self.state_dir))

    def start_sender(self, messages: int) -> None:
        """Start to send so many messages."""
        self._start("sender", "send.py", str(messages))

    def _start(self, name: str, *arguments: str) -> None:
        variables = {CONNECTION_VARIABLE: self._bus.connection_string, "QUEUE": QUEUE} if self._bus else {}
        with self._log(name).open("xb") as log:
            self._programs[name] = subprocess.Popen(  # noqa: S603 - programs and arguments of our own
                [sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | variables,
                cwd=self.folder,
                start_new_session=True,
            )

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _last_line(self, name: str) -> str:
        lines = self._log(name).read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def _stop(self, name: str) -> None:
        program = self._programs.get(name)
        if program is None or program.poll() is not None:
            return
        program.terminate()
        with suppress(subprocess.TimeoutExpired):
            program.wait(STOP_S)
            return
        program.kill()
        program.wait()

    def _stop_replicas(self) -> None:
        """Stop the workers that still run; one whose launch was cut short may show up a moment later."""
        for _ in range(STOP_ROUNDS):
            if asyncio.run(_stop_live_replicas(self.state_dir)) == 0:
                return
            time.sleep(_ROUND_S)


def _fill_folder(given: Path | None) -> Path:
    """Make the folder and put the programs of the worker and the sender there."""
    try:
        if given is None:
            folder = Path(tempfile.mkdtemp(prefix="scaler-demo-"))
        else:
            folder = given.absolute()
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise ConfigError(f"--dir {given}: is not empty; name a new or an empty folder")
        for name in ("worker.py", "send.py"):
            with (folder / name).open("xb") as file:
                file.write((_HERE / name).read_bytes())
    except OSError as exc:
        raise ConfigError(f"{exc.filename}: {exc.strerror}; name another folder with --dir") from exc
    return folder


async def _stop_live_replicas(state_dir: Path) -> int:
    """Stop the workers that run, and give their number: a daemon that ends leaves them to the next one.

    The paths are those that the daemon gives its executors.
    """
    place = state_dir / "executors" / "process"
    if not place.exists():
        return 0
    context = ExecutorContext(instance=JOB, state_dir=place, log_dir=state_dir / "logs")
    async with EXECUTORS.load("process").open({}, context) as executor:
        live = [replica for replica in await executor.owned() if not replica.ended]
        try:
            async with asyncio.timeout(STOP_S), asyncio.TaskGroup() as tasks:
                for replica in live:
                    tasks.create_task(executor.stop(replica.handle, GRACE), name=f"stop:{replica.replica_id}")
        except* (ExecutorUnavailable, TimeoutError):
            pass  # looked at again in the next round
    return len(live)
