"""The four ways to a broker of the fault matrix, each with its faults: what begins one and what ends it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import quote, urlsplit

import aiohttp.connector

from tests.infra.azurite import ACCOUNT, KEY, Azurite
from tests.infra.kafka import Kafka, NativeBroker, serves_groups, started
from tests.infra.kafka_install import PASSWORD, USER, Listener
from tests.infra.process import free_ports, wait_until
from tests.infra.rabbitmq import RabbitMQ
from tests.scalers.fault_kit import NEVER, Step, Victim
from tests.scalers.rabbitmq_kit import Authority, Relay, manage, with_port

FAULTS: Final = ("down", "slow", "half-open", "wrong password", "expired certificate", "deleted")
SLOWNESS_S: Final = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What a broker needs to set a victim up."""

    stack: AsyncExitStack
    authority: Authority
    queue: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """What begins and ends the faults that a relay cannot make."""

    password: tuple[Step, Step]
    entity: tuple[Step, Step]


async def _do(work: Callable[[], None]) -> None:
    work()


def steps(fault: str, relay: Relay, stage: Stage, own: Own) -> tuple[Step, Step]:
    """Give what begins a fault and what ends it."""

    def slow(seconds: float) -> None:
        relay.delay_s = seconds

    def certificate(*, expired: bool) -> None:
        assert relay.tls is not None
        stage.authority.equip(relay.tls, expired=expired)
        relay.cut()

    known: dict[str, tuple[Step, Step]] = {
        "down": (relay.__aexit__, relay.__aenter__),
        "slow": (lambda: _do(lambda: slow(SLOWNESS_S)), lambda: _do(lambda: slow(0.0))),
        "half-open": (lambda: _do(relay.freeze), lambda: _do(relay.thaw)),
        "wrong password": own.password,
        "expired certificate": (
            lambda: _do(lambda: certificate(expired=True)),
            lambda: _do(lambda: certificate(expired=False)),
        ),
        "deleted": own.entity,
    }
    return known[fault]


class Way(Protocol):
    """A way to a broker."""

    async def victim(self, fault: str, stage: Stage) -> Victim: ...

    def neighbour(self, queue: str) -> tuple[str, dict[str, str], dict[str, str]]:
        """Give type, metadata and auth of a rule that reaches the broker directly."""
        ...


@dataclass(frozen=True, slots=True)
class Rabbit:
    """RabbitMQ, by AMQP or by the management API."""

    broker: RabbitMQ
    is_http: bool

    @property
    def _url(self) -> str:
        return self.broker.http_url if self.is_http else self.broker.amqp_url

    def neighbour(self, queue: str) -> tuple[str, dict[str, str], dict[str, str]]:
        metadata = {"queueName": queue, "mode": "QueueLength", "value": "1", "activationValue": NEVER}
        return "rabbitmq", metadata, {"host": self._url}

    async def victim(self, fault: str, stage: Stage) -> Victim:
        await self.broker.declare(stage.queue)
        await self.broker.publish(stage.queue, ["a", "b"])
        tls = stage.authority.server() if fault == "expired certificate" else None
        relay = await stage.stack.enter_async_context(Relay(self._url, tls=tls))
        scheme = urlsplit(self._url).scheme + ("s" if tls else "")
        url, login = with_port(self._url, relay.port, scheme=scheme), f"user-{stage.queue}"
        if fault == "wrong password":
            await self._password(login, "right")
            path = quote(f"/permissions/%2F/{login}", safe="/%")
            await manage(self.broker.http_url, "PUT", path, {"configure": "", "write": "", "read": ""})
            url = urlsplit(url)._replace(netloc=f"{login}:right@127.0.0.1:{relay.port}").geturl()

        async def password(text: str) -> None:
            await self._password(login, text)
            relay.cut()

        own = Own(
            password=(lambda: password("another"), lambda: password("right")),
            entity=(lambda: self.broker.delete(stage.queue), lambda: self.broker.declare(stage.queue)),
        )
        begin, end = steps(fault, relay, stage, own)
        kind, metadata, _auth = self.neighbour(stage.queue)
        auth = {"host": url} | ({"ca": stage.authority.pem} if tls else {})
        name = "rabbitmq-http" if self.is_http else "rabbitmq-amqp"
        after = 0.0 if fault == "deleted" else 2.0
        return Victim(
            name=name, type=kind, metadata=metadata, auth=auth, begin=begin, end=end, value_after=after
        )

    async def _password(self, login: str, text: str) -> None:
        status = await manage(
            self.broker.http_url, "PUT", f"/users/{login}", {"password": text, "tags": "monitoring"}
        )
        assert status in (201, 204)


_JAAS = "org.apache.kafka.common.security.plain.PlainLoginModule required"
_LOGINS = f"""\
connection.failed.authentication.delay.ms=0
listener.name.login.sasl.enabled.mechanisms=PLAIN
listener.name.login.plain.sasl.jaas.config={_JAAS} user_{USER}="{PASSWORD}";
listener.name.other.sasl.enabled.mechanisms=PLAIN
listener.name.other.plain.sasl.jaas.config={_JAAS} user_{USER}="another";
"""


