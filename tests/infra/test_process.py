"""Local processes: ready means ready, and nothing outlives its test run."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra.choose import Broken
from tests.infra.paths import REPOSITORY
from tests.infra.process import LocalProcess, free_ports, is_alive, wait_until

KILLED_RUN = """
import os, pathlib, signal, sys
from tests.infra.process import LocalProcess
process = LocalProcess(["sleep", "60"], log=pathlib.Path(sys.argv[1]))
process.start()
print(process._popen.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_program_that_ends_at_start_is_broken_and_tells_its_last_words(tmp_path: Path) -> None:
    process = LocalProcess(["sh", "-c", "echo no such file; exit 3"], log=tmp_path / "log")
    process.start()

    with pytest.raises(Broken, match="(?s)sh ended at start:.no such file"):
        process.wait_ready(lambda: False, timeout_s=5)


def test_a_program_that_is_never_ready_is_broken_and_ended(tmp_path: Path) -> None:
    process = LocalProcess(["sleep", "60"], log=tmp_path / "log")
    process.start()

    with pytest.raises(Broken, match=r"sleep: not ready after 0\.3 s"):
        process.wait_ready(lambda: False, timeout_s=0.3)

    assert process.is_running is False


def test_a_process_ends_with_a_test_run_that_was_killed(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", KILLED_RUN, str(tmp_path / "log")],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=30,
    )
    pid = int(run.stdout)

    wait_until(lambda: not is_alive(pid, "sleep"), timeout_s=5, what="end of the orphan")

    assert run.returncode == -signal.SIGKILL
    assert is_alive(pid, "sleep") is False


def test_free_ports_are_distinct() -> None:
    assert len(set(free_ports(20))) == 20
