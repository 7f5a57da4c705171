"""Apache Kafka: given, in a container, or a native single node (KRaft) on free ports of 127.0.0.1."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition  # type: ignore[import-untyped]
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete  # type: ignore[import-untyped]

from tests.infra.choose import Unavailable, Way, obtain
from tests.infra.host import DOWN, External, Host
from tests.infra.kafka_install import KAFKA_VERSION, READY_LINE, Listener, kafka_home, properties
from tests.infra.official import Offer, run_official
from tests.infra.process import LocalProcess, free_ports, wait_until

OFFICIAL_IMAGE: Final = f"apache/kafka:{KAFKA_VERSION}"
_WARM_UP: Final = bytes.fromhex("00000011 000a 0000 00000001 ffff 0005") + b"tests"
"""FindCoordinator v0 with correlation id 1; the first one makes the broker create its topic of commits."""


class Kafka:
    """One broker at `bootstrap`, plain and without password. Topics and groups: use names of your own."""

    def __init__(self, *, bootstrap: str, host: Host) -> None:
        self.bootstrap = bootstrap
        self._host = host

    def start(self) -> None:
        """Start the stopped broker again, same ports, same data; returns when it serves."""
        self._host.start()
        self.wait_ready()
        DOWN.discard(self)

    def wait_ready(self, *, timeout_s: float = 60.0) -> None:
        """Block until the broker serves groups; an open port proves nothing."""
        wait_until(self.answers, timeout_s=timeout_s, what=f"Kafka {self.bootstrap}")

    def answers(self) -> bool:
        """Tell whether the first server of the list serves groups."""
        return serves_groups(self.bootstrap.split(",", maxsplit=1)[0])

    def stop(self) -> None:
        """Stop the broker politely; data and commits are kept."""
        self._host.stop()
        DOWN.add(self)

    def kill(self) -> None:
        """Kill the broker at once; what it acknowledged is kept. The next start takes some 4 s."""
        self._host.kill()
        DOWN.add(self)

    def close(self) -> None:
        """End it for good and drop its data."""
        self._host.close()
        DOWN.discard(self)

    async def create(self, topic: str, *, partitions: int = 1, **config: str) -> None:
        """Create a topic, led on return; `config` in Kafka's words with `_` for `.`."""
        settings = {key.replace("_", "."): value for key, value in config.items()}
        async with _Admin(bootstrap_servers=self.bootstrap) as admin, asyncio.timeout(10):
            await admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=settings)])
            while await admin.led_partitions(topic) < partitions:
                await asyncio.sleep(0.01)

    async def topics(self) -> set[str]:
        """List all topics; creates none."""
        async with _Admin(bootstrap_servers=self.bootstrap) as admin:
            return set(await admin.list_topics())

    async def delete(self, *topics: str) -> None:
        """Delete topics with whatever they hold."""
        async with _Admin(bootstrap_servers=self.bootstrap) as admin:
            await admin.delete_topics(list(topics))

    async def publish(self, topic: str, bodies: Iterable[str], *, partition: int = 0) -> None:
        """Publish messages to one partition; all are acknowledged on return."""
        async with AIOKafkaProducer(bootstrap_servers=self.bootstrap) as producer:
            for body in bodies:
                await producer.send(topic, body.encode(), partition=partition)
            await producer.flush()

    async def commit(self, group: str, topic: str, offsets: Mapping[int, int]) -> None:
        """Commit offsets by partition, as a consumer that assigns partitions by hand does; joins no group."""
        places = {TopicPartition(topic, partition): offset for partition, offset in offsets.items()}
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap, group_id=group, enable_auto_commit=False
        )
        consumer.assign(list(places))
        async with consumer:
            await consumer.commit(places)

    async def delete_before(self, topic: str, partition: int, offset: int) -> None:
        """Delete the records before an offset, as retention does in time."""
        async with _Admin(bootstrap_servers=self.bootstrap) as admin:
            place = TopicPartition(topic, partition)
            await admin.delete_records({place: RecordsToDelete(before_offset=offset)})