class KafkaBehind:
    """A Kafka broker with listeners that tell clients to come to ports where relays stand."""

    def __init__(self) -> None:
        names = ("PLAINTEXT", "FRONT", "SECURE", "LOGIN", "OTHER")
        found = free_ports(len(names) + 3)
        self._ports = dict(zip(names, found, strict=False))
        self._fronts = dict(zip(("FRONT", "SECURE", "LOGIN"), found[len(names) :], strict=True))
        self._fronts["OTHER"] = self._fronts["LOGIN"]
        listeners = tuple(
            Listener(
                name=name,
                protocol="SASL_PLAINTEXT" if name in ("LOGIN", "OTHER") else "PLAINTEXT",
                port=self._ports[name],
                advertised_port=self._fronts.get(name),
            )
            for name in names
        )
        self._node: NativeBroker = started(listeners, more=_LOGINS)
        bootstrap = f"127.0.0.1:{self._ports['PLAINTEXT']}"
        wait_until(lambda: serves_groups(bootstrap), timeout_s=30, what="Kafka")
        self.broker = Kafka(bootstrap=bootstrap, host=self._node)

    def close(self) -> None:
        """End the broker."""
        self.broker.close()

    def neighbour(self, queue: str) -> tuple[str, dict[str, str], dict[str, str]]:
        metadata = {
            "bootstrapServers": self.broker.bootstrap,
            "consumerGroup": queue,
            "topic": queue,
            "lagThreshold": "10",
            "activationLagThreshold": NEVER,
            "offsetResetPolicy": "earliest",
        }
        return "kafka", metadata, {}

    async def victim(self, fault: str, stage: Stage) -> Victim:
        await self.broker.create(stage.queue)
        await self.broker.publish(stage.queue, ["a", "b"])
        await self.broker.commit(stage.queue, stage.queue, {0: 0})
        listener = {"expired certificate": "SECURE", "wrong password": "LOGIN"}.get(fault, "FRONT")
        tls = stage.authority.server() if listener == "SECURE" else None
        target, front = f"tcp://127.0.0.1:{self._ports[listener]}", self._fronts[listener]
        relay = await stage.stack.enter_async_context(Relay(target, tls=tls, port=front))

        async def aim(name: str) -> None:
            relay.target_port = self._ports[name]
            relay.cut()

        own = Own(
            password=(lambda: aim("OTHER"), lambda: aim("LOGIN")),
            entity=(lambda: self.broker.delete(stage.queue), lambda: self.broker.create(stage.queue)),
        )
        begin, end = steps(fault, relay, stage, own)
        kind, metadata, auth = self.neighbour(stage.queue)
        metadata["bootstrapServers"] = f"127.0.0.1:{front}"
        if tls:
            auth = {"tls": "enable", "ca": stage.authority.pem}
        if listener == "LOGIN":
            auth = {"sasl": "plaintext", "username": USER, "password": PASSWORD}
        after = 0.0 if fault == "deleted" else 2.0
        return Victim(
            name="kafka", type=kind, metadata=metadata, auth=auth, begin=begin, end=end, value_after=after
        )


@dataclass(frozen=True, slots=True)
class AzureQueue:
    """Azurite, and a second one that knows the account by another key."""

    service: Azurite
    other: Callable[[], Azurite]

    def neighbour(self, queue: str) -> tuple[str, dict[str, str], dict[str, str]]:
        metadata = {"queueName": queue, "queueLength": "1", "activationQueueLength": NEVER}
        return "azure-queue", metadata, {"connection": self.service.connection_string}

    async def victim(self, fault: str, stage: Stage) -> Victim:
        await self.service.create(stage.queue)
        await self.service.send(stage.queue, ["a", "b"])
        tls = stage.authority.server() if fault == "expired certificate" else None
        if tls:  # the SDK trusts what the system trusts
            aiohttp.connector._SSL_CONTEXT_VERIFIED.load_verify_locations(cadata=stage.authority.pem)
        relay = await stage.stack.enter_async_context(Relay(self.service.url, tls=tls))
        right = relay.target_port
        other = urlsplit(self.other().url).port if fault == "wrong password" else None

        async def aim(port: int | None) -> None:
            relay.target_port = port
            relay.cut()

        own = Own(
            password=(lambda: aim(other), lambda: aim(right)),
            entity=(lambda: self.service.delete(stage.queue), lambda: self.service.create(stage.queue)),
        )
        begin, end = steps(fault, relay, stage, own)
        kind, metadata, _auth = self.neighbour(stage.queue)
        endpoint = f"http{'s' if tls else ''}://127.0.0.1:{relay.port}/{ACCOUNT}"
        auth = {"connection": f"AccountName={ACCOUNT};AccountKey={KEY};QueueEndpoint={endpoint};"}
        after = 0.0 if fault == "deleted" else 2.0
        return Victim(
            name="azure-queue",
            type=kind,
            metadata=metadata,
            auth=auth,
            begin=begin,
            end=end,
            value_after=after,
        )
