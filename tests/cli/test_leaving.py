"""What is said of a daemon that has ended or cannot begin: what it left behind, and what its records are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scaler.cli import doctor
from tests.cli.conftest import run_cli
from tests.cli.running import JOB, running

LONG = """\
name: long
properties:
  configuration: {triggerType: Manual, replicaTimeout: 600}
  template: {containers: [{name: main, command: ["sh", "-c", "until [ -e '%s' ]; do sleep 0.1; done"]}]}
x-scaler: {executor: process}
"""
WAIT_S = 90


def _drain(state: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scaler", "drain", "--state-dir", str(state), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)


def test_a_drain_that_leaves_executions_running_says_how_many_and_fails(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with running(tmp_path) as daemon:
        try:
            (daemon.jobs / "long.yaml").write_text(LONG % gate)
            daemon.until(lambda: len(daemon.client.live_jobs()) == 2, timeout_s=60)
            for _ in range(2):
                daemon.client.start("long")
            daemon.until(lambda: daemon.client.live_job("long")["runningOther"] == 2, timeout_s=60)
            result = _drain(daemon.state, "--timeout", "1")
        finally:
            gate.touch()
    text = (
        "Error: the daemon has ended, but 2 executions still run; they go on under the executor, "
        "and the next daemon takes them over"
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.splitlines() == ["waiting for 2 executions", text]


def test_a_drain_that_leaves_nothing_ends_well(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with running(tmp_path) as daemon:
        (daemon.jobs / "long.yaml").write_text(LONG % gate)
        daemon.until(lambda: len(daemon.client.live_jobs()) == 2, timeout_s=60)
        daemon.client.start("long")
        daemon.until(lambda: daemon.client.live_job("long")["runningOther"] == 1, timeout_s=60)
        gate.touch()
        result = _drain(daemon.state, "--timeout", "80")
    assert (result.returncode, result.stdout) == (0, "the daemon has ended\n"), result.stderr


def test_doctor_says_of_the_records_what_run_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state, job = tmp_path / "st", tmp_path / "job.yaml"
    state.mkdir()
    (state / "scaler.db").write_text("garbage\n")
    job.write_text(JOB)
    good = doctor.Check(name="docker engine", state="ok", message="")
    monkeypatch.setattr(doctor, "check_engine", lambda *, needed: good)
    told = run_cli("--state-dir", str(state), "doctor")
    assert told.exit_code == 1
    assert [file.name for file in state.iterdir()] == ["scaler.db"]
    assert (state / "scaler.db").read_text() == "garbage\n"
    line = [sys.executable, "-m", "scaler", "run", str(job), "--state-dir", str(state)]
    refused = subprocess.run(line, capture_output=True, text=True, timeout=WAIT_S, check=False)
    reason = refused.stderr.splitlines()[-1].removeprefix("Error: ")
    assert "not a sound database" in reason
    assert reason in told.stdout


def test_doctor_finds_records_sound_that_a_daemon_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path) as daemon:
        daemon.process.kill()
        daemon.process.wait(WAIT_S)
        good = doctor.Check(name="docker engine", state="ok", message="")
        monkeypatch.setattr(doctor, "check_engine", lambda *, needed: good)
        told = run_cli("--state-dir", str(daemon.state), "doctor")
    assert (told.exit_code, "scaler.db: sound" in told.stdout) == (0, True), told.stdout
