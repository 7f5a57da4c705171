"""RabbitMQ with its management plugin: given, in a container, or a native node on free ports of 127.0.0.1."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

import aio_pika
import aiohttp
import requests

from tests.infra.choose import Broken, Unavailable, Way, absent, obtain
from tests.infra.host import DOWN, External, Host
from tests.infra.install import debian_package
from tests.infra.official import Offer, OfficialContainer, run_official
from tests.infra.process import LocalProcess, free_ports, wait_until

OFFICIAL_IMAGE: Final = "rabbitmq:3-management"
SERVER: Final = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
_AMQP_HELLO = b"AMQP\x00\x00\x09\x01"
_CONF = """\
listeners.tcp.1 = 127.0.0.1:{amqp}
management.tcp.ip = 127.0.0.1
management.tcp.port = {http}
vm_memory_high_watermark.absolute = 1GB
disk_free_limit.absolute = 50MB
log.console = true
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueCounts:
    """Messages of one queue: waiting, and held by consumers without acknowledgement."""

    ready: int
    unacked: int


class RabbitMQ:
    """One broker at `amqp_url` and `http_url`, both with user, password and vhost."""

    def __init__(self, *, amqp_url: str, http_url: str, host: Host) -> None:
        self.amqp_url = amqp_url
        self.http_url = http_url
        self._host = host

    def start(self) -> None:
        """Start the stopped broker again, same ports, same data; returns when it serves."""
        self._host.start()
        self.wait_ready()
        DOWN.discard(self)

    def wait_ready(self, *, timeout_s: float = 60.0) -> None:
        """Block until both AMQP and the management API truly answer; an open port proves nothing."""
        wait_until(self.answers, timeout_s=timeout_s, what=f"RabbitMQ {_masked(self.amqp_url)}")

    def answers(self) -> bool:
        """Tell whether AMQP greets us and the management API accepts the password."""
        return _greets(self.amqp_url) and _manages(self.http_url)

    def stop(self) -> None:
        """Stop the broker politely; durable queues keep their persistent messages."""
        self._host.stop()
        DOWN.add(self)

    def kill(self) -> None:
        """Kill the broker at once; confirmed persistent messages of durable queues survive."""
        self._host.kill()
        DOWN.add(self)

    def close(self) -> None:
        """End it for good and drop its data."""
        self._host.close()
        DOWN.discard(self)

    async def declare(self, *queues: str) -> None:
        """Declare durable queues."""
        async with await aio_pika.connect(self.amqp_url, timeout=10) as connection:
            channel = await connection.channel()
            for queue in queues:
                await channel.declare_queue(queue, durable=True)

    async def publish(self, queue: str, bodies: Iterable[str]) -> None:
        """Publish persistent messages; every one is confirmed by the broker on return."""
        async with await aio_pika.connect(self.amqp_url, timeout=10) as connection:
            channel = await connection.channel()
            for body in bodies:
                message = aio_pika.Message(body.encode(), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
                await channel.default_exchange.publish(message, routing_key=queue, timeout=10)

    async def purge(self, queue: str) -> None:
        """Drop the waiting messages of a queue."""
        async with await aio_pika.connect(self.amqp_url, timeout=10) as connection:
            channel = await connection.channel()
            await (await channel.get_queue(queue, ensure=False)).purge(timeout=10)

    async def delete(self, *queues: str) -> None:
        """Delete queues with whatever they hold."""
        async with await aio_pika.connect(self.amqp_url, timeout=10) as connection:
            channel = await connection.channel()
            for queue in queues:
                await channel.queue_delete(queue, timeout=10)

    async def counts(self, queue: str) -> QueueCounts:
        """Return exact counts; the list with totals does not lag, unlike the statistics of a single queue.

        Raises:
            KeyError: there is no such queue.
        """
        vhost = quote(urlsplit(self.http_url).path.removeprefix("/").replace("%2F", "/") or "/", safe="")
        address, user, password = _management(self.http_url)
        query = {"disable_stats": "true", "enable_queue_totals": "true"}
        login = {"Authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode()}
        patience = aiohttp.ClientTimeout(total=10)
        async with (
            aiohttp.ClientSession(headers=login, timeout=patience) as session,
            session.get(f"{address}/api/queues/{vhost}", params=query, raise_for_status=True) as response,
        ):
            for row in await response.json():
                if row["name"] == queue:
                    return QueueCounts(ready=row["messages_ready"], unacked=row["messages_unacknowledged"])
        raise KeyError(queue)

    def told(self, *queues: str) -> dict[str, QueueCounts]:
        """Give what `rabbitmqctl list_queues` prints of these queues (some two seconds)."""
        if not isinstance(self._host, NativeNode | OfficialContainer):
            absent("rabbitmq", "rabbitmqctl works on a broker of our own only; unset RABBITMQ_URL")
        words = ("-q", "list_queues", "name", "messages_ready", "messages_unacknowledged")
        rows = [line.split("\t") for line in self._host.run("rabbitmqctl", *words).splitlines()]
        return {
            row[0]: QueueCounts(ready=int(row[1]), unacked=int(row[2])) for row in rows if row[0] in queues
        }


class NativeNode:
    """A node of Debian's rabbitmq-server, with a port mapper of its own so that nothing is left behind."""

    def __init__(self, *, amqp: int, http: int, dist: int, epmd: int) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="scaler-rabbitmq-"))
        self._home.chmod(0o755)
        (self._home / "enabled_plugins").write_text("[rabbitmq_management].")
        (self._home / "rabbitmq.conf").write_text(_CONF.format(amqp=amqp, http=http))
        drop: list[str] = []
        if os.geteuid() == 0:
            account = pwd.getpwnam("rabbitmq")
            for path in (self._home, *self._home.iterdir()):
                os.chown(path, account.pw_uid, account.pw_gid)
            drop = ["setpriv", "--reuid", "rabbitmq", "--regid", "rabbitmq", "--init-groups"]
        env = self._env = self._environment(dist, epmd, f"test{amqp}@localhost")
        self._drop = drop
        mapper = ["epmd", "-address", "127.0.0.1", "-port", str(epmd)]
        self._mapper = LocalProcess(mapper, log=self._home / "epmd.log")
        self._node = LocalProcess([*drop, str(SERVER)], log=self._home / "node.log", env=env, cwd=self._home)

    def _environment(self, dist: int, epmd: int, node: str) -> dict[str, str]:
        home = self._home
        return {
            "HOME": str(home),
            "RABBITMQ_NODENAME": node,
            "RABBITMQ_DIST_PORT": str(dist),
            "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
            "RABBITMQ_LOG_BASE": str(home / "log"),
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "ERL_EPMD_PORT": str(epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RUNNING_UNDER_SYSTEMD": "true",  # the signal then reaches the node itself, not a slow wrapper
        }

    def start(self) -> None:
        """Start port mapper and node."""
        self._mapper.start()
        self._node.start()

    def wait_ready(self, broker: RabbitMQ) -> None:
        """Wait with the node's log at hand, so that a failed start tells why."""
        self._node.wait_ready(broker.answers, timeout_s=60)

    def run(self, program: str, *words: str) -> str:
        """Run one of the broker's own tools and return what it printed."""
        done = subprocess.run(
            [*self._drop, str(SERVER.with_name(program)), *words],
            env={**os.environ, **self._env},
            cwd=self._home,
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode:
            raise Broken(f"{program} ended with code {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def stop(self) -> None:
        """Let the node end by itself; the data folder stays."""
        self._node.stop(grace_s=20)

    def kill(self) -> None:
        """Kill the node; the data folder stays."""
        self._node.kill()

    def close(self) -> None:
        """Kill node and port mapper, and remove the data folder."""
        self._node.kill()
        self._mapper.kill()
        shutil.rmtree(self._home, ignore_errors=True)


def start_rabbitmq() -> RabbitMQ:
    """Return a serving broker: RABBITMQ_URL with RABBITMQ_HTTP_URL, the official image, or a native node."""
    return obtain(
        "rabbitmq",
        [
            Way(name="RABBITMQ_URL", attempt=_from_environment),
            Way(name="container", attempt=_from_image),
            Way(name="native node", attempt=_native),
        ],
    )


def _from_environment() -> RabbitMQ:
    amqp_url, http_url = os.environ.get("RABBITMQ_URL"), os.environ.get("RABBITMQ_HTTP_URL")
    if not amqp_url:
        raise Unavailable("not set")
    if not http_url:
        raise Broken(
            "RABBITMQ_URL is set without RABBITMQ_HTTP_URL; set both, each with user, password and vhost"
        )
    broker = RabbitMQ(amqp_url=amqp_url, http_url=http_url, host=External("rabbitmq", "RABBITMQ_URL"))
    broker.wait_ready(timeout_s=10)
    return broker


def _from_image() -> RabbitMQ:
    amqp, http = free_ports(2)
    offer = Offer(image=OFFICIAL_IMAGE, ports={5672: amqp, 15672: http}, hostname="rabbitmq")
    return _serving(amqp, http, run_official(offer))


def _native() -> RabbitMQ:
    debian_package("rabbitmq-server", SERVER)
    amqp, http, dist, epmd = free_ports(4)
    node = NativeNode(amqp=amqp, http=http, dist=dist, epmd=epmd)
    broker = _local(amqp, http, node)
    try:
        node.start()
        node.wait_ready(broker)
    except BaseException:
        node.close()
        raise
    return broker


def _serving(amqp: int, http: int, host: Host) -> RabbitMQ:
    broker = _local(amqp, http, host)
    try:
        broker.wait_ready()
    except BaseException:
        host.close()
        raise
    return broker


def _local(amqp: int, http: int, host: Host) -> RabbitMQ:
    login = "guest:guest@127.0.0.1"
    return RabbitMQ(amqp_url=f"amqp://{login}:{amqp}/%2F", http_url=f"http://{login}:{http}/%2F", host=host)


def _greets(amqp_url: str) -> bool:
    parts = urlsplit(amqp_url)
    if parts.scheme == "amqps":
        return True  # the management API decides alone
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 5672), timeout=2) as connection:
            connection.sendall(_AMQP_HELLO)
            return connection.recv(1) == b"\x01"
    except OSError:
        return False


def _manages(http_url: str) -> bool:
    address, user, password = _management(http_url)
    try:
        return requests.get(f"{address}/api/overview", auth=(user, password), timeout=2).ok
    except requests.RequestException:
        return False


def _management(http_url: str) -> tuple[str, str, str]:
    parts = urlsplit(http_url)
    return (
        f"{parts.scheme}://{parts.hostname}:{parts.port or 15672}",
        parts.username or "",
        parts.password or "",
    )


def _masked(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}:{parts.port}"
