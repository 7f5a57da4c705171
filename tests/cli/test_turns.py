"""Two real daemons on one state directory, and signals that end one: nothing is lost, nothing runs twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from scaler.errors import DaemonUnreachable
from tests.cli.running import Running, running

LONG = """\
name: long
properties:
  configuration: {triggerType: Manual, replicaTimeout: 600}
  template: {containers: [{name: main, command: ["sh", "-c", "until [ -e '%s' ]; do sleep 0.1; done"]}]}
x-scaler: {executor: process}
"""
NOTE = """\
name: note
properties:
  configuration: {triggerType: Manual, replicaTimeout: 600}
  template:
    containers: [{name: main, command: ["sh", "-c", "sleep 1; echo $CONTAINER_APP_JOB_EXECUTION_NAME >> '%s'"]}]
x-scaler: {executor: process}
"""
WAIT_S = 90


@contextmanager
def _second(daemon: Running, *words: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run another daemon on the same state directory."""
    command = [
        sys.executable,
        "-m",
        "scaler",
        "run",
        str(daemon.jobs),
        "--state-dir",
        str(daemon.state),
        *words,
    ]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(WAIT_S)


def _holder(daemon: Running) -> int:
    try:
        return int(json.loads((daemon.state / "scaler.db.lock").read_text())["pid"])
    except ValueError:  # just being written
        return 0


def _status(daemon: Running, execution: str) -> str:
    return str(daemon.client.execution("long", execution)["properties"]["status"])


def _complaint(daemon: Running) -> str:
    try:
        daemon.client.health()
    except DaemonUnreachable as exc:
        return str(exc)
    return ""


def _outcomes(daemon: Running) -> dict[str, str]:
    return {e["name"]: e["properties"]["status"] for e in daemon.client.executions("note")}


def _begin(daemon: Running, stop: Path) -> str:
    """Start an execution that runs until a file is there."""
    (daemon.jobs / "long.yaml").write_text(LONG % stop)
    daemon.until(lambda: len(daemon.client.live_jobs()) == 2, timeout_s=WAIT_S)
    name = str(daemon.client.start("long")["name"])
    daemon.until(lambda: _status(daemon, name) == "Running", timeout_s=WAIT_S)
    return name


def _ended(process: subprocess.Popen[Any]) -> int:
    return process.wait(WAIT_S)


def test_a_second_daemon_says_who_works_and_ends(tmp_path: Path) -> None:
    with running(tmp_path) as daemon, _second(daemon, log=tmp_path / "second.log") as second:
        assert _ended(second) == 4
        text = (tmp_path / "second.log").read_text()
        assert f"in use by another daemon (process {daemon.process.pid} on " in text
        assert "wait as its standby with 'scaler run --standby'" in text
        assert "Traceback" not in text
        assert daemon.answers()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_standby_takes_over_with_what_runs(tmp_path: Path, end: signal.Signals) -> None:
    stop, log = tmp_path / "stop", tmp_path / "second.log"
    with running(tmp_path) as daemon, _second(daemon, "--standby", log=log) as standby:
        execution = _begin(daemon, stop)
        daemon.until((daemon.state / "standby.sock").exists, timeout_s=WAIT_S)
        assert _holder(daemon) == daemon.process.pid
        daemon.process.send_signal(end)
        _ended(daemon.process)
        daemon.until(lambda: _holder(daemon) == standby.pid and daemon.answers(), timeout_s=WAIT_S)
        assert _status(daemon, execution) == "Running"
        stop.touch()
        daemon.until(lambda: _status(daemon, execution) == "Succeeded", timeout_s=WAIT_S)
        assert len(daemon.client.executions("long")) == 1
        assert not (daemon.state / "standby.sock").exists()
        assert "standby.takes_over" in log.read_text()
        standby.send_signal(signal.SIGTERM)
        assert _ended(standby) == 0


