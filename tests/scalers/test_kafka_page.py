"""The workers that the page of the `kafka` scaler shows: each takes one message, commits it, and ends."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest

from tests.docs.tree import ROOT, blocks
from tests.infra.kafka import Kafka
from tests.scalers.kafka_kit import opened

HANDLE = "async def handle(body): print(body.decode())\n"
HANDED, MEMBER = [block.text for block in blocks("python") if block.where.startswith("docs/scalers/kafka.md")]


async def _run(text: str, **env: str) -> tuple[int | None, str]:
    command = [sys.executable, "-c", HANDLE + text]
    worker = await asyncio.create_subprocess_exec(
        *command, env={**os.environ, **env}, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        printed, _ = await worker.communicate()
    return worker.returncode, printed.decode()


@pytest.mark.timeout(120)
async def test_the_worker_that_is_handed_a_partition_takes_the_next_message_of_it(
    kafka: Kafka, queue_name: str
) -> None:
    await kafka.create(queue_name, partitions=2)
    for partition, bodies in enumerate((["a1", "a2"], ["b1", "b2", "b3"])):
        await kafka.publish(queue_name, bodies, partition=partition)
    rule = {
        "bootstrapServers": kafka.bootstrap,
        "consumerGroup": f"{queue_name}-group",
        "topic": queue_name,
        "offsetResetPolicy": "earliest",
        "assignPartitions": "true",
    }
    seen = []
    async with opened(rule) as scaler:
        for _ in range(2):
            longest = max((await scaler.poll()).shares or (), key=lambda share: share.value)
            done = await _run(HANDED, KAFKA_BOOTSTRAP=kafka.bootstrap, **dict(longest.env))
            seen.append((longest.key, longest.value, *done))
        left = [share.value for share in (await scaler.poll()).shares or ()]
    assert seen == [(f"{queue_name}/1", 3.0, 0, "b1\n"), (f"{queue_name}/0", 2.0, 0, "a1\n")]
    assert left == [1.0, 2.0]


async def test_the_worker_that_is_handed_none_takes_no_message_and_fails(
    kafka: Kafka, queue_name: str
) -> None:
    assert await _run(HANDED, KAFKA_BOOTSTRAP=kafka.bootstrap) == (1, "")


@pytest.mark.timeout(120)
async def test_the_worker_that_joins_the_group_takes_one_message(kafka: Kafka, queue_name: str) -> None:
    await kafka.create(queue_name, partitions=1)
    await kafka.publish(queue_name, ["first", "second"])
    text = MEMBER.replace('"orders"', f'"{queue_name}"').replace("order-workers", f"{queue_name}-group")
    rule = {
        "bootstrapServers": kafka.bootstrap,
        "consumerGroup": f"{queue_name}-group",
        "topic": queue_name,
        "offsetResetPolicy": "earliest",
    }
    assert await _run(text, KAFKA_BOOTSTRAP=kafka.bootstrap) == (0, "first\n")
    async with opened(rule) as scaler:
        assert (await scaler.poll()).value == 1
