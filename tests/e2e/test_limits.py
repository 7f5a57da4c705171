"""Jobs that share a limit of the daemon, and a poison message, on real processes that count themselves."""

from __future__ import annotations

import signal
import sys
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import aio_pika
import pytest

from tests.e2e import counting_worker
from tests.e2e.daemon import Daemon
from tests.infra.rabbitmq import RabbitMQ

CAP = 4
MESSAGES = 12


def _document(
    job: str, queue: str, broker: RabbitMQ, marks: Path, *, protocol: str = "http", **own: Any
) -> dict[str, Any]:
    env = {"QUEUE": queue, "AMQP_URL": broker.amqp_url, "MARKS": str(marks)}
    metadata = {"queueName": queue, "protocol": protocol, "mode": "QueueLength", "value": "1"}
    rule = {
        "name": "queue", "type": "rabbitmq", "metadata": metadata,
        "auth": [{"triggerParameter": "host", "secretRef": "host"}],
    }  # fmt: skip
    return {
        "name": job,
        "properties": {
            "configuration": {
                "triggerType": "Event",
                "replicaTimeout": 300,
                "secrets": [
                    {"name": "host", "value": broker.http_url if protocol == "http" else broker.amqp_url}
                ],
                "eventTriggerConfig": {"scale": {"pollingInterval": 5, "maxExecutions": 50, "rules": [rule]}},
            },
            "template": {
                "containers": [
                    {
                        "name": "worker",
                        "command": [sys.executable, counting_worker.__file__],
                        "env": [{"name": key, "value": value} for key, value in env.items()],
                    }
                ]
            },
        },
        "x-scaler": {"executor": "process", **own},
    }


def _peak(lines: list[str]) -> int:
    live = most = 0
    for line in lines:
        live += 1 if line.startswith("+") else -1
        most = max(most, live)
    return most


@pytest.mark.timeout(300)
async def test_two_jobs_that_flood_at_once_under_a_cap_of_four_share_it_and_never_pass_it(
    rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    jobs = [f"{word}-{uuid.uuid4().hex[:8]}" for word in ("first", "second")]
    marks = tmp_path / "marks"
    limits = {"global": {"executions": CAP}}
    daemon = Daemon(tmp_path, settings={"log": {"format": "json"}, "limits": limits})
    await rabbitmq.declare(*jobs)
    for job in jobs:
        await rabbitmq.publish(job, [f"{job}/{number}" for number in range(MESSAGES)])
        daemon.write(_document(job, job, rabbitmq, marks))

    def is_done() -> bool:
        counts = [daemon.client.counts(job)["counts"]["Succeeded"] for job in jobs]
        return counts == [MESSAGES, MESSAGES]

    try:
        await daemon.start()
        await daemon.until(is_done, what="all messages are worked on", timeout_s=240)
        bounds = {d["bound"] for job in jobs for d in daemon.client.decisions(job, 500)}
    finally:
        daemon.end(signal.SIGKILL)

    lines = marks.read_text().splitlines()
    begun = [line.split()[1] for line in lines if line.startswith("+")]
    assert Counter(begun) == dict.fromkeys(jobs, MESSAGES)
    assert 2 <= _peak(lines) <= CAP
    assert min(begun[:MESSAGES].count(job) for job in jobs) >= 3, (
        "neither waits for the end of the other's flood"
    )
    assert bounds & {"limits.global.executions", "fairShare"}
    assert daemon.complaints() == []


@pytest.mark.timeout(300)
async def test_a_message_that_always_fails_is_moved_while_healthy_ones_are_worked_on(
    rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    job, marks = f"poisoned-{uuid.uuid4().hex[:8]}", tmp_path / "marks"
    dead = f"{job}-dead"
    async with await aio_pika.connect(rabbitmq.amqp_url, timeout=10) as connection:
        channel = await connection.channel()
        for queue in (job, dead):
            await channel.declare_queue(queue, durable=True, arguments={"x-queue-type": "quorum"})
    await rabbitmq.publish(job, ["one", "the bad", "two", "three"])
    daemon = Daemon(tmp_path, settings={"log": {"format": "json"}})
    poison = {"moveAfter": 2, "to": dead}
    daemon.write(_document(job, job, rabbitmq, marks, protocol="amqp", poison=poison))

    try:
        await daemon.start()
        moved = {"action": "message.moved", "job": job}
        await daemon.until(
            lambda: "poison.moved" in daemon.output.read_text(), what="it is moved", timeout_s=200
        )
        await daemon.until(
            lambda: daemon.client.counts(job)["counts"]["Succeeded"] >= 3, what="the others", timeout_s=60
        )
        (entry,) = daemon.client.audit(limit=5, **moved)
        reasons = {d["reason"] for d in daemon.client.decisions(job, 500)}
        failed = daemon.client.counts(job)["counts"]["Failed"]
    finally:
        daemon.end(signal.SIGKILL)

    assert f"it is moved to queue '{dead}'" in entry["detail"]
    assert "the bad" not in entry["detail"]
    assert "PoisonMoved" in reasons
    assert 2 <= failed <= 12
    async with await aio_pika.connect(rabbitmq.amqp_url, timeout=10) as connection:
        channel = await connection.channel()
        message = await (await channel.get_queue(dead, ensure=False)).get(timeout=10)
        assert message.body == b"the bad"
    assert daemon.complaints() == []
