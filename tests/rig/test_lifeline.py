"""A daemon of a bench is its own: it ends with the bench, and leaves alone what belongs to the user."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scaler.bench.workers import end_workers
from scaler.cli.client import Client
from scaler.rig.daemon import Daemon, Plan
from tests.infra.process import wait_until

MEASURES = """
import sys, time
from pathlib import Path
from scaler.cli.client import Client
from scaler.rig.daemon import Daemon, Plan
from scaler.rig.relay import open_relay

folder = Path(sys.argv[1])
daemon = Daemon(Plan(folder=folder / "daemon"), Client)
with open_relay(folder, "/nowhere"), daemon.running():
    print("up", flush=True)
    time.sleep(600)
"""


def naming(folder: Path) -> list[str]:
    """Give the command lines of processes that name the folder and run."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            line = (place / "cmdline").read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in line:
            found.append(line.replace(b"\0", b" ").decode())
    return found


def test_daemon_and_relay_end_with_a_bench_that_is_killed(tmp_path: Path) -> None:
    bench = subprocess.Popen(
        [sys.executable, "-c", MEASURES, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert bench.stdout is not None
    try:
        assert bench.stdout.readline() == "up\n"
        assert len(naming(tmp_path)) == 3
        bench.kill()
        wait_until(lambda: not naming(tmp_path), timeout_s=30, what="the end of all that it started")
    finally:
        bench.kill()
        bench.communicate()
        end_workers(tmp_path)


def test_a_state_directory_of_the_users_is_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCALER_STATE_DIR", str(tmp_path / "mine"))
    with Daemon(Plan(folder=tmp_path / "daemon"), Client).running():
        pass
    assert not (tmp_path / "mine").exists()
