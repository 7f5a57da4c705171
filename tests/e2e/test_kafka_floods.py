"""Floods over Kafka, ten partitions and eight containers at a time: with handed-out partitions, and by a group.

Each test prints what it saw (`pytest -s`); the figures of docs/adr/0013 come from there.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from typing import Any

import pytest

from tests.e2e.daemon import Daemon
from tests.e2e.kafka_work import PARTITIONS, KafkaTopic
from tests.e2e.proof import Account, assert_each_once, settled, status_of, watched
from tests.e2e.work import Work, size
from tests.infra.engine import Engine
from tests.infra.kafka import Kafka


async def _reports(work: Work, broker: Kafka) -> list[dict[str, Any]]:
    """Read all reports once more, from the beginning."""
    lines = await KafkaTopic(broker, hands_out=False).drain(work.reports)()
    return [json.loads(line) for line in lines]


def _tell(name: str, account: Account, reports: list[dict[str, Any]], seconds: float, peak: int) -> None:
    waits = sorted(report["waited_s"] for report in reports if not report.get("empty"))
    handled = Counter(report["body"] for report in reports if not report.get("empty"))
    print(
        f"\n{name}: {len(handled)} messages in {seconds:.0f} s; {len(account.executions)} executions "
        f"{dict(account.statuses)}; {sum(n - 1 for n in handled.values())} worked on again; "
        f"{account.results.empty} found none; to the message median {waits[len(waits) // 2]:.2f} s, "
        f"longest {waits[-1]:.2f} s; at most {peak} at a time"
    )


@pytest.mark.timeout(500)
@pytest.mark.parametrize("work_s", size(["0"], ["0", "2", "6"]))
async def test_200_messages_with_handed_out_partitions_make_exactly_200_executions(
    work_s: str, kafka: Kafka, docker_engine: Engine, worker_image: str, daemon: Daemon
) -> None:
    work = Work(queue=KafkaTopic(kafka, hands_out=True), image=worker_image, env={"WORK": work_s})
    await work.create()
    await work.send(200)
    daemon.write(work.document())

    async with watched(docker_engine, work) as sampler:
        began = time.monotonic()
        await daemon.start()
        account = await settled(daemon, work, docker_engine, timeout_s=400)
        seconds = time.monotonic() - began

    reports = await _reports(work, kafka)
    _tell(f"handed out, work {work_s} s", account, reports, seconds, sampler.peak)
    assert_each_once(account, work)
    assert sampler.peak == 8
    assert sampler.samples > 100
    shares = {one["name"]: one["properties"]["share"] for one in account.executions}
    assert {r["execution"]: f"{work.source}/{r['partition']}" for r in reports} == shares
    assert Counter(shares.values()) == {f"{work.source}/{n}": 20 for n in range(PARTITIONS)}


@pytest.mark.timeout(400)
async def test_kills_of_the_daemon_put_no_second_execution_on_a_partition(
    kafka: Kafka, docker_engine: Engine, worker_image: str, daemon: Daemon
) -> None:
    work = Work(queue=KafkaTopic(kafka, hands_out=True), image=worker_image, interval_s=2, env={"WORK": "1"})
    await work.create()
    await work.send(80)
    daemon.write(work.document())
    left: list[int] = []

    async with watched(docker_engine, work) as sampler:
        for pause_s in (0.3, 0.7, 1.1, 1.5, 1.9, 2.3):
            await daemon.start()
            await asyncio.sleep(pause_s)
            await daemon.kill()
            left.append(await work.queue.left(work.source))
        await daemon.start()
        account = await settled(daemon, work, docker_engine, timeout_s=200)

    assert_each_once(account, work)
    assert sampler.peak <= 8
    assert min(left) > 0, "every kill was to fall into the flood"


@pytest.mark.timeout(700)
@pytest.mark.parametrize(("count", "work_s"), size([(24, "1")], [(200, "0"), (200, "2"), (60, "6")]))
async def test_a_plain_consumer_group_drains_with_nothing_lost_and_never_above_the_maximum(
    count: int, work_s: str, kafka: Kafka, docker_engine: Engine, worker_image: str, daemon: Daemon
) -> None:
    """24 messages (up to 200 with SCALER_FLOOD=full): each container's joining and leaving halts the whole group.

    With 6 s of work an execution is longer than the 3 s between two heartbeats: the group rebalances under it.
    """
    work = Work(
        queue=KafkaTopic(kafka, hands_out=False), image=worker_image, env={"WAIT": "20", "WORK": work_s}
    )
    work.env["GROUP"] = f"{work.source}-group"
    await work.create()
    await work.send(count)
    daemon.write(work.document())

    async with watched(docker_engine, work) as sampler:
        began = time.monotonic()
        await daemon.start()
        account = await settled(daemon, work, docker_engine, timeout_s=600)
        seconds = time.monotonic() - began

    _tell(f"group, work {work_s} s", account, await _reports(work, kafka), seconds, sampler.peak)
    assert account.results.consumed.keys() == work.sent.keys()
    assert account.left == 0
    assert account.containers == []
    assert sampler.peak <= 8
    assert {status_of(one) for one in account.executions} <= {"Succeeded", "Failed"}
    assert account.results.by_execution.keys() == {one["name"] for one in account.executions}
