"""The daemon as users run it: a child process of the installed command, asked by that command or its socket."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from scaler.cli.client import Client
from scaler.errors import ScalerError
from tests.infra import guardian

SCALER: Final = Path(sys.executable).with_name("scaler")
_READY_S = 30.0
_BUGS = (
    "Traceback",
    "never retrieved",
    "never awaited",
    "was destroyed but it is pending",
    "ResourceWarning",
)
_END_S = 30.0


class Daemon:
    """`scaler run jobs/ --state-dir state` below `home`; the fixture that makes it ends it.

    Attributes:
        jobs: folder of its job files; see `write`.
        state: its state folder.
        output: file with all that any of its processes printed.
        client: the product's own client on its socket (blocking).
        written: names of the jobs whose files were written.
    """

    def __init__(
        self, home: Path, *, settings: Mapping[str, Any], env: Mapping[str, str] | None = None
    ) -> None:
        self.jobs = home / "jobs"
        self.state = home / "state"
        self.output = home / "daemon.log"
        self.client = Client(self.state)
        self.written: set[str] = set()
        self._env = {**os.environ, **(env or {})}
        self._settings = home / "settings.yaml"
        self._settings.write_text(json.dumps(settings))
        self._process: subprocess.Popen[bytes] | None = None
        self.jobs.mkdir()

    def write(self, document: Mapping[str, Any]) -> Path:
        """Write a job file; JSON is YAML. The file is replaced at once, as editors do."""
        self.written.add(document["name"])
        path = self.jobs / f"{document['name']}.yaml"
        part = path.with_suffix(".part")
        part.write_text(json.dumps(document, indent=1))
        part.replace(path)
        return path

    async def start(self) -> None:
        """Start it and wait until it answers; then it knows its jobs."""
        command = [SCALER, "run", self.jobs, "--state-dir", self.state, "--settings", self._settings]
        with self.output.open("ab") as out:
            self._process = subprocess.Popen(
                [str(part) for part in command],
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                env=self._env,
                start_new_session=True,
            )
        guardian.watch(self._process.pid)
        await self.until(self._answers, what="the daemon answers", timeout_s=_READY_S)

    def _answers(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise AssertionError(f"the daemon ended:\n{self.tail()}")
        with suppress(ScalerError):
            return self.client.health() is not None
        return False

    async def kill(self) -> None:
        """End it as a crash does: SIGKILL."""
        await asyncio.to_thread(self.end, signal.SIGKILL)

    async def stop(self) -> int:
        """Ask it to end (SIGTERM) and give its exit code; replicas run on."""
        return await asyncio.to_thread(self.end, signal.SIGTERM)

    def end(self, number: signal.Signals) -> int:
        """Send the signal, wait for the end, and give the exit code; 0 if it does not run."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(number)  # none to one that has ended
        code = process.wait(_END_S)
        guardian.forget(process.pid)
        return code

    async def ended(self, *, timeout_s: float = 60.0) -> int:
        """Wait until it ends by itself, and give its exit code."""
        process = self._process
        assert process is not None, "it was not started"
        await self.until(lambda: process.poll() is not None, what="it ends by itself", timeout_s=timeout_s)
        return self.end(signal.SIGKILL)

    @property
    def pid(self) -> int:
        """Its process id, while it runs."""
        assert self._process is not None
        return self._process.pid

    def complaints(self) -> list[str]:
        """Give the lines of its output that tell of a bug, whatever the test is about."""
        lines = self.output.read_text().splitlines() if self.output.exists() else []
        return [line for line in lines if any(word in line for word in _BUGS)]

    def tail(self, lines: int = 40) -> str:
        """Give the end of what it printed."""
        return "\n".join(self.output.read_text().splitlines()[-lines:])

    async def until(self, check: Callable[[], bool], *, what: str, timeout_s: float) -> None:
        """Wait until a blocking check holds, asking some five times a second."""
        try:
            async with asyncio.timeout(timeout_s):
                while not await asyncio.to_thread(check):
                    await asyncio.sleep(0.2)
        except TimeoutError:
            raise AssertionError(f"not within {timeout_s:g} s: {what}\n{self.tail()}") from None

    async def ask(self, call: Callable[[Client], Any]) -> Any:
        """Make one call of the client without blocking the test's other tasks."""
        return await asyncio.to_thread(call, self.client)

    async def cli(self, *words: str, code: int | None = 0) -> str:
        """Run a command of the installed program on this daemon and give what it printed.

        Args:
            words: The command, without `--state-dir`.
            code: The exit code it must have; None for any.
        """
        command = [str(SCALER), "--state-dir", str(self.state), *words]
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, timeout=60, env=self._env, check=False
        )
        assert code is None or done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        return done.stdout + done.stderr

    async def json(self, *words: str) -> Any:
        """Run a command with `-o json` and give its document."""
        return json.loads(await self.cli("-o", "json", *words))
