"""`scaler load` as a shell runs it: on RabbitMQ, with the sample worker as the workload of a real daemon."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import run_cli
from tests.e2e.daemon import SCALER, Daemon
from tests.infra.paths import COMPOSE
from tests.infra.rabbitmq import RabbitMQ


def document(queue: str, url: str) -> dict[str, Any]:
    """Write a job that runs the sample worker as a process for each message."""
    env = {"QUEUE": queue, "RESULT_QUEUE": f"{queue}-out", "AMQP_URL": url, "WAIT": "2"}
    rule = {
        "name": "jobs",
        "type": "rabbitmq",
        "metadata": {"queueName": queue, "mode": "QueueLength", "value": "1"},
        "auth": [{"secretRef": "url", "triggerParameter": "host"}],
    }
    scale = {"pollingInterval": 1, "maxExecutions": 3, "rules": [rule]}
    container = {
        "name": "worker",
        "command": [sys.executable, str(COMPOSE / "worker" / "rabbitmq_worker.py")],
        "env": [{"name": name, "value": value} for name, value in env.items()],
    }
    return {
        "name": "flooded",
        "properties": {
            "configuration": {
                "triggerType": "Event",
                "replicaTimeout": 120,
                "eventTriggerConfig": {"scale": scale},
                "secrets": [{"name": "url", "value": url}],
            },
            "template": {"containers": [container]},
        },
        "x-scaler": {"executor": "process"},
    }


@pytest.fixture
async def daemon(tmp_path: Path, rabbitmq: RabbitMQ, queue_name: str) -> AsyncIterator[Daemon]:
    """A daemon with that job."""
    await rabbitmq.declare(queue_name, f"{queue_name}-out")
    made = Daemon(tmp_path, settings={})
    made.write(document(queue_name, rabbitmq.amqp_url))
    try:
        await made.start()
        yield made
    finally:
        await made.kill()


def load(daemon: Daemon, url: str, queue: str, *words: str) -> subprocess.Popen[str]:
    """Start the command."""
    place = ["--queue", queue, "--results", f"{queue}-out", "--out", str(daemon.state / "reports")]
    return subprocess.Popen(
        [str(SCALER), "load", "rabbitmq=flooded", "--state-dir", str(daemon.state), *place, *words],
        env={**os.environ, "RABBITMQ_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def test_a_flood_drains_and_sums_up(daemon: Daemon, rabbitmq: RabbitMQ, queue_name: str) -> None:
    process = load(
        daemon, rabbitmq.amqp_url, queue_name, "--count", "8", "--rate", "4", "--burst", "2", "-o", "json"
    )
    out, told = await asyncio.to_thread(process.communicate, timeout=110)
    assert process.returncode == 0, told
    body = json.loads(out)
    (job,) = body["jobs"]
    assert (job["sent"], job["done"], job["lost"], job["duplicates"], job["maxExecutions"]) == (8, 8, 0, 0, 3)
    assert 1 <= job["peakRunning"] <= 3
    assert job["executions"]["total"] >= 8
    assert json.loads((daemon.state / "reports" / "load.json").read_text()) == body
    assert "<svg" in (daemon.state / "reports" / "load.html").read_text()
    assert "done 8/8" in told


async def test_ctrl_c_still_leaves_the_report(daemon: Daemon, rabbitmq: RabbitMQ, queue_name: str) -> None:
    process = load(daemon, rabbitmq.amqp_url, queue_name, "--count", "30", "--rate", "1", "--think", "0.1")
    assert process.stderr is not None
    deadline = time.monotonic() + 90
    while "done 1/" not in await asyncio.to_thread(process.stderr.readline) and time.monotonic() < deadline:
        pass
    process.send_signal(signal.SIGINT)
    out, _ = await asyncio.to_thread(process.communicate, timeout=60)
    (job,) = json.loads((daemon.state / "reports" / "load.json").read_text())["jobs"]
    assert (process.returncode, job["interrupted"]) == (130, True)
    assert 1 <= job["done"] <= job["sent"] < 30
    assert "Report: " in out


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        (("rabbit",), 2, "unknown feed 'rabbit'; did you mean 'rabbitmq'?"),
        (("rabbitmq",), 2, "RABBITMQ_URL: not set"),
        (("rabbitmq", "--burst", "5"), 2, "--rate"),
        (("rabbitmq", "--poison", "2"), 2, "--poison"),
    ],
    ids=range(4),
)
def test_what_is_wrong_with_its_options_is_told(
    args: tuple[str, ...], code: int, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RABBITMQ_URL", raising=False)
    result = run_cli("load", *args)
    assert (result.exit_code, text in result.stderr) == (code, True), result.stderr


def test_what_would_spoil_a_flood_is_told_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RABBITMQ_URL", "amqp://localhost/")
    (tmp_path / "file").touch()
    place = ("--state-dir", str(tmp_path), "--out", str(tmp_path / "file" / "reports"))
    result = run_cli("load", "rabbitmq", *place)
    assert (result.exit_code, "name a folder that you may write to" in result.stderr) == (2, True), result
    result = run_cli("load", "rabbitmq=a", "rabbitmq=b", "--state-dir", str(tmp_path))
    assert (result.exit_code, "take each other's reports" in result.stderr) == (2, True), result


def test_what_connects_may_stand_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RABBITMQ_URL", raising=False)
    monkeypatch.setenv("RABBITMQ_URL_FILE", str(tmp_path / "none"))
    assert "RABBITMQ_URL_FILE" in run_cli("load", "rabbitmq").stderr
    (tmp_path / "none").write_text("amqp://localhost/\n")
    result = run_cli("load", "rabbitmq", "--state-dir", str(tmp_path), "--out", str(tmp_path))
    assert (result.exit_code, "no daemon answers" in result.stderr) == (3, True)
