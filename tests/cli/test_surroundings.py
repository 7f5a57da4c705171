"""What the world does to a running daemon: its log, its state directory, its socket, its terminal."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.running import running


@pytest.mark.parametrize("redirect", ["2>/dev/full", "2>&-", ">&- 2>&- <&-"])
def test_a_log_that_cannot_be_written_does_not_stop_the_work(tmp_path: Path, redirect: str) -> None:
    with running(tmp_path, redirect=redirect) as daemon:
        (daemon.jobs / "odd.yaml").write_text("name: [")
        daemon.until(lambda: bool(daemon.client.health()["fileFaults"]))
        daemon.process.terminate()
        assert daemon.process.wait(20) == 0


def test_a_log_reader_that_goes_away_does_not_stop_the_work(tmp_path: Path) -> None:
    with running(tmp_path, stderr=subprocess.PIPE) as daemon:
        assert daemon.process.stderr is not None
        daemon.process.stderr.close()
        (daemon.jobs / "odd.yaml").write_text("name: [")
        daemon.until(lambda: bool(daemon.client.health()["fileFaults"]))
        daemon.process.terminate()
        assert daemon.process.wait(20) == 0


def test_a_closed_standard_output_is_no_fault(tmp_path: Path) -> None:
    line = f"'{sys.executable}' -m scaler scalers >&-"
    result = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("name", ["", "scaler.db", "scaler.db.lock"])
def test_a_state_directory_that_is_taken_away_ends_the_daemon_with_its_reason(
    tmp_path: Path, name: str
) -> None:
    with running(tmp_path, stderr=subprocess.PIPE) as daemon:
        if name:
            (daemon.state / name).unlink()
        else:
            shutil.rmtree(daemon.state)
        _out, err = daemon.process.communicate(timeout=20)
    last = err.decode().splitlines()[-1]
    missing = daemon.state / (name or "scaler.db")
    assert daemon.process.returncode == 1
    assert last.startswith(f"Error: {missing}: was removed while the daemon ran")


def test_a_socket_that_was_removed_is_made_again(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        (daemon.state / "scaler.sock").unlink()
        assert not daemon.answers()
        daemon.until(daemon.answers)
        daemon.process.terminate()
        assert daemon.process.wait(20) == 0
        assert not (daemon.state / "scaler.sock").exists()
