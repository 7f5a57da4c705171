"""The `rabbitmq` scaler over AMQP, on a real broker."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from urllib.parse import quote

import aio_pika
import pytest

from scaler.engine.sessions import Sessions
from scaler.errors import PollError
from scaler.model.sample import Sample
from scaler.ports.scaler import Scaler
from tests.infra.process import free_ports
from tests.infra.rabbitmq import RabbitMQ
from tests.scalers.rabbitmq_kit import Relay, failing, look, manage, opened, with_port, with_vhost


def _rule(broker: RabbitMQ, queue: str, **more: str) -> dict[str, str]:
    return {"host": broker.amqp_url, "queueName": queue, "queueLength": "1", **more}


async def test_an_empty_queue_is_zero_and_inactive(rabbitmq: RabbitMQ, queue_name: str) -> None:
    await rabbitmq.declare(queue_name)
    before = datetime.now(UTC)
    async with opened(_rule(rabbitmq, queue_name)) as scaler:
        sample = await scaler.poll()
    assert sample.as_of is not None
    assert before <= sample.as_of <= datetime.now(UTC)
    assert sample == Sample(value=0, active=False, includes_taken=False, taken=0, as_of=sample.as_of)


async def test_ready_messages_are_counted_and_consumers_stand_for_taken_ones(
    rabbitmq: RabbitMQ, queue_name: str
) -> None:
    await rabbitmq.declare(queue_name)
    await rabbitmq.publish(queue_name, [str(n) for n in range(7)])
    async with (
        opened(
            {"host": rabbitmq.amqp_url, "queueName": queue_name, "mode": "QueueLength", "value": "2.5"}
        ) as scaler,
        await aio_pika.connect(rabbitmq.amqp_url, timeout=10) as connection,
    ):
        assert (await scaler.poll()).value == 7
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=1)
        queue = await channel.get_queue(queue_name)
        got = asyncio.Event()

        async def keep(_message: aio_pika.abc.AbstractIncomingMessage) -> None:
            got.set()

        await queue.consume(keep)
        await asyncio.wait_for(got.wait(), 10)
        sample = await scaler.poll()
    assert (sample.value, sample.taken, sample.includes_taken) == (6, 2.5, False)


async def test_at_the_activation_value_a_queue_is_inactive_and_above_it_is_active(
    rabbitmq: RabbitMQ, queue_name: str
) -> None:
    await rabbitmq.declare(queue_name)
    async with opened(_rule(rabbitmq, queue_name, activationValue="2")) as scaler:
        await rabbitmq.publish(queue_name, ["a", "b"])
        at = await scaler.poll()
        await rabbitmq.publish(queue_name, ["c"])
        above = await scaler.poll()
    assert [(s.value, s.active) for s in (at, above)] == [(2, False), (3, True)]


async def test_a_quorum_queue_is_counted_exactly(rabbitmq: RabbitMQ, queue_name: str) -> None:
    body = {"durable": True, "arguments": {"x-queue-type": "quorum"}}
    assert await manage(rabbitmq.http_url, "PUT", f"/queues/%2F/{queue_name}", body) == 201
    async with opened(_rule(rabbitmq, queue_name)) as scaler:
        await rabbitmq.publish(queue_name, ["a", "b", "c"])
        assert (await scaler.poll()).value == 3


@pytest.mark.parametrize("vhost", ["with/slash", "per%cent", "with blank", "/", "%2F", "ünï"])
async def test_a_vhost_is_found_by_url_and_by_name(rabbitmq: RabbitMQ, queue_name: str, vhost: str) -> None:
    assert await manage(rabbitmq.http_url, "PUT", f"/vhosts/{quote(vhost, safe='')}") in (201, 204)
    assert await manage(rabbitmq.http_url, "PUT", f"/queues/{quote(vhost, safe='')}/{queue_name}") == 201
    by_url = with_vhost(rabbitmq.amqp_url, quote(vhost, safe=""))
    elsewhere = with_vhost(rabbitmq.amqp_url, "nowhere")
    for metadata in ({"host": by_url}, {"host": elsewhere, "vhostName": vhost}):
        async with opened({**metadata, "queueName": queue_name}) as scaler:
            assert (await scaler.poll()).value == 0


async def test_a_slash_in_the_path_is_a_part_of_the_vhost(rabbitmq: RabbitMQ, queue_name: str) -> None:
    assert await manage(rabbitmq.http_url, "PUT", "/vhosts/with%2Fslash") in (201, 204)
    assert await manage(rabbitmq.http_url, "PUT", f"/queues/with%2Fslash/{queue_name}") == 201
    host = with_vhost(rabbitmq.amqp_url, "with/slash")
    async with opened({"host": host, "queueName": queue_name}) as scaler:
        assert (await scaler.poll()).value == 0


async def test_a_missing_queue_is_an_error_until_it_is_created(rabbitmq: RabbitMQ, queue_name: str) -> None:
    async with opened(_rule(rabbitmq, queue_name)) as scaler:
        with failing("EntityNotFound") as caught:
            await scaler.poll()
        assert f"no queue '{queue_name}'" in str(caught.value)
        await rabbitmq.declare(queue_name)
        assert (await scaler.poll()).value == 0


async def test_a_missing_queue_disturbs_no_other_rule_of_the_connection(
    rabbitmq: RabbitMQ, queue_name: str
) -> None:
    await rabbitmq.declare(queue_name)
    await rabbitmq.publish(queue_name, ["a"])
    async with Relay(rabbitmq.amqp_url) as relay, Sessions() as pool:
        host = with_port(rabbitmq.amqp_url, relay.port)
        async with (
            opened({"host": host, "queueName": queue_name}, pool=pool) as good,
            opened({"host": host, "queueName": f"{queue_name}-not"}, pool=pool) as bad,
        ):
            results = await asyncio.gather(
                *[scaler.poll() for _ in range(20) for scaler in (good, bad)], return_exceptions=True
            )
        assert relay.accepted == 1
    assert [r.value for r in results[::2] if isinstance(r, Sample)] == [1.0] * 20
    assert [r.reason for r in results[1::2] if isinstance(r, PollError)] == ["EntityNotFound"] * 20


async def test_a_missing_vhost_and_a_vhost_without_permission_are_told_apart(rabbitmq: RabbitMQ) -> None:
    async with opened({"host": with_vhost(rabbitmq.amqp_url, "no-such"), "queueName": "q"}) as scaler:
        with failing("EntityNotFound") as caught:
            await scaler.poll()
    assert "no such vhost" in str(caught.value)
    user = {"password": "canary-pw", "tags": ""}
    assert await manage(rabbitmq.http_url, "PUT", "/users/canary-user", user) in (201, 204)
    auth = {"username": "canary-user", "password": "canary-pw"}
    async with opened({"host": rabbitmq.amqp_url, "queueName": "q"}, auth) as scaler:
        with failing("AuthorizationFailed") as caught:
            await scaler.poll()
    assert "canary" not in str(caught.value)


async def test_no_permission_but_that_on_the_vhost_is_needed(rabbitmq: RabbitMQ, queue_name: str) -> None:
    await rabbitmq.declare(queue_name)
    user, nothing = {"password": "pw", "tags": ""}, {"configure": "^$", "write": "^$", "read": "^$"}
    assert await manage(rabbitmq.http_url, "PUT", "/users/looker", user) in (201, 204)
    assert await manage(rabbitmq.http_url, "PUT", "/permissions/%2F/looker", nothing) in (201, 204)
    async with opened(_rule(rabbitmq, queue_name), {"username": "looker", "password": "pw"}) as scaler:
        assert (await scaler.poll()).value == 0


async def test_an_exclusive_queue_of_another_connection_is_refused(
    rabbitmq: RabbitMQ, queue_name: str
) -> None:
    async with await aio_pika.connect(rabbitmq.amqp_url, timeout=10) as connection:
        await (await connection.channel()).declare_queue(queue_name, exclusive=True)
        async with opened(_rule(rabbitmq, queue_name)) as scaler:
            with failing("EntityLocked"):
                await scaler.poll()


async def test_a_wrong_password_is_told_without_showing_it(rabbitmq: RabbitMQ) -> None:
    host = f"amqp://canary-u:canary-pw@{rabbitmq.amqp_url.rpartition('@')[2]}"
    async with opened({"host": host, "queueName": "q"}) as scaler:
        with failing("AuthenticationFailed") as caught:
            await scaler.poll()
    assert not caught.value.transient
    assert "canary" not in str(caught.value)


async def test_nobody_listening_and_an_unknown_host_are_unreachable() -> None:
    (port,) = free_ports(1)
    for host in (f"amqp://u:canary@127.0.0.1:{port}/", "amqp://u:canary@no-such-host.invalid/"):
        async with opened({"host": host, "queueName": "q"}) as scaler:
            with failing("Unreachable") as caught:
                await scaler.poll()
        assert caught.value.transient
        assert "canary" not in str(caught.value)


async def test_a_hundred_rules_share_one_connection(rabbitmq: RabbitMQ, queue_name: str) -> None:
    await rabbitmq.declare(queue_name)
    await rabbitmq.publish(queue_name, ["a", "b"])
    async with (
        Relay(rabbitmq.amqp_url) as relay,
        Sessions() as pool,
        contextlib.AsyncExitStack() as stack,
    ):
        host = with_port(rabbitmq.amqp_url, relay.port)
        rules: list[Scaler] = [
            await stack.enter_async_context(opened({"host": host, "queueName": queue_name}, pool=pool))
            for _ in range(100)
        ]
        samples = await asyncio.gather(*[rule.poll() for rule in rules])
        assert relay.accepted == 1
    assert {sample.value for sample in samples} == {2.0}


async def test_a_silent_broker_times_out_and_the_next_poll_reconnects(
    rabbitmq: RabbitMQ, queue_name: str
) -> None:
    await rabbitmq.declare(queue_name)
    async with Relay(rabbitmq.amqp_url) as relay:
        host = with_port(rabbitmq.amqp_url, relay.port)
        async with opened({"host": host, "queueName": queue_name}, timeout_s=1.0) as scaler:
            assert (await scaler.poll()).value == 0
            relay.freeze()
            started = asyncio.get_running_loop().time()
            for _ in range(2):  # once on the open connection, once while connecting
                with failing("Timeout"):
                    await scaler.poll()
            assert asyncio.get_running_loop().time() - started < 3
            relay.thaw()
            assert (await scaler.poll()).value == 0
        assert relay.accepted == 3


async def test_many_rules_reconnect_once_after_the_connection_was_cut(
    rabbitmq: RabbitMQ, queue_name: str
) -> None:
    await rabbitmq.declare(queue_name)
    async with Relay(rabbitmq.amqp_url) as relay, Sessions() as pool, contextlib.AsyncExitStack() as stack:
        rule = {"host": with_port(rabbitmq.amqp_url, relay.port), "queueName": queue_name}
        rules = [await stack.enter_async_context(opened(rule, pool=pool)) for _ in range(30)]
        await asyncio.gather(*[each.poll() for each in rules])
        relay.cut()
        results = await asyncio.gather(*[each.poll() for each in rules], return_exceptions=True)
        assert {r.reason for r in results if isinstance(r, PollError)} <= {"Unreachable"}
        again = await asyncio.gather(*[each.poll() for each in rules])
        assert relay.accepted == 2
    assert {sample.value for sample in again} == {0.0}


async def test_a_connection_cut_during_a_poll_is_an_error_of_that_poll(
    rabbitmq: RabbitMQ, queue_name: str
) -> None:
    await rabbitmq.declare(queue_name)
    async with Relay(rabbitmq.amqp_url) as relay:
        host = with_port(rabbitmq.amqp_url, relay.port)
        async with opened({"host": host, "queueName": queue_name}, timeout_s=5.0) as scaler:
            await scaler.poll()
            relay.freeze()
            polling = asyncio.create_task(scaler.poll())
            await asyncio.sleep(0.1)
            relay.cut()
            with failing("Unreachable"):
                await polling
            relay.thaw()
            assert (await scaler.poll()).value == 0


async def test_a_cancelled_poll_stays_cancelled(rabbitmq: RabbitMQ, queue_name: str) -> None:
    await rabbitmq.declare(queue_name)
    async with Relay(rabbitmq.amqp_url) as relay:
        host = with_port(rabbitmq.amqp_url, relay.port)
        async with opened({"host": host, "queueName": queue_name}) as scaler:
            await scaler.poll()
            relay.freeze()
            polling = asyncio.create_task(scaler.poll())
            await asyncio.sleep(0.1)
            polling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await polling
            relay.thaw()
            assert (await scaler.poll()).value == 0


async def test_a_restarted_broker_is_found_again_on_both_protocols(
    rabbitmq: RabbitMQ, queue_name: str
) -> None:
    await rabbitmq.declare(queue_name)
    await rabbitmq.publish(queue_name, ["a"])
    http = {"host": rabbitmq.http_url, "queueName": queue_name}
    async with opened(_rule(rabbitmq, queue_name)) as amqp_rule, opened(http) as http_rule:
        before = [(await rule.poll()).value for rule in (amqp_rule, http_rule)]
        await asyncio.to_thread(rabbitmq.stop)
        for rule in (amqp_rule, http_rule):
            with failing("Unreachable"):
                await rule.poll()
        await asyncio.to_thread(rabbitmq.start)
        after = [(await rule.poll()).value for rule in (amqp_rule, http_rule)]
    assert (before, after) == ([1.0, 1.0], [1.0, 1.0])


async def test_closing_does_not_hang_on_a_silent_broker(rabbitmq: RabbitMQ, queue_name: str) -> None:
    await rabbitmq.declare(queue_name)
    async with Relay(rabbitmq.amqp_url) as relay:
        host = with_port(rabbitmq.amqp_url, relay.port)
        async with opened({"host": host, "queueName": queue_name}) as scaler:
            await scaler.poll()
            relay.freeze()
            started = asyncio.get_running_loop().time()
        took_s = asyncio.get_running_loop().time() - started
        others = [task.get_name() for task in asyncio.all_tasks() if "rabbitmq" in task.get_name()]
    assert took_s < 5
    assert others == []


async def test_the_broker_sees_one_connection_with_our_name(rabbitmq: RabbitMQ, queue_name: str) -> None:
    await rabbitmq.declare(queue_name)
    async with Sessions() as pool, contextlib.AsyncExitStack() as stack:
        rules = [
            await stack.enter_async_context(opened(_rule(rabbitmq, queue_name), pool=pool))
            for _ in range(100)
        ]
        await asyncio.gather(*[rule.poll() for rule in rules])
        names: list[str] = []
        for _ in range(100):  # the API learns of connections with a delay
            rows = await look(rabbitmq.http_url, "/connections?columns=user_provided_name")
            names = [row.get("user_provided_name", "") for row in rows]
            if "scaler" in names:
                break
            await asyncio.sleep(0.1)
    assert names.count("scaler") == 1
