"""`scaler soak` as a shell runs it: three minutes with everything, and what Ctrl-C leaves."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from scaler.soak.growth import ROWS
from scaler.soak.plan import Deed
from tests.cli.conftest import run_cli
from tests.e2e.daemon import SCALER
from tests.infra.engine import Engine

MINUTES = 3


def soak(out: Path, *words: str) -> subprocess.Popen[str]:
    """Start the command."""
    return subprocess.Popen(
        [str(SCALER), "soak", "--out", str(out), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.timeout(60 * MINUTES + 420)
async def test_three_minutes_of_everything_break_no_promise(tmp_path: Path, docker_engine: Engine) -> None:
    process = soak(tmp_path, "--minutes", str(MINUTES), "--seed", "3", "--executor", "both", "-o", "json")
    out, told = await asyncio.to_thread(process.communicate, timeout=60 * MINUTES + 360)
    assert process.returncode == 0, told[-8000:]
    body = json.loads(out)
    assert [(one["name"], one["breaches"]) for one in body["verdicts"] if one["ok"] is not True] == []
    assert len([one for one in body["verdicts"] if one["name"].startswith("flat: ")]) == len(ROWS)
    assert (body["sound"], body["interrupted"], body["executors"]) == (True, False, ["process", "docker"])
    figures = body["figures"]
    assert figures["done"] == figures["messages"] > 200
    assert figures["executions"]["Succeeded"] > 100
    assert figures["cameBack"] > 0
    assert {deed.value for deed in Deed} - figures["deeds"].keys() <= {"kill container", "remove container"}
    assert json.loads((tmp_path / "soak.json").read_text()) == body
    assert "<svg" in (tmp_path / "soak.html").read_text()
    assert (tmp_path / "soak-daemon.log").stat().st_size > 0
    assert "broken promises: 0" in told


async def test_ctrl_c_ends_it_early_and_leaves_a_report_and_nothing_else(tmp_path: Path) -> None:
    process = soak(tmp_path, "--minutes", "5", "--seed", "1", "--executor", "process")
    assert process.stderr is not None
    deadline = time.monotonic() + 60
    while "workers" not in await asyncio.to_thread(process.stderr.readline) and time.monotonic() < deadline:
        pass
    process.send_signal(signal.SIGINT)
    out, told = await asyncio.to_thread(process.communicate, timeout=60)
    assert process.returncode == 130, told
    assert "Report: " in out
    body = json.loads((tmp_path / "soak.json").read_text())
    assert body["interrupted"] is True
    assert [one["name"] for one in body["verdicts"] if one["ok"] is False] == []
    assert marked_processes() == []


def marked_processes() -> list[int]:
    """Find workers of soaks whose folder is gone: theirs have ended, others may run theirs meanwhile."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        told = dict(word.partition(b"=")[::2] for word in words)
        if b"SCALER_SOAK" in told and not Path(os.fsdecode(told.get(b"SPOOL", b"/none"))).exists():
            found.append(int(place.name))
    return found


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("--minutes", "0"), "--minutes"),
        (("--executor", "podman"), "'podman'"),
        (("--seed", "x"), "--seed"),
        (("--minutes", "nan"), "'nan' is not a valid number"),
        (("--executor", "process", "--out", "/proc/nowhere"), "name a folder that you may write to"),
    ],
    ids=range(5),
)
def test_what_is_wrong_with_its_options_is_told(args: tuple[str, ...], text: str) -> None:
    result = run_cli("soak", *args)
    assert (result.exit_code, text in result.stderr) == (2, True), result.stderr
