"""The command `scaler guard`, as a shell starts it."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import run_cli

ENGINE = "unix:///none/engine.sock"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path, as sockets need one."""
    with tempfile.TemporaryDirectory(prefix="scaler-") as name:
        yield Path(name)


def test_it_listens_for_its_group_and_ends_in_order(folder: Path) -> None:
    listen = folder / "guard.sock"
    command = [sys.executable, "-m", "scaler", "guard", "--docker-host", ENGINE, "--listen", str(listen)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            deadline = time.monotonic() + 60
            while process.poll() is None and time.monotonic() < deadline:
                if listen.exists() and stat.S_IMODE(listen.stat().st_mode) == 0o660:
                    break
                time.sleep(0.05)
            assert listen.is_socket()
            assert process.stderr is not None
            assert "guard.listening" in process.stderr.readline()  # TERM is heeded from before here on
            asked = run_cli("guard", "--listen", str(listen), "--check")
            assert (asked.exit_code, "does not answer" in asked.stderr) == (1, True)
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()
    assert not listen.exists()
    assert "no guard answers" in run_cli("guard", "--listen", str(listen), "--check").stderr


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("--docker-host", "tcp://"), "only unix:///PATH and tcp://HOST:PORT"),
        (("--docker-host", "https://engine:2376"), "the guard reaches an engine by unix:// or plain tcp://"),
        (("--docker-host", ENGINE, "--allow-mount", "data"), "give an absolute path"),
        (("--docker-host", ENGINE, "--allow-mount", "/none/data:ro"), "/none/data cannot be seen from here"),
        (("--docker-host", ENGINE, "--mode", "rw"), "'rw' is no mode of a file"),
        (("--docker-host", ENGINE), "the socket cannot be made"),
    ],
    ids=range(6),
)
def test_what_is_wrong_with_its_options_is_told(args: tuple[str, ...], text: str) -> None:
    result = run_cli("guard", "--listen", "/none/guard.sock", *args)
    assert (result.exit_code, text in result.stderr) == (2, True), result.stderr


def test_a_socket_in_use_is_left_alone(folder: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(folder / "guard.sock"))
        other.listen()
        result = run_cli("guard", "--docker-host", ENGINE, "--listen", str(folder / "guard.sock"))
    assert (result.exit_code, "something answers there already" in result.stderr) == (1, True)
