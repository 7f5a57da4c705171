"""The `kafka` scaler against listeners with TLS, SASL and an authorizer."""

from __future__ import annotations

import importlib.util
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from scaler.errors import ConfigError
from tests.infra.choose import Unavailable, absent
from tests.infra.kafka import Kafka
from tests.scalers.kafka_kit import (
    PASSWORD,
    USER,
    SecuredBroker,
    TokenServer,
    failing,
    opened,
    polled,
    secured,
    unsecured_token,
)
from tests.scalers.rabbitmq_kit import Authority

LOGIN = {"username": USER, "password": PASSWORD}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def broker(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    try:
        yield from secured(Path(tmp_path_factory.mktemp("broker")), authority)
    except Unavailable as exc:
        absent("kafka", str(exc))


@pytest.fixture
async def topic(broker: SecuredBroker, queue_name: str) -> str:
    """A topic with three messages."""
    plain = Kafka(bootstrap=broker.at("PLAINTEXT"), host=broker.node)
    await plain.create(queue_name)
    await plain.publish(queue_name, ["a", "b", "c"])
    return queue_name


def rule(broker: SecuredBroker, listener: str, topic: str, **more: str) -> dict[str, str]:
    earliest = {"consumerGroup": topic, "topic": topic, "offsetResetPolicy": "earliest"}
    return {"bootstrapServers": broker.at(listener), **earliest, **more}


@pytest.mark.parametrize(
    ("listener", "sasl"),
    [("SPLAIN", "plaintext"), ("SCRAMPLAIN", "scram_sha256"), ("SCRAMPLAIN", "scram_sha512")],
)
async def test_users_log_in(broker: SecuredBroker, topic: str, listener: str, sasl: str) -> None:
    assert await polled(rule(broker, listener, topic, sasl=sasl), LOGIN) == (3.0, True)


async def test_tls_trusts_the_given_ca(broker: SecuredBroker, topic: str, authority: Authority) -> None:
    tls = {"tls": "enable", "ca": authority.pem}
    assert await polled(rule(broker, "TLS", topic), tls) == (3.0, True)
    both = {**tls, "sasl": "scram_sha512", **LOGIN}
    assert await polled(rule(broker, "SCRAM", topic), both) == (3.0, True)


async def test_a_client_certificate_logs_in(broker: SecuredBroker, topic: str, authority: Authority) -> None:
    for password in ("", "canary"):
        cert, key = authority.pair(password=password)
        tls = {"tls": "enable", "ca": authority.pem, "cert": cert, "key": key, "keyPassword": password}
        assert await polled(rule(broker, "MTLS", topic), tls) == (3.0, True)


async def test_unsafe_ssl_trusts_anybody(broker: SecuredBroker, topic: str) -> None:
    assert await polled(rule(broker, "TLS", topic, tls="enable", unsafeSsl="true")) == (3.0, True)


async def test_tokens_are_got_once_and_sent(broker: SecuredBroker, topic: str) -> None:
    answer = {"access_token": unsecured_token(), "expires_in": 600}
    async with TokenServer((200, answer)).serving() as server:
        auth = {"sasl": "oauthbearer", **LOGIN, "oauthTokenEndpointUri": server.url, "scopes": "a,b"}
        auth["oauthExtensions"] = "traceId=x"
        async with opened(rule(broker, "OAUTH", topic), auth) as scaler:
            for _ in range(2):
                assert (await scaler.poll()).value == 3
    assert [(each["grant_type"], each["scope"]) for each in server.asked] == [("client_credentials", "a b")]


async def test_a_refused_token_is_told_and_a_new_one_is_got(broker: SecuredBroker, topic: str) -> None:
    old = {"access_token": unsecured_token(life_s=-1), "expires_in": 600}
    new = {"access_token": unsecured_token(), "expires_in": 600}
    async with TokenServer((200, old), (200, new)).serving() as server:
        auth = {"sasl": "oauthbearer", **LOGIN, "oauthTokenEndpointUri": server.url}
        async with opened(rule(broker, "OAUTH", topic), auth) as scaler:
            with failing("AuthenticationFailed"):
                await scaler.poll()
            assert (await scaler.poll()).value == 3


async def test_an_endpoint_that_gives_no_token_is_told(broker: SecuredBroker, topic: str) -> None:
    async with TokenServer((401, {"error": "invalid_client"})).serving() as server:
        auth = {"sasl": "oauthbearer", **LOGIN, "oauthTokenEndpointUri": server.url}
        async with opened(rule(broker, "OAUTH", topic), auth) as scaler:
            with failing("AuthenticationFailed") as caught:
                await scaler.poll()
    assert "check username and password (client id and secret)" in str(caught.value)
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))


