"""Azurite, the emulator of Azure storage, queues only: given, in a container, or a native process."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import requests
from azure.core.exceptions import ResourceExistsError
from azure.storage.queue.aio import QueueServiceClient

from tests.infra.choose import Unavailable, Way, obtain
from tests.infra.host import DOWN, External, Host
from tests.infra.install import azurite_queue
from tests.infra.official import Offer, run_official
from tests.infra.process import LocalProcess, free_ports, wait_until

OFFICIAL_IMAGE: Final = "mcr.microsoft.com/azure-storage/azurite:latest"
ACCOUNT: Final = "devstoreaccount1"
# The emulator's public, documented key; not a secret.
KEY: Final = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_AT_ONCE = 16
# SDKs are newer than the emulator: the version check would refuse every request. No telemetry.
_FLAGS: Final = ("--silent", "--disableTelemetry", "--skipApiVersionCheck")


class Azurite:
    """One queue service reached by `connection_string`."""

    def __init__(self, *, connection_string: str, host: Host) -> None:
        self.connection_string = connection_string
        self._host = host

    @property
    def url(self) -> str:
        """Address of the queue service, without credentials."""
        parts = dict(part.partition("=")[::2] for part in self.connection_string.split(";") if part)
        return parts.get("QueueEndpoint") or f"https://{parts['AccountName']}.queue.core.windows.net"

    def start(self) -> None:
        """Start the stopped service again, same port, same data; returns when it serves."""
        self._host.start()
        self.wait_ready()
        DOWN.discard(self)

    def wait_ready(self, *, timeout_s: float = 40.0) -> None:
        """Block until the service answers HTTP with any status; an open port proves nothing."""
        wait_until(self.answers, timeout_s=timeout_s, what=f"Azurite {self.url}")

    def answers(self) -> bool:
        """Tell whether the service answers; it refuses us without a signature, which is answer enough."""
        try:
            return requests.get(self.url, timeout=2).status_code < 500
        except requests.RequestException:
            return False

    def stop(self) -> None:
        """Stop it politely; queues and messages are kept."""
        self._host.stop()
        DOWN.add(self)

    def kill(self) -> None:
        """Kill it at once; what it had not yet written (up to some seconds) is lost."""
        self._host.kill()
        DOWN.add(self)

    def close(self) -> None:
        """End it for good and drop its data."""
        self._host.close()
        DOWN.discard(self)

    async def create(self, *queues: str) -> None:
        """Create queues; no-op for those that exist."""
        async with self._client() as client:
            for queue in queues:
                try:
                    await client.create_queue(queue)
                except ResourceExistsError:
                    pass

    async def send(self, queue: str, bodies: Iterable[str]) -> None:
        """Send messages as plain text, some at once, so their order is not kept."""
        limit = asyncio.Semaphore(_AT_ONCE)
        async with self._client() as client, client.get_queue_client(queue) as target:

            async def one(body: str) -> None:
                async with limit:
                    await target.send_message(body)

            async with asyncio.TaskGroup() as group:
                for body in bodies:
                    group.create_task(one(body))

    async def count(self, queue: str) -> int:
        """Return the number of messages, those invisible in a worker's hands included."""
        async with self._client() as client, client.get_queue_client(queue) as target:
            return int((await target.get_queue_properties()).approximate_message_count or 0)

    async def clear(self, queue: str) -> None:
        """Drop all messages of a queue."""
        async with self._client() as client, client.get_queue_client(queue) as target:
            await target.clear_messages()

    async def delete(self, *queues: str) -> None:
        """Delete queues with whatever they hold."""
        async with self._client() as client:
            for queue in queues:
                await client.delete_queue(queue)

    def _client(self) -> QueueServiceClient:
        return QueueServiceClient.from_connection_string(self.connection_string, retry_total=2)


class NativeAzurite:
    """The `azurite-queue` program of npm with a folder of its own."""

    def __init__(self, *, port: int, key: str = KEY) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="scaler-azurite-"))
        address = ["--queueHost", "127.0.0.1", "--queuePort", str(port)]
        command = [str(azurite_queue()), *address, "--location", str(self._home / "data"), *_FLAGS]
        env = {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{key}"}
        self._process = LocalProcess(command, log=self._home / "azurite.log", cwd=self._home, env=env)

    def start(self) -> None:
        """Start the program."""
        self._process.start()

    def wait_ready(self, service: Azurite) -> None:
        """Wait with the log at hand, so that a failed start tells why."""
        self._process.wait_ready(service.answers, timeout_s=40)

    def stop(self) -> None:
        """Let it write its data and end."""
        self._process.stop(grace_s=10)

    def kill(self) -> None:
        """Kill it; its folder stays."""
        self._process.kill()

    def close(self) -> None:
        """Kill it and remove its folder."""
        self._process.kill()
        shutil.rmtree(self._home, ignore_errors=True)


def start_azurite() -> Azurite:
    """Return a serving queue service: AZURE_STORAGE_CONNECTION_STRING, the official image, or a native process."""
    return obtain(
        "azurite",
        [
            Way(name="AZURE_STORAGE_CONNECTION_STRING", attempt=_from_environment),
            Way(name="container", attempt=_from_image),
            Way(name="native process", attempt=_native),
        ],
    )


def _from_environment() -> Azurite:
    connection = os.environ.get("AZURE_STORAGE_CONNECTION_STRING")
    if not connection:
        raise Unavailable("not set")
    service = Azurite(
        connection_string=connection, host=External("azurite", "AZURE_STORAGE_CONNECTION_STRING")
    )
    service.wait_ready(timeout_s=10)
    return service


def _from_image() -> Azurite:
    (port,) = free_ports(1)
    command = f"azurite-queue --queueHost 0.0.0.0 --location /data {' '.join(_FLAGS)}"
    host = run_official(Offer(image=OFFICIAL_IMAGE, ports={10001: port}, command=command))
    service = _local(port, host)
    try:
        service.wait_ready()
    except BaseException:
        host.close()
        raise
    return service


def other_azurite() -> Azurite:
    """Return a second native service, which knows the account by a key of its own."""
    return obtain("azurite", [Way(name="native process", attempt=lambda: _native(key="b3RoZXI="))])


def _native(key: str = KEY) -> Azurite:
    (port,) = free_ports(1)
    host = NativeAzurite(port=port, key=key)
    service = _local(port, host)
    try:
        host.start()
        host.wait_ready(service)
    except BaseException:
        host.close()
        raise
    return service


def _local(port: int, host: Host) -> Azurite:
    endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
    text = f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};QueueEndpoint={endpoint};"
    return Azurite(connection_string=text, host=host)