def test_work_outlives_a_row_of_deaths(tmp_path: Path) -> None:
    out, log = tmp_path / "out", tmp_path / "further.log"
    with running(tmp_path) as daemon, ExitStack() as stack:
        (daemon.jobs / "note.yaml").write_text(NOTE % out)
        daemon.until(lambda: len(daemon.client.live_jobs()) == 2, timeout_s=WAIT_S)
        standbys = [stack.enter_context(_second(daemon, "--standby", log=log)) for _ in range(2)]
        working: subprocess.Popen[Any] = daemon.process
        names = []
        while True:
            names += [str(daemon.client.start("note")["name"]) for _ in range(3)]
            if not standbys:
                break
            working.kill()
            _ended(working)
            pids = {one.pid: one for one in standbys}
            daemon.until(lambda pids=pids: _holder(daemon) in pids and daemon.answers(), timeout_s=WAIT_S)  # type: ignore[misc]
            working = pids[_holder(daemon)]
            standbys.remove(working)
        done = dict.fromkeys(names, "Succeeded")
        daemon.until(lambda: _outcomes(daemon) == done, timeout_s=WAIT_S)
        assert sorted(out.read_text().split()) == sorted(names)  # each ran once


def test_a_standby_answers_that_it_waits_and_can_be_ended(tmp_path: Path) -> None:
    log = tmp_path / "second.log"
    with running(tmp_path) as daemon, _second(daemon, "--standby", log=log) as standby:
        daemon.until((daemon.state / "standby.sock").exists, timeout_s=WAIT_S)
        daemon.until(lambda: daemon.client._standby() is not None, timeout_s=WAIT_S)
        os.kill(
            daemon.process.pid, signal.SIGSTOP
        )  # holds the lock and does not answer: still the one that works
        try:
            daemon.client._connect_s = daemon.client._answer_s = 1.0
            daemon.until(
                lambda: "but a standby waits there and takes over" in _complaint(daemon), timeout_s=WAIT_S
            )
            assert _holder(daemon) == daemon.process.pid
        finally:
            os.kill(daemon.process.pid, signal.SIGCONT)
        standby.send_signal(signal.SIGTERM)
        assert _ended(standby) == 0
        assert daemon.process.poll() is None


def test_a_signal_drains_if_told_to(tmp_path: Path) -> None:
    stop = tmp_path / "stop"
    with running(tmp_path, redirect="--drain") as daemon:
        execution = _begin(daemon, stop)
        daemon.process.send_signal(signal.SIGTERM)
        daemon.until(lambda: daemon.client.health()["draining"] is not None, timeout_s=WAIT_S)
        draining = daemon.client.health()["draining"]
        assert (draining["by"], draining["unfinished"]) == ("signal", 1)
        assert _status(daemon, execution) == "Running"
        stop.touch()
        assert _ended(daemon.process) == 0
    with running(tmp_path) as after:
        assert _status(after, execution) == "Succeeded"


def test_a_drain_by_the_settings_ends_after_its_time_and_leaves_the_rest_running(tmp_path: Path) -> None:
    stop, settings = tmp_path / "stop", tmp_path / "settings.yaml"
    settings.write_text("shutdown: {drain: true, drainTimeout: 1s}\n")
    with running(tmp_path, redirect=f"--settings '{settings}'") as daemon:
        execution = _begin(daemon, stop)
        daemon.process.send_signal(signal.SIGTERM)
        assert _ended(daemon.process) == 0
    with running(tmp_path) as after:
        assert _status(after, execution) == "Running"
        stop.touch()
        after.until(lambda: _status(after, execution) == "Succeeded", timeout_s=WAIT_S)


def test_a_second_signal_ends_a_drain_at_once(tmp_path: Path) -> None:
    stop = tmp_path / "stop"
    with running(tmp_path, redirect="--drain") as daemon:
        execution = _begin(daemon, stop)
        daemon.process.send_signal(signal.SIGTERM)
        daemon.until(lambda: daemon.client.health()["draining"] is not None, timeout_s=WAIT_S)
        daemon.process.send_signal(signal.SIGTERM)
        assert _ended(daemon.process) == 0
    with running(tmp_path) as after:
        after.until(lambda: _status(after, execution) == "Running", timeout_s=WAIT_S)
        stop.touch()
        after.until(lambda: _status(after, execution) == "Succeeded", timeout_s=WAIT_S)
