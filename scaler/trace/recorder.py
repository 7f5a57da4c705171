"""Writes a trace beside the engine: bounded in memory and on the disk, and never in its way.

The engine hands over frozen values; a thread writes them. What cannot be written is dropped and counted, and the count
is written as soon as writing works again, so that a trace never looks whole when it is not.
"""

from __future__ import annotations

import json
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import structlog

from scaler.errors import ConfigError
from scaler.model.execution import ExecutionState
from scaler.model.job import EventTrigger, ScheduleTrigger
from scaler.planning.answer import Plan
from scaler.planning.decide import Inputs
from scaler.planning.firing import Fired, FireInputs
from scaler.trace.lines import (
    Decided,
    Due,
    Ended,
    Outcome,
    begin_line,
    decision_line,
    due_line,
    end_line,
    job_line,
)

log = structlog.get_logger("scaler")

WAITING_MOST = 10_000
"""Lines that wait to be written; more are dropped."""

RETRY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceFile:
    """Where to: `path` and at most `keep` older ones beside it (`path.1` is the youngest), `max_bytes` each."""

    path: Path
    max_bytes: int = 64 << 20
    keep: int = 3


class TraceRecorder:
    """Implements `Recorder`. `open_recorder` makes one."""

    def __init__(self, file: TraceFile, *, version: str, now: Callable[[], datetime]) -> None:
        self._file = file
        self._version = version
        self._now = now
        self._waiting: deque[Decided | Due | Ended] = deque()
        self._dropped = 0
        self._changed = threading.Condition()
        self._closing = False
        self._out: IO[bytes] | None = None
        self._size = 0
        self._told: dict[str, tuple[int, EventTrigger | ScheduleTrigger]] = {}
        self._failing = False
        self._thread = threading.Thread(target=self._write_all, name="trace", daemon=True)

    # --- called by the engine -------------------------------------------------------------------------

    def decided(self, inputs: Inputs, plan: Plan, *, decision_id: int, read_s: float) -> None:
        """Take in a decision."""
        self._put(Decided(inputs=inputs, outcome=Outcome.of(plan), decision_id=decision_id, read_s=read_s))

    def fired(self, inputs: FireInputs, fired: Fired, *, decision_id: int) -> None:
        """Take in a decision on a due time."""
        self._put(Due(inputs=inputs, outcome=fired, decision_id=decision_id))

    def ended(self, state: ExecutionState) -> None:
        """Take in the end of an execution."""
        self._put(Ended.of(state))

    def _put(self, entry: Decided | Due | Ended) -> None:
        with self._changed:
            if len(self._waiting) >= WAITING_MOST:
                self._dropped += 1
                return
            self._waiting.append(entry)
            self._changed.notify()

    # --- the thread -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the file, so that a path that cannot be written to is told at once; then write beside the caller.

        Raises:
            ConfigError: it cannot be written to.
        """
        try:
            self._open()
        except OSError as exc:
            text = f"{self._file.path}: {exc.strerror}; name a file for the trace that this user can write to"
            raise ConfigError(text) from exc
        self._thread.start()

    def close(self) -> None:
        """Write what waits, then end."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout=10)

    def _write_all(self) -> None:
        while True:
            with self._changed:
                while not (self._waiting or self._closing):
                    self._changed.wait()
                batch, dropped = list(self._waiting), self._dropped
                closing = self._closing
                self._waiting.clear()
                self._dropped = 0
            self._write(batch, dropped)
            if closing:
                break
        if self._out is not None:
            with suppress(OSError):
                self._out.close()

    def _write(self, batch: list[Decided | Due | Ended], dropped: int) -> None:
        try:
            if dropped:
                self._line({"kind": "dropped", "count": dropped})
            for entry in batch:
                self._entry(entry)
            if self._out is not None:
                self._out.flush()
        except OSError as exc:
            self._note_failure(exc, dropped + len(batch))  # some may be there: too many is the safe side
        else:
            if self._failing:
                log.info("trace.recovered", file=str(self._file.path))
            self._failing = False

    def _note_failure(self, exc: OSError, lost: int) -> None:
        if not self._failing:
            log.warning("trace.failed", file=str(self._file.path), error=exc.strerror or str(exc))
        self._failing = True
        out, self._out = self._out, None
        if out is not None:
            with suppress(OSError):
                out.close()
        with self._changed:
            self._dropped += lost
            self._changed.wait(RETRY_S)

    def _entry(self, entry: Decided | Due | Ended) -> None:
        if self._out is None:
            self._open()
        if self._size >= self._file.max_bytes:
            self._rotate()
        if isinstance(entry, Ended):
            self._line(end_line(entry))
            return
        inputs: Inputs | FireInputs = entry.inputs
        told = (inputs.generation, inputs.trigger)
        if self._told.get(inputs.job) != told:
            self._line(job_line(inputs))
            self._told[inputs.job] = told
        self._line(due_line(entry) if isinstance(entry, Due) else decision_line(entry))

    def _line(self, body: dict[str, Any]) -> None:
        if self._out is None:
            self._open()
        if self._out is not None:
            self._size += self._out.write(json.dumps(body, separators=(",", ":")).encode() + b"\n")

    def _open(self) -> None:
        self._file.path.parent.mkdir(parents=True, exist_ok=True)
        number = os.open(self._file.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._out = os.fdopen(number, "ab")
        self._size = os.fstat(number).st_size
        if self._size and os.pread(number, 1, self._size - 1) != b"\n":
            self._out.write(b"\n")  # a former process was killed within a line
        self._told.clear()
        self._line(begin_line(self._version, self._now()))
        self._out.flush()

    def _rotate(self) -> None:
        if self._out is not None:
            self._out.close()
            self._out = None
        path = self._file.path
        for number in range(self._file.keep, 0, -1):
            older = path if number == 1 else path.with_name(f"{path.name}.{number - 1}")
            with suppress(FileNotFoundError):
                older.replace(path.with_name(f"{path.name}.{number}"))
        if self._file.keep == 0:
            path.unlink(missing_ok=True)
        self._open()


@contextmanager
def open_recorder(file: TraceFile, *, version: str, now: Callable[[], datetime]) -> Iterator[TraceRecorder]:
    """Record until the block ends; what waits then is written.

    Raises:
        ConfigError: the file cannot be written to.
    """
    recorder = TraceRecorder(file, version=version, now=now)
    recorder.start()
    try:
        yield recorder
    finally:
        recorder.close()
