"""Outages of the broker and of the engine in the middle of a flood: no help is needed to get over them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.e2e.conftest import MakeDaemon, Source
from tests.e2e.daemon import Daemon
from tests.e2e.proof import assert_each_once, assert_nothing_lost, ended, settled, watched
from tests.e2e.work import Work
from tests.infra.engine import Engine
from tests.infra.rabbitmq import RabbitMQ


def events(daemon: Daemon, name: str) -> list[dict[str, Any]]:
    """Give the lines of the daemon's log with that event."""
    lines = [json.loads(line) for line in daemon.output.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == name]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["amqp"])
async def test_a_broker_that_is_gone_for_30_s_loses_nothing_and_holds_up_no_other_job(
    kind: str,
    source: Source,
    rabbitmq: RabbitMQ,
    docker_engine: Engine,
    worker_image: str,
    daemon: Daemon,
) -> None:
    """40 messages. Workers that the broker leaves fail; the broker gives their messages to others."""
    work = Work(queue=source(kind), image=worker_image, interval_s=2, env={"WORK": "0.5"})
    other = Work(queue=source("azure"), image=worker_image, interval_s=2)
    for one in (work, other):
        await one.create()
        daemon.write(one.document())
    await work.send(40)

    async with watched(docker_engine, work) as sampler, watched(docker_engine, other):
        await daemon.start()
        await daemon.until(lambda: ended(daemon, work) >= 6, what="the flood runs", timeout_s=60)
        await asyncio.to_thread(rabbitmq.stop)
        for _ in range(6):
            await other.send(1)
            await asyncio.sleep(5)
        during = await daemon.ask(lambda client: client.live_job(work.name))
        done_by_other = await asyncio.to_thread(ended, daemon, other)
        await asyncio.to_thread(rabbitmq.start)
        account = await settled(daemon, work, docker_engine, timeout_s=120)
        beside = await settled(daemon, other, docker_engine, timeout_s=20)
        health = await daemon.ask(lambda client: client.health())

    assert_nothing_lost(account, work)
    assert_each_once(beside, other)
    assert sampler.peak <= 8
    assert done_by_other >= 4, "the other job waited for the broker that was gone"
    assert [c["status"] for c in during["conditions"] if c["type"] == "Ready"] == ["False"]
    assert during["lastDecision"]["reason"] == "UnknownCount"
    assert health["ok"] is True
    assert health["latenessSeconds"]["p99"] < 0.5
    assert 1 <= len(events(daemon, "rule.failed")) <= 4, (
        "a failure is told when it changes, not at every poll"
    )
    assert len(events(daemon, "rule.recovered")) == 1


@pytest.mark.timeout(200)
@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
async def test_an_engine_that_restarts_in_the_middle_of_a_flood_loses_nothing(
    kill: bool, source: Source, spare_engine: Engine, worker_image: str, make_daemon: MakeDaemon
) -> None:
    """30 messages. The engine ends its containers; their messages go to others."""
    work = Work(queue=source("amqp"), image=worker_image, interval_s=2, env={"WORK": "0.5"})
    await work.create()
    await work.send(30)
    daemon = make_daemon(spare_engine)
    daemon.write(work.document())

    async with watched(spare_engine, work) as sampler:
        await daemon.start()
        await daemon.until(lambda: ended(daemon, work) >= 4, what="the flood runs", timeout_s=60)
        await asyncio.to_thread(spare_engine.restart, kill=kill)
        account = await settled(daemon, work, spare_engine, timeout_s=120, executions=20)
        health = await daemon.ask(lambda client: client.health())

    assert_nothing_lost(account, work, forgotten=1 if kill else 0)
    assert sampler.peak <= 8
    assert health["ok"] is True
    assert len(events(daemon, "docker.engine_unreachable")) >= 1
