"""Kafka's own JARs in the cache, a formatted data folder to copy, and a class archive that halves each start."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.infra.choose import Unavailable
from tests.infra.install import run
from tests.infra.paths import cache_dir, locked
from tests.infra.process import LocalProcess, free_ports, tail

KAFKA_VERSION: Final = "4.3.1"
CLUSTER_ID: Final = "AAAAAAAAAAAAAAAAAAAAAA"
USER: Final = "scaler"
PASSWORD: Final = "canary-kafka"
"""Known to every broker made here, by SCRAM-SHA-256 and SCRAM-SHA-512."""
READY_LINE: Final = "Kafka Server started"
_COPY: Final = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_LOGS: Final = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
)
_SMALL: Final = ("-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", *_LOGS)
_POM: Final = """\
<project><modelVersion>4.0.0</modelVersion>
<groupId>test</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{version}</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>{version}</version>
<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions></dependency>
</dependencies></project>
"""
_PROPERTIES: Final = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners={listeners},CONTROLLER://127.0.0.1:{controller}
advertised.listeners={advertised}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,{protocols}
log.dirs={data}
auto.create.topics.enable=true
num.partitions=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
log.cleaner.dedupe.buffer.size=2000000
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
{more}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """One listener: its name, Kafka's word for how it is protected, where it listens and what it tells clients."""

    name: str
    protocol: str
    port: int
    advertised_port: int | None = None


def properties(listeners: tuple[Listener, ...], *, controller: int, data: Path, more: str = "") -> str:
    """Write a broker's configuration. Topics are created by whoever asks wrongly, so that tests can see it."""
    return _PROPERTIES.format(
        controller=controller,
        listeners=",".join(f"{each.name}://127.0.0.1:{each.port}" for each in listeners),
        advertised=",".join(
            f"{each.name}://127.0.0.1:{each.advertised_port or each.port}" for each in listeners
        ),
        protocols=",".join(f"{each.name}:{each.protocol}" for each in listeners),
        data=data,
        more=more,
    )


@dataclass(frozen=True, slots=True)
class KafkaHome:
    """The folder with `libs/`, `data/` (formatted, to copy) and `kafka.jsa`."""

    path: Path

    def java(self, main: str, *arguments: str, archive: str | None = None) -> list[str]:
        """Give the command of one of Kafka's classes."""
        classes = [f"-XX:SharedArchiveFile={archive}", "-Xshare:auto"] if archive else []
        return ["java", *_SMALL, *classes, "-cp", str(self.path / "libs" / "*"), main, *arguments]

    def broker(self, config: Path) -> list[str]:
        """Give the command of a broker."""
        return self.java("kafka.Kafka", str(config), archive=str(self.path / "kafka.jsa"))


def kafka_home() -> KafkaHome:
    """Return Kafka's folder in the cache, made on first use: some 12 s, 45 MB of JARs.

    Raises:
        Unavailable: Java or Maven is missing, or the JARs cannot be had.
    """
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            raise Unavailable(f"{program} is not on PATH")
    home = KafkaHome(cache_dir() / f"kafka-{KAFKA_VERSION}")
    stamp = home.path / ".complete"
    with locked("kafka"):
        if not stamp.exists():
            shutil.rmtree(home.path, ignore_errors=True)
            home.path.mkdir()
            _fetch(home)
            _format(home)
            _archive(home)
            stamp.touch()
    return home


def _fetch(home: KafkaHome) -> None:
    pom = home.path / "pom.xml"
    pom.write_text(_POM.format(version=KAFKA_VERSION))
    target = f"-DoutputDirectory={home.path / 'libs'}"
    run(["mvn", "-q", "-B", "-f", str(pom), _COPY, "-DincludeScope=runtime", target], timeout_s=300)


def _configured(home: KafkaHome) -> Path:
    port, controller = free_ports(2)
    config = home.path / "prepare.properties"
    listener = Listener(name="PLAINTEXT", protocol="PLAINTEXT", port=port)
    config.write_text(properties((listener,), controller=controller, data=home.path / "prepared"))
    return config


def _format(home: KafkaHome) -> None:
    config = _configured(home)
    users = [f"SCRAM-SHA-{bits}=[name={USER},password={PASSWORD}]" for bits in (256, 512)]
    scram = [word for user in users for word in ("--add-scram", user)]
    run(
        home.java("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(config), *scram),
        timeout_s=60,
    )
    shutil.copytree(home.path / "prepared", home.path / "data")


def _archive(home: KafkaHome) -> None:
    """Run a broker once, to keep the classes it loaded; without them brokers start too, only later."""
    command = home.java("kafka.Kafka", str(home.path / "prepare.properties"))
    command.insert(1, f"-XX:ArchiveClassesAtExit={home.path / 'kafka.jsa'}")
    log = home.path / "archive.log"
    process = LocalProcess(command, log=log)
    process.start()
    process.wait_ready(lambda: READY_LINE in tail(log, 50), timeout_s=60)
    process.stop(grace_s=30)
    shutil.rmtree(home.path / "prepared", ignore_errors=True)


def tool(home: KafkaHome, main: str, *arguments: str) -> str:
    """Run one of Kafka's command-line tools and return what it printed (about a second)."""
    done = subprocess.run(
        home.java(main, *arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout
