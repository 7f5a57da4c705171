"""A real run is recorded and decided again: processes that empty a queue of the development broker."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import scaler.demo
from scaler.demo.job_file import CONNECTION_VARIABLE, JOB, QUEUE, write_job
from scaler.devbroker import DevBroker
from scaler.trace.lines import Decided, Ended
from scaler.trace.read import Trace
from tests.e2e.daemon import SCALER, Daemon

MESSAGES = 10
WORKER = Path(scaler.demo.__file__).with_name("worker.py")
SENDER = Path(scaler.demo.__file__).with_name("send.py")


async def run(*command: object, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    return await asyncio.to_thread(
        subprocess.run, words, capture_output=True, text=True, timeout=60, env=env, check=False
    )


@pytest.mark.timeout(240)
async def test_a_recorded_run_is_decided_again_with_the_same_launches(tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    async with DevBroker(key="canarykey") as broker:
        broker.add_queue(QUEUE)
        env = os.environ | {CONNECTION_VARIABLE: broker.connection_string, "QUEUE": QUEUE}
        daemon = Daemon(tmp_path, settings={"trace": {"file": str(trace)}}, env=env)
        (daemon.jobs / "demo.yaml").write_text(
            write_job(max_executions=3, admin_port=broker.http_port, python=sys.executable)
        )
        shutil.copy(WORKER, daemon.jobs)
        try:
            sent = await run(sys.executable, SENDER, MESSAGES, env=env)
            assert sent.returncode == 0, sent.stderr
            await daemon.start()
            await daemon.until(lambda: is_over(daemon), what="every message is done", timeout_s=120)
            await daemon.stop()
        finally:
            daemon.end(signal.SIGKILL)
        assert daemon.complaints() == []

    verified = await run(SCALER, "-o", "json", "simulate", "--trace", trace, "--verify", env=env)
    found = json.loads(verified.stdout)
    assert (verified.returncode, found["differences"], found["dropped"]) == (0, [], 0)
    entries = [placed.entry for placed in Trace(trace)]
    launched = {entry.decision_id: entry.outcome.launch for entry in entries if isinstance(entry, Decided)}
    started = [entry.decision_id for entry in entries if isinstance(entry, Ended)]
    assert {key: count for key, count in launched.items() if count} == {
        key: started.count(key) for key in started
    }
    assert found["launches"] == len(started) >= MESSAGES
    assert "canarykey" not in trace.read_text()

    tried = await run(
        SCALER, "-o", "json", "simulate", daemon.jobs, "--trace", trace, "--set", "maxExecutions=1", env=env
    )
    assert tried.returncode == 0, tried.stderr
    written, one = (outcome["jobs"][0] for outcome in json.loads(tried.stdout))
    assert (written["done"], one["done"], one["peak"]) == (written["messages"], written["messages"], 1)
    assert MESSAGES <= written["messages"] <= MESSAGES + 5  # deduced
    assert one["drainSeconds"] > written["drainSeconds"]


def is_over(daemon: Daemon) -> bool:
    """Whether as many executions as messages succeeded, and all have ended."""
    found = [item["properties"]["status"] for item in daemon.client.executions(JOB)]
    return found.count("Succeeded") == MESSAGES and not {"Running", "Processing"} & set(found)
