"""What the world does to a running daemon: its log, its state directory, its socket, its terminal."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.running import JOB, running


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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_daemon_ends_in_order_when_it_is_told_to(tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path) as daemon:
        daemon.process.send_signal(number)
        assert daemon.process.wait(20) == 0
        assert not (daemon.state / "scaler.sock").exists()


def test_a_client_that_is_cut_off_within_its_body_is_no_failure_of_the_daemon(tmp_path: Path) -> None:
    with running(tmp_path, stderr=subprocess.PIPE) as daemon:
        job = (
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.App/jobs/good/start?api-version=2024-03-01"
        )
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(daemon.state / "scaler.sock"))
            client.sendall(f"POST {job} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{".encode())
        assert daemon.answers()
        daemon.process.terminate()
        _out, err = daemon.process.communicate(timeout=20)
    assert b"api.failed" not in err
    assert b"Traceback" not in err


@pytest.mark.parametrize("name", ["logs", "executors"])
def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "job.yaml").write_text(JOB)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / name).write_text("precious")
    line = [sys.executable, "-m", "scaler", "run", str(tmp_path / "job.yaml"), "--state-dir", "state"]
    result = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    last = result.stderr.splitlines()[-1]
    assert result.returncode == 1
    assert last.startswith(f"Error: {tmp_path / 'state' / name}")
    assert "move that file away" in last or "Not a directory" in last


def test_a_daemon_under_nohup_outlives_its_terminal(tmp_path: Path) -> None:
    with running(tmp_path, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)) as daemon:
        daemon.process.send_signal(signal.SIGHUP)
        assert daemon.answers()
        daemon.process.terminate()
        assert daemon.process.wait(20) == 0
