"""The `rabbitmq` scaler over TLS: a real broker behind a TLS relay, and a scripted handshake for EXTERNAL."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pamqp.frame
import pytest
from pamqp import commands

from tests.infra.rabbitmq import RabbitMQ
from tests.scalers.rabbitmq_kit import Authority, Relay, failing, opened, with_port


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def _urls(broker: RabbitMQ) -> list[str]:
    return [broker.amqp_url, broker.http_url]


async def test_a_trusted_broker_is_read_and_a_strange_one_refused(
    rabbitmq: RabbitMQ, queue_name: str, authority: Authority
) -> None:
    await rabbitmq.declare(queue_name)
    for url in _urls(rabbitmq):
        async with Relay(url, tls=authority.server()) as relay:
            scheme = "amqps" if url.startswith("amqp") else "https"
            rule = {"host": with_port(url, relay.port, scheme=scheme), "queueName": queue_name}
            for more, auth in (({}, {"ca": authority.pem}), ({"unsafeSsl": "true"}, {})):
                async with opened({**rule, **more}, auth) as scaler:
                    assert (await scaler.poll()).value == 0
            async with opened(rule) as scaler:
                with failing("TlsFailed") as caught:
                    await scaler.poll()
            assert "certificate" in str(caught.value)
            assert not caught.value.transient


async def test_tls_enable_encrypts_whatever_the_scheme_says(
    rabbitmq: RabbitMQ, queue_name: str, authority: Authority
) -> None:
    await rabbitmq.declare(queue_name)
    auth = {"tls": "enable", "ca": authority.pem}
    for url in _urls(rabbitmq):
        async with (
            Relay(url, tls=authority.server()) as relay,
            opened({"host": with_port(url, relay.port), "queueName": queue_name}, auth) as scaler,
        ):
            assert (await scaler.poll()).value == 0
        async with opened({"host": url, "queueName": queue_name}, auth) as scaler:
            with failing("TlsFailed"):
                await scaler.poll()


async def test_a_client_certificate_with_an_encrypted_key_is_shown(
    rabbitmq: RabbitMQ, queue_name: str, authority: Authority
) -> None:
    await rabbitmq.declare(queue_name)
    cert, key = authority.pair(password="canary")
    auth = {"tls": "enable", "ca": authority.pem, "cert": cert, "key": key}
    for url in _urls(rabbitmq):
        async with Relay(url, tls=authority.server(ask_client=True)) as relay:
            rule = {"host": with_port(url, relay.port), "queueName": queue_name}
            async with opened(rule, {**auth, "keyPassword": "canary"}) as scaler:
                assert (await scaler.poll()).value == 0


async def test_unreadable_pem_texts_are_told_without_showing_them(authority: Authority) -> None:
    cert, key = authority.pair(password="canary")
    pairs = [
        {"ca": "canary"},
        {"cert": cert, "key": key},
        {"cert": cert, "key": key, "keyPassword": "canary2"},
    ]
    for url in ("amqp://127.0.0.1:1", "http://127.0.0.1:1"):
        for pair in pairs:
            with failing("TlsFailed") as caught:
                async with opened({"host": url, "queueName": "q"}, {"tls": "enable", **pair}) as scaler:
                    await scaler.poll()
            assert "canary" not in str(caught.value)


async def test_a_certificate_without_a_password_authenticates_by_external(authority: Authority) -> None:
    mechanisms: list[str] = []

    async def broker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        start = commands.Connection.Start(mechanisms="PLAIN EXTERNAL", locales="en_US", server_properties={})
        writer.write(pamqp.frame.marshal(start, 0))
        head = await reader.readexactly(7)
        body = await reader.readexactly(int.from_bytes(head[3:7], "big") + 1)
        answer = pamqp.frame.unmarshal(head + body)[2]
        assert isinstance(answer, commands.Connection.StartOk)
        mechanisms.append(answer.mechanism)
        refusal = commands.Connection.Close(
            reply_code=403, reply_text="ACCESS_REFUSED", class_id=0, method_id=0
        )
        writer.write(pamqp.frame.marshal(refusal, 0))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(broker, "127.0.0.1", 0, ssl=authority.server(ask_client=True))
    port = server.sockets[0].getsockname()[1]
    cert, key = authority.pair()
    auth = {"tls": "enable", "ca": authority.pem, "cert": cert, "key": key}
    for url in (f"amqp://127.0.0.1:{port}", f"amqp://user:secret@127.0.0.1:{port}"):
        async with opened({"host": url, "queueName": "q"}, auth) as scaler:
            with failing("AuthenticationFailed"):
                await scaler.poll()
    server.close()
    assert mechanisms == ["EXTERNAL", "PLAIN"]
