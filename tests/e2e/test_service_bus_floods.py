"""Floods of a Service Bus: workers with the real SDK take one message each, exactly once, eight at a time."""

from __future__ import annotations

import pytest

from scaler.devbroker import DevBroker
from tests.e2e.conftest import Source
from tests.e2e.daemon import Daemon
from tests.e2e.proof import assert_each_once, settled, watched
from tests.e2e.work import BusQueue, Work, size
from tests.infra.engine import Engine
from tests.infra.host import External
from tests.infra.service_bus import SUBSCRIPTION, ServiceBus


@pytest.mark.timeout(700)
@pytest.mark.parametrize(("kind", "small"), [("bus-queue", 200), ("bus-subscription", 60)])
async def test_every_message_makes_one_execution_eight_at_a_time(
    kind: str, small: int, source: Source, docker_engine: Engine, worker_image: str, daemon: Daemon
) -> None:
    """The subscription has 200 messages with SCALER_FLOOD=full."""
    env = {"SUBSCRIPTION": SUBSCRIPTION} if kind == "bus-subscription" else {}
    work = Work(queue=source(kind), image=worker_image, env=env)
    await work.create()
    await work.send(size(small, 200))
    daemon.write(work.document())

    async with watched(docker_engine, work) as sampler:
        await daemon.start()
        account = await settled(daemon, work, docker_engine, timeout_s=600)

    assert_each_once(account, work)
    assert sampler.peak == 8


@pytest.mark.timeout(300)
async def test_a_flood_seen_only_as_a_lower_bound_is_worked_on_once_as_well(
    docker_engine: Engine, worker_image: str, daemon: Daemon
) -> None:
    async with DevBroker(key="managecanary", listen_key="listencanary") as broker:
        bus = ServiceBus(
            connection_string=broker.connection_string,
            admin_string=broker.admin_connection_string,
            host=External("service_bus", "DevBroker"),
            is_ours=True,
        )
        queue = BusQueue(bus, broker.listen_connection_string)
        work = Work(queue=queue, image=worker_image, interval_s=2, most=4)
        await work.create()
        await work.send(24)
        daemon.write(work.document())

        async with watched(docker_engine, work) as sampler:
            await daemon.start()
            account = await settled(daemon, work, docker_engine, timeout_s=200)
        decisions = await daemon.json("why", work.name, "-n", "1000")

    assert_each_once(account, work)
    assert sampler.peak == 4
    assert all(rule["lowerBound"] for decision in decisions for rule in decision["rules"])
    assert daemon.tail(100_000).count("rule.lower_bound") == 1
    assert "canary" not in daemon.tail(100_000)