WRONG = "AuthenticationFailed"
HINT = "does that listener take what tls and sasl say?"
REFUSED: list[tuple[str, str, dict[str, str], str, str]] = [
    ("wrong password, plain", "SPLAIN", {"sasl": "plaintext", "password": "canary-x"}, WRONG, "was refused"),
    (
        "wrong password, scram",
        "SCRAMPLAIN",
        {"sasl": "scram_sha256", "password": "canary-x"},
        WRONG,
        "refused",
    ),
    ("unknown user", "SCRAMPLAIN", {"sasl": "scram_sha512", "username": "canary-y"}, WRONG, "was refused"),
    ("another mechanism", "SPLAIN", {"sasl": "scram_sha512"}, WRONG, "does not offer SCRAM-SHA-512"),
    ("a login nobody asks for", "PLAINTEXT", {"sasl": "plaintext"}, WRONG, "takes no SASL"),
    ("no login", "SPLAIN", {}, "Unreachable", HINT),
    ("unknown CA", "TLS", {"tls": "enable"}, "TlsFailed", "unable to get local issuer certificate"),
    ("TLS at a plain port", "PLAINTEXT", {"tls": "enable"}, "TlsFailed", "is this a TLS port?"),
    ("no client certificate", "MTLS", {"tls": "enable"}, "TlsFailed", "bad certificate; check ca"),
    ("no TLS at a TLS port", "TLS", {}, "Unreachable", HINT),
    ("no rights", "SPLAIN", {"sasl": "plaintext", "username": "nobody"}, "AuthorizationFailed", "Describe"),
]


@pytest.mark.parametrize(
    ("listener", "auth", "reason", "words"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
async def test_why_nothing_could_be_read_is_told_without_secrets(
    broker: SecuredBroker,
    topic: str,
    authority: Authority,
    caplog: pytest.LogCaptureFixture,
    listener: str,
    auth: dict[str, str],
    reason: str,
    words: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    login = LOGIN if "sasl" in auth else {}
    trust = {"ca": authority.pem} if listener == "MTLS" else {}
    async with opened(rule(broker, listener, topic), {**login, **trust, **auth}, timeout_s=3) as scaler:
        with failing(reason) as caught:
            await scaler.poll()
    assert words in str(caught.value)
    assert caught.value.transient == (reason == "Unreachable")
    assert "canary" not in "".join(traceback.format_exception(caught.value)) + caplog.text


async def test_a_group_without_rights_is_told(broker: SecuredBroker, topic: str) -> None:
    auth = {"sasl": "plaintext", "username": "nobody", "password": PASSWORD}
    async with opened(rule(broker, "SPLAIN", topic) | {"topic": ""}, auth) as scaler:
        with failing("AuthorizationFailed") as caught:
            await scaler.poll()
    assert f"group '{topic}'" in str(caught.value)


async def test_unreadable_pem_texts_are_told_without_showing_them(authority: Authority) -> None:
    cert, key = authority.pair(password="canary")
    pairs = [
        {"ca": "canary"},
        {"cert": cert, "key": key},
        {"cert": cert, "key": key, "keyPassword": "canary2"},
    ]
    meta = {"bootstrapServers": "127.0.0.1:1", "consumerGroup": "g", "topic": "t", "tls": "enable"}
    for pair in pairs:
        async with opened(meta, pair) as scaler:
            with failing("TlsFailed") as caught:
                await scaler.poll()
        assert "canary" not in str(caught.value)


async def test_kerberos_without_its_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    meta = {"bootstrapServers": "127.0.0.1:1", "consumerGroup": "g", "topic": "t", "sasl": "gssapi"}
    with pytest.raises(ConfigError, match="sasl gssapi needs the package 'gssapi'"):
        async with opened(meta):
            pass