class _Admin(AIOKafkaAdminClient):  # type: ignore[misc]
    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    async def led_partitions(self, topic: str) -> int:
        """Count the partitions that clients can already be sent to; the broker learns of them a little late."""
        cluster = await self._client.fetch_all_metadata()
        return len(cluster.available_partitions_for_topic(topic) or ())


class NativeBroker:
    """A node on Kafka's own JARs with a folder of its own; further listeners and settings if need be."""

    def __init__(self, listeners: tuple[Listener, ...], *, more: str = "") -> None:
        home = kafka_home()
        self._folder = Path(tempfile.mkdtemp(prefix="scaler-kafka-"))
        shutil.copytree(home.path / "data", self._folder / "data")
        (controller,) = free_ports(1)
        config = self._folder / "server.properties"
        config.write_text(properties(listeners, controller=controller, data=self._folder / "data", more=more))
        self.log = self._folder / "node.log"
        self._process = LocalProcess(home.broker(config), log=self.log, cwd=self._folder)
        self._address = f"127.0.0.1:{listeners[0].port}"

    def start(self) -> None:
        """Start the node; its log is begun anew."""
        self.log.write_text("")
        self._process.start()

    def wait_ready(self) -> None:
        """Wait with the log at hand, so that a failed start tells why."""
        self._process.wait_ready(lambda: READY_LINE in self.log.read_text(errors="replace"), timeout_s=60)

    def stop(self) -> None:
        """Let the node end by itself; its data stay."""
        self._process.stop(grace_s=20)

    def kill(self) -> None:
        """Kill the node; its data stay."""
        self._process.kill()

    def close(self) -> None:
        """Kill it and remove its folder."""
        self._process.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


def start_kafka() -> Kafka:
    """Return a serving broker: KAFKA_BOOTSTRAP, the official image, or a native node."""
    return obtain(
        "kafka",
        [
            Way(name="KAFKA_BOOTSTRAP", attempt=_from_environment),
            Way(name="container", attempt=_from_image),
            Way(name="native node", attempt=native_kafka),
        ],
    )


def native_kafka(*, advertised_port: int | None = None, port: int | None = None) -> Kafka:
    """Start a node of our own. A proxy in front of it gets its port advertised."""
    used = port or free_ports(1)[0]
    listener = Listener(name="PLAINTEXT", protocol="PLAINTEXT", port=used, advertised_port=advertised_port)
    return _serving(used, started((listener,)))


def started(listeners: tuple[Listener, ...], *, more: str = "") -> NativeBroker:
    """Start a node; returns when it serves."""
    node = NativeBroker(listeners, more=more)
    try:
        node.start()
        node.wait_ready()
    except BaseException:
        node.close()
        raise
    return node


def _from_environment() -> Kafka:
    bootstrap = os.environ.get("KAFKA_BOOTSTRAP")
    if not bootstrap:
        raise Unavailable("not set")
    broker = Kafka(bootstrap=bootstrap, host=External("kafka", "KAFKA_BOOTSTRAP"))
    broker.wait_ready(timeout_s=10)
    return broker


def _from_image() -> Kafka:
    (port,) = free_ports(1)
    env = {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "KAFKA_LISTENERS": "PLAINTEXT://:9092,CONTROLLER://:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://127.0.0.1:{port}",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
    }
    return _serving(port, run_official(Offer(image=OFFICIAL_IMAGE, ports={9092: port}, env=env)))


def _serving(port: int, host: Host) -> Kafka:
    broker = Kafka(bootstrap=f"127.0.0.1:{port}", host=host)
    try:
        broker.wait_ready()
    except BaseException:
        host.close()
        raise
    return broker


def serves_groups(address: str) -> bool:
    """Tell whether a server knows, within two seconds, who keeps the commits of a group."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=2) as connection:
            connection.sendall(_WARM_UP)
            answer = connection.recv(10)
    except OSError:
        return False
    return len(answer) == 10 and answer[8:] == bytes(2)
