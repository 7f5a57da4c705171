"""The queue of files: one worker a message, and messages of dead workers come back."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from scaler.rig.spool import Spool


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


def work(spool: Spool, replica: str) -> tuple[int, str]:
    """Let one worker take a message; give its code and the last line that it wrote."""
    env = {"PATH": os.environ["PATH"], "SPOOL": str(spool.folder), "JOURNAL": "1"}
    done = subprocess.run(
        ["/bin/sh", str(spool.folder / "worker.sh")],
        env=env | {"CONTAINER_APP_REPLICA_NAME": replica},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout.splitlines()[-1]


def test_a_message_that_failed_waits_behind_the_others_and_keeps_its_name(spool: Spool) -> None:
    spool.put(["a-1"], fails=1)
    spool.put(["a-2"], noise=3)
    assert work(spool, "r-1") == (1, "failed: a-1")
    assert work(spool, "r-2") == (0, "done: a-2")
    assert work(spool, "r-3") == (0, "done: ~a-1")
    assert work(spool, "r-4") == (0, "no message")
    assert spool.names() == {"a-1": 1, "a-2": 1}
    assert sorted(spool.done_at()) == ["a-1", "a-2"]
    assert spool.journal() == [
        ["took", "r-1", "a-1"],
        ["failed", "r-1", "a-1"],
        ["took", "r-2", "a-2"],
        ["done", "r-2", "a-2"],
        ["took", "r-3", "a-1"],
        ["done", "r-3", "a-1"],
        ["empty", "r-4", "-"],
    ]


def test_poison_always_fails(spool: Spool) -> None:
    spool.put(["a-1"], poison=True)
    assert [work(spool, f"r-{n}")[0] for n in range(3)] == [1, 1, 1]


def test_a_failure_is_noted_before_the_message_is_put_back(spool: Spool) -> None:
    """Whoever is killed between the two has noted it, so that no message comes back of which nobody knows why."""
    spool.put(["a-1"], poison=True, think_s=1.0)
    env = {"PATH": os.environ["PATH"], "SPOOL": str(spool.folder), "JOURNAL": "1"}
    env["CONTAINER_APP_REPLICA_NAME"] = "r-1"
    with subprocess.Popen(["/bin/sh", str(spool.folder / "worker.sh")], env=env) as worker:
        deadline = time.monotonic() + 20
        while not spool.depth().taken and time.monotonic() < deadline:
            time.sleep(0.01)
        (spool.folder / "ready").rename(spool.folder / "hidden")
        while ["failed", "r-1", "a-1"] not in spool.journal() and time.monotonic() < deadline:
            time.sleep(0.01)
        worker.kill()
    assert spool.journal() == [["took", "r-1", "a-1"], ["failed", "r-1", "a-1"]]
    assert spool.holders() == {"r-1"}


def test_only_messages_of_dead_workers_come_back(spool: Spool) -> None:
    spool.put(["a-1", "a-2"])
    for number, replica in ((1, "live"), (2, "dead")):
        (spool.folder / "ready" / f"a-{number}").rename(spool.folder / "taken" / f"a-{number}@{replica}")
    assert spool.holders() == {"live", "dead"}
    assert spool.give_back({"dead", "gone"}) == [("a-2", "dead")]
    assert (spool.depth().ready, spool.depth().taken) == (1, 1)
    assert spool.give_back({"live"}) == [("a-1", "live")]
    assert spool.names() == {"a-1": 1, "a-2": 1}


def test_a_worker_that_hangs_does_so_once(spool: Spool) -> None:
    spool.put(["a-1"], hangs=1)
    env = {"PATH": os.environ["PATH"], "SPOOL": str(spool.folder), "CONTAINER_APP_REPLICA_NAME": "r-1"}
    with subprocess.Popen(["/bin/sh", str(spool.folder / "worker.sh")], env=env) as hanging:
        with pytest.raises(subprocess.TimeoutExpired):
            hanging.wait(0.5)
        hanging.kill()
    assert spool.give_back({"r-1"}) == [("a-1", "r-1")]
    assert work(spool, "r-2") == (0, "done: ~a-1")
