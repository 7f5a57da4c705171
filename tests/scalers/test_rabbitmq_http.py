"""The `rabbitmq` scaler over the management API, on a real broker."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import aio_pika
import pytest

from scaler.engine.sessions import Sessions
from scaler.model.sample import Sample
from tests.infra.process import free_ports
from tests.infra.rabbitmq import RabbitMQ
from tests.scalers.rabbitmq_kit import Relay, failing, manage, opened, with_port, with_vhost


def _rule(broker: RabbitMQ, queue: str, **more: str) -> dict[str, str]:
    return {"host": broker.http_url, "queueName": queue, "queueLength": "1", **more}


@contextlib.asynccontextmanager
async def _held(broker: RabbitMQ, queue: str, count: int) -> AsyncIterator[None]:
    """Hold messages without acknowledging them."""
    async with await aio_pika.connect(broker.amqp_url, timeout=10) as connection:
        channel = await connection.channel()
        taken = await channel.get_queue(queue)
        for _ in range(count):
            await taken.get()
        yield


async def test_an_empty_queue_is_zero_and_inactive(rabbitmq: RabbitMQ, queue_name: str) -> None:
    await rabbitmq.declare(queue_name)
    before = datetime.now(UTC)
    async with opened(_rule(rabbitmq, queue_name)) as scaler:
        sample = await scaler.poll()
    assert sample.as_of is not None
    assert before <= sample.as_of <= datetime.now(UTC)
    assert sample == Sample(value=0, active=False, includes_taken=True, taken=0, as_of=sample.as_of)


async def test_messages_are_counted_at_once_with_those_that_are_held(
    rabbitmq: RabbitMQ, queue_name: str
) -> None:
    await rabbitmq.declare(queue_name)
    await rabbitmq.publish(queue_name, [str(n) for n in range(5)])
    async with (
        opened(_rule(rabbitmq, queue_name)) as all_of_them,
        opened(_rule(rabbitmq, queue_name, excludeUnacknowledged="true")) as ready_only,
        _held(rabbitmq, queue_name, 2),
    ):
        samples = [await all_of_them.poll(), await ready_only.poll()]
    assert [(s.value, s.includes_taken, s.taken) for s in samples] == [(5, True, 2), (3, False, 2)]


@pytest.mark.parametrize("vhost", ["per%cent", "with blank", "with/slash", "a+b", "/", "%2F", "ünï"])
async def test_a_vhost_is_found_by_url_and_by_name(rabbitmq: RabbitMQ, queue_name: str, vhost: str) -> None:
    assert await manage(rabbitmq.http_url, "PUT", f"/vhosts/{quote(vhost, safe='')}") in (201, 204)
    assert await manage(rabbitmq.http_url, "PUT", f"/queues/{quote(vhost, safe='')}/{queue_name}") == 201
    hosts = [{"host": with_vhost(rabbitmq.http_url, "nowhere"), "vhostName": vhost}]
    if vhost != "%2F":  # in a URL this is the default vhost, however often it is encoded
        hosts.append({"host": with_vhost(rabbitmq.http_url, quote(vhost, safe=""))})
    for metadata in hosts:
        async with opened({**metadata, "queueName": queue_name}) as scaler:
            assert (await scaler.poll()).value == 0


async def test_a_queue_of_any_name_is_found_in_each_protocol_and_mode(
    rabbitmq: RabbitMQ, queue_name: str
) -> None:
    name = f"{queue_name} 100%/ü+#?&=\"'"
    assert await manage(rabbitmq.http_url, "PUT", f"/queues/%2F/{quote(name, safe='')}") == 201
    await asyncio.sleep(6)  # statistics are there after 5 s
    rate = {"mode": "MessageRate", "value": "1"}
    for rule in (
        {"host": rabbitmq.http_url, **rate},
        {"host": rabbitmq.http_url},
        {"host": rabbitmq.amqp_url},
    ):
        async with opened({**rule, "queueName": name}) as scaler:
            assert (await scaler.poll()).value == 0
    async with opened({"host": rabbitmq.amqp_url, "queueName": f"{name}-not"}) as scaler:
        with failing("EntityNotFound"):
            await scaler.poll()


async def test_the_default_vhost_is_found_in_each_spelling(rabbitmq: RabbitMQ, queue_name: str) -> None:
    await rabbitmq.declare(queue_name)
    base = rabbitmq.http_url.removesuffix("/%2F")
    for path in ("", "/", "/%2F", "/%2f", "//", "/%252F"):
        async with opened({"host": base + path, "queueName": queue_name}) as scaler:
            assert (await scaler.poll()).value == 0


async def test_the_statistics_of_a_quorum_queue_count_as_five_seconds_old(
    rabbitmq: RabbitMQ, queue_name: str
) -> None:
    body = {"durable": True, "arguments": {"x-queue-type": "quorum"}}
    assert await manage(rabbitmq.http_url, "PUT", f"/queues/%2F/{queue_name}", body) == 201
    async with opened(_rule(rabbitmq, queue_name)) as scaler:
        sample = await scaler.poll()
    assert sample.as_of is not None
    assert sample.as_of <= datetime.now(UTC) - timedelta(seconds=5)
    assert sample.value == 0


async def test_a_pattern_reads_all_pages_and_merges(rabbitmq: RabbitMQ, queue_name: str) -> None:
    names = [f"{queue_name}-{n}" for n in range(5)]
    await rabbitmq.declare(*names)
    for count, name in enumerate(names):
        await rabbitmq.publish(name, ["m"] * count)
    pattern = {"useRegex": "true", "pageSize": "2"}
    results = {}
    async with _held(rabbitmq, names[4], 1):
        for operation in ("sum", "avg", "max"):
            rule = _rule(rabbitmq, f"^{queue_name.upper()}-[0-4]$", operation=operation, **pattern)
            async with opened(rule) as scaler:
                sample = await scaler.poll()
            results[operation] = (sample.value, sample.taken)
        async with opened(
            _rule(rabbitmq, f"{queue_name}-[0-4]", excludeUnacknowledged="true", **pattern)
        ) as scaler:
            ready = await scaler.poll()
    assert results == {"sum": (10, 1), "avg": (2, 0), "max": (4, 1)}
    assert (ready.value, ready.taken, ready.includes_taken) == (9, 1, False)


async def test_a_pattern_that_matches_nothing_is_zero(rabbitmq: RabbitMQ, queue_name: str) -> None:
    async with opened(_rule(rabbitmq, f"^{queue_name}$", useRegex="true")) as scaler:
        sample = await scaler.poll()
    assert (sample.value, sample.active) == (0, False)


async def test_a_broken_pattern_is_an_error(rabbitmq: RabbitMQ) -> None:
    async with opened(_rule(rabbitmq, "(", useRegex="true")) as scaler:
        with failing("BadRequest"):
            await scaler.poll()


async def test_a_missing_queue_is_an_error_until_it_is_created(rabbitmq: RabbitMQ, queue_name: str) -> None:
    rate = {"host": rabbitmq.http_url, "queueName": queue_name, "mode": "MessageRate", "value": "1"}
    async with opened(_rule(rabbitmq, queue_name)) as scaler, opened(rate) as rate_scaler:
        for each in (scaler, rate_scaler):
            with failing("EntityNotFound") as caught:
                await each.poll()
            assert f"no queue '{queue_name}'" in str(caught.value)
        await rabbitmq.declare(queue_name)
        assert (await scaler.poll()).value == 0


async def test_refusals_are_told_apart(rabbitmq: RabbitMQ) -> None:
    base = f"127.0.0.1:{rabbitmq.http_url.rpartition(':')[2]}"
    user = {"password": "canary-pw", "tags": "monitoring"}
    assert await manage(rabbitmq.http_url, "PUT", "/users/canary-mon", user) in (201, 204)
    assert await manage(rabbitmq.http_url, "PUT", "/users/canary-none", {**user, "tags": ""}) in (201, 204)
    asked = {
        "http://guest:canary-bad@": "AuthenticationFailed",
        "http://": "AuthenticationFailed",
        "http://canary-mon:canary-pw@": "AuthorizationFailed",
        "http://canary-none:canary-pw@": "AuthorizationFailed",
    }
    for start, reason in asked.items():
        async with opened({"host": start + base, "queueName": "q"}) as scaler:
            with failing(reason) as caught:
                await scaler.poll()
        assert not caught.value.transient
        assert "canary" not in str(caught.value)
    async with opened({"host": with_vhost(rabbitmq.http_url, "no-such"), "queueName": "q"}) as scaler:
        with failing("EntityNotFound"):
            await scaler.poll()


async def test_the_monitoring_tag_and_an_empty_permission_are_enough(
    rabbitmq: RabbitMQ, queue_name: str
) -> None:
    await rabbitmq.declare(queue_name)
    nothing = {"configure": "^$", "write": "^$", "read": "^$"}
    for tag in ("monitoring", "management"):
        user = {"password": "pw", "tags": tag}
        assert await manage(rabbitmq.http_url, "PUT", f"/users/only-{tag}", user) in (201, 204)
        assert await manage(rabbitmq.http_url, "PUT", f"/permissions/%2F/only-{tag}", nothing) in (201, 204)
        auth = {"username": f"only-{tag}", "password": "pw"}
        async with opened(_rule(rabbitmq, queue_name), auth) as scaler:
            assert (await scaler.poll()).value == 0


async def test_nobody_listening_and_a_wrong_port_are_told(rabbitmq: RabbitMQ) -> None:
    (port,) = free_ports(1)
    async with opened({"host": f"http://u:canary@127.0.0.1:{port}/", "queueName": "q"}) as scaler:
        with failing("Unreachable") as caught:
            await scaler.poll()
    assert "canary" not in str(caught.value)
    async with opened({"host": "http://u:canary@no-such-host.invalid/", "queueName": "q"}) as scaler:
        with failing("Unreachable"):
            await scaler.poll()
    amqp_port = rabbitmq.amqp_url.rpartition(":")[2].partition("/")[0]
    async with opened({"host": f"http://u:canary@127.0.0.1:{amqp_port}/", "queueName": "q"}) as scaler:
        with failing("BadAnswer"):
            await scaler.poll()


async def test_a_silent_broker_times_out_and_is_read_again(rabbitmq: RabbitMQ, queue_name: str) -> None:
    await rabbitmq.declare(queue_name)
    async with Relay(rabbitmq.http_url) as relay, Sessions() as pool:
        rule = {"host": with_port(rabbitmq.http_url, relay.port), "queueName": queue_name}
        async with (
            opened(rule, pool=pool, timeout_s=20) as patient,
            opened({**rule, "timeout": "500"}, pool=pool, timeout_s=20) as hasty,
        ):
            assert [(await each.poll()).value for each in (patient, hasty)] == [0, 0]
            relay.freeze()
            waiting = asyncio.create_task(patient.poll())
            started = asyncio.get_running_loop().time()
            with failing("Timeout") as caught:
                await hasty.poll()
            assert asyncio.get_running_loop().time() - started < 1.5
            relay.thaw()
            assert (await waiting).value == 0
            assert (await hasty.poll()).value == 0
    assert "no answer within 0.5 s" in str(caught.value)
