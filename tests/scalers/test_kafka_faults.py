"""The `kafka` scaler when brokers die, fall silent, are old, or when many rules poll at once."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from scaler.engine.sessions import Sessions
from scaler.errors import PollError
from scaler.ports.scaler import Scaler
from tests.infra.choose import Way, obtain
from tests.infra.kafka import Kafka, native_kafka
from tests.infra.process import free_ports
from tests.scalers.kafka_kit import CountingProxy, failing, opened, polled


@dataclass(frozen=True, slots=True)
class Behind:
    """A broker that tells clients to come to a port where a test may put a proxy."""

    broker: Kafka
    broker_port: int
    front: int


@pytest.fixture(scope="module")
def behind() -> Iterator[Behind]:
    """A broker whose own port nobody is told of."""
    port, front = free_ports(2)
    broker = obtain(
        "kafka", [Way(name="native", attempt=lambda: native_kafka(port=port, advertised_port=front))]
    )
    yield Behind(broker, port, front)
    broker.close()


@pytest.fixture
async def proxy(behind: Behind) -> AsyncIterator[CountingProxy]:
    async with CountingProxy(behind.broker_port, port=behind.front) as made:
        yield made


@pytest.fixture
async def topic(proxy: CountingProxy, behind: Behind, queue_name: str) -> str:
    """A topic of two partitions through the proxy, three messages, commits at the start."""
    through = Kafka(bootstrap=f"127.0.0.1:{behind.front}", host=behind.broker._host)
    await through.create(queue_name, partitions=2)
    await through.publish(queue_name, ["a", "b", "c"])
    await through.commit(queue_name, queue_name, {0: 0, 1: 0})
    proxy.requests.clear()
    proxy.accepted = 0
    return queue_name


def rule(proxy: CountingProxy, topic: str, **more: str) -> dict[str, str]:
    return {"bootstrapServers": f"127.0.0.1:{proxy.port}", "consumerGroup": topic, "topic": topic, **more}


async def test_two_hundred_rules_share_one_connection_and_a_handful_of_requests(
    proxy: CountingProxy, topic: str
) -> None:
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(Sessions())
        rules = [rule(proxy, topic) | {"consumerGroup": f"{topic}-{n}"} for n in range(199)]
        scalers = [
            await stack.enter_async_context(opened(each, pool=pool)) for each in [rule(proxy, topic), *rules]
        ]

        async def one(scaler: Scaler) -> float:
            await asyncio.sleep(0)
            return (await scaler.poll()).value

        for tick in range(2):
            began = time.monotonic()
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(scaler)) for scaler in scalers]
            assert [task.result() for task in tasks] == [3.0] + [2.0] * 199
            assert time.monotonic() - began < 2
            spent = sum(proxy.requests.values()) - proxy.requests["ApiVersions"]
            assert spent <= 10 * (tick + 1), proxy.requests
    assert proxy.accepted == 1
    assert set(proxy.requests) == {"ApiVersions", "Metadata", "FindCoordinator", "OffsetFetch", "ListOffsets"}


async def test_a_rule_with_nothing_waiting_costs_four_requests(proxy: CountingProxy, topic: str) -> None:
    async with opened(rule(proxy, topic, partitionLimitation="1")) as scaler:
        assert (await scaler.poll()).value == 0
        proxy.requests.clear()
        assert (await scaler.poll()).value == 0
    assert proxy.requests == Counter(Metadata=1, FindCoordinator=1, OffsetFetch=1, ListOffsets=1)


async def test_questions_that_come_during_a_round_are_answered_by_the_next(
    proxy: CountingProxy, topic: str
) -> None:
    async with Sessions() as pool, opened(rule(proxy, topic), pool=pool) as first:
        async with opened(rule(proxy, topic, lagThreshold="1"), pool=pool) as second:
            await first.poll()
            proxy.freeze()
            async with asyncio.TaskGroup() as group:
                early = group.create_task(first.poll())
                await asyncio.sleep(0.2)
                late = group.create_task(second.poll())
                await asyncio.sleep(0.2)
                proxy.thaw()
    before, after = early.result().as_of, late.result().as_of
    assert before is not None and after is not None
    assert (after - before).total_seconds() > 0.3


async def test_a_missing_topic_of_one_rule_spoils_no_other(proxy: CountingProxy, topic: str) -> None:
    async with Sessions() as pool, opened(rule(proxy, topic), pool=pool) as good:
        async with opened(rule(proxy, f"{topic}-missing"), pool=pool) as bad:
            await good.poll()
            async with asyncio.TaskGroup() as group:
                fine = group.create_task(good.poll())
                with failing("EntityNotFound"):
                    await bad.poll()
    assert fine.result().value == 3


async def test_a_cut_connection_is_opened_again(proxy: CountingProxy, topic: str) -> None:
    async with opened(rule(proxy, topic)) as scaler:
        assert (await scaler.poll()).value == 3
        proxy.cut()
        await asyncio.sleep(0.1)
        assert (await scaler.poll()).value == 3
    assert proxy.accepted == 2


async def test_a_login_that_the_broker_ended_is_renewed_within_the_poll(
    proxy: CountingProxy, topic: str
) -> None:
    async with opened(rule(proxy, topic)) as scaler:
        assert (await scaler.poll()).value == 3
        proxy.expire()
        assert (await scaler.poll()).value == 3
    assert proxy.accepted == 2


async def test_a_silent_broker_costs_a_bounded_time_and_then_all_is_well(
    proxy: CountingProxy, topic: str
) -> None:
    async with opened(rule(proxy, topic), timeout_s=1.5) as scaler:
        assert (await scaler.poll()).value == 3
        proxy.freeze()
        began = time.monotonic()
        with failing("Timeout") as caught:
            await scaler.poll()
        assert caught.value.transient
        assert time.monotonic() - began < 1.6
        proxy.thaw()
        assert (await scaler.poll()).value == 3


async def test_a_poll_that_is_cancelled_leaves_the_others_alone(proxy: CountingProxy, topic: str) -> None:
    async with Sessions() as pool, opened(rule(proxy, topic), pool=pool) as scaler:
        await scaler.poll()
        proxy.freeze()
        gone = asyncio.create_task(scaler.poll())
        stays = asyncio.create_task(scaler.poll())
        await asyncio.sleep(0.1)
        gone.cancel()
        await asyncio.wait([gone])
        proxy.thaw()
        assert (await stays).value == 3
    assert gone.cancelled()


async def test_closing_under_a_running_poll_ends_it_with_an_error(proxy: CountingProxy, topic: str) -> None:
    async with AsyncExitStack() as stack:
        scaler = await stack.enter_async_context(opened(rule(proxy, topic)))
        await scaler.poll()
        proxy.freeze()
        running = asyncio.create_task(scaler.poll())
        await asyncio.sleep(0.1)
    with failing("Unreachable"):
        await running


async def test_an_older_broker_is_asked_group_by_group(proxy: CountingProxy, topic: str) -> None:
    proxy._newest = {9: 5, 10: 2}
    assert await polled(rule(proxy, topic)) == (3.0, True)
    assert await polled(rule(proxy, topic) | {"topic": ""}) == (3.0, True)


async def test_a_broker_that_could_create_topics_by_being_asked_is_refused(
    proxy: CountingProxy, topic: str
) -> None:
    proxy._newest = {3: 3}
    async with opened(rule(proxy, topic)) as scaler:
        with failing("BrokerTooOld") as caught:
            await scaler.poll()
    assert not caught.value.transient


async def test_nobody_listening_is_told_as_such() -> None:
    (port,) = free_ports(1)
    meta = {"bootstrapServers": f"127.0.0.1:{port}", "consumerGroup": "g", "topic": "t"}
    async with opened(meta) as scaler:
        with failing("Unreachable") as caught:
            await scaler.poll()
    assert "cannot connect: " in str(caught.value)
    assert caught.value.transient


async def test_an_unknown_host_is_told_as_such() -> None:
    meta = {"bootstrapServers": "no-such-host.invalid", "consumerGroup": "g", "topic": "t"}
    async with opened(meta) as scaler:
        with failing("Unreachable") as caught:
            await scaler.poll()
    assert "kafka://no-such-host.invalid:9092: broker no-such-host.invalid:9092: " in str(caught.value)


async def test_the_second_server_answers_when_the_first_does_not(proxy: CountingProxy, topic: str) -> None:
    (dead,) = free_ports(1)
    servers = f"127.0.0.1:{dead},127.0.0.1:{proxy.port}"
    assert await polled(rule(proxy, topic) | {"bootstrapServers": servers}) == (3.0, True)


async def test_a_killed_broker_is_an_error_and_its_return_is_noticed_by_the_same_object(
    kafka: Kafka, queue_name: str
) -> None:
    await kafka.create(queue_name)
    await kafka.publish(queue_name, ["a", "b"])
    await kafka.commit(queue_name, queue_name, {0: 1})
    meta = {"bootstrapServers": kafka.bootstrap, "consumerGroup": queue_name, "topic": queue_name}
    async with opened(meta) as scaler:
        assert (await scaler.poll()).value == 1
        await asyncio.to_thread(kafka.kill)
        for _ in range(2):
            with failing("Unreachable") as caught:
                await scaler.poll()
            assert caught.value.transient
        await asyncio.to_thread(kafka.start)
        reasons: set[str] = set()
        async with asyncio.timeout(20):
            while (value := await _value_or_fault(scaler, reasons)) is None:
                await asyncio.sleep(0.1)
    assert value == 1
    assert reasons <= {"CoordinatorUnavailable", "LeaderUnavailable", "Unreachable"}


async def _value_or_fault(scaler: Scaler, reasons: set[str]) -> float | None:
    """Poll; keep why it failed, which must be something that passes: commits are loaded, leaders elected."""
    try:
        return (await scaler.poll()).value
    except PollError as exc:
        reasons.add(exc.reason if exc.transient else f"{exc.reason} for good")
        return None
