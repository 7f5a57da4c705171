"""What the tests of the `rabbitmq` scaler share: opening it, a relay that can fall silent, TLS material."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Self, cast
from urllib.parse import urlsplit

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from yarl import URL

from scaler.engine.sessions import Sessions
from scaler.errors import PollError
from scaler.ports.scaler import Scaler, ScalerContext, SessionPool
from scaler.scalers.rabbitmq import SCALER, Metadata
from scaler.wire.metadata import validate

NO_VALUES: Mapping[str, str] = {}


def parameters(metadata: Mapping[str, str], auth: Mapping[str, str] = NO_VALUES) -> Metadata:
    """Build the scaler's parameters; every fault fails the test."""
    built, faults = validate(Metadata, metadata, auth, {})
    assert faults == ()
    return cast(Metadata, built)


def context(pool: SessionPool, *, timeout_s: float = 10.0, identity: str | None = None) -> ScalerContext:
    """What the engine would give."""
    return ScalerContext(
        job="job",
        rule="rule",
        timeout_s=timeout_s,
        sessions=pool,
        now=lambda: dt.datetime.now(dt.UTC),
        identity=identity,
    )


@asynccontextmanager
async def opened(
    metadata: Mapping[str, str],
    auth: Mapping[str, str] = NO_VALUES,
    *,
    pool: Sessions | None = None,
    timeout_s: float = 10.0,
    identity: str | None = None,
) -> AsyncIterator[Scaler]:
    """Open one scaler, in a pool of its own unless one is given."""
    meta = parameters(metadata, auth)
    async with contextlib.AsyncExitStack() as stack:
        used = pool if pool is not None else await stack.enter_async_context(Sessions())
        yield await stack.enter_async_context(
            SCALER.open(meta, context(used, timeout_s=timeout_s, identity=identity))
        )


@contextmanager
def failing(reason: str) -> Iterator[pytest.ExceptionInfo[PollError]]:
    """Expect a `PollError` of that reason."""
    with pytest.raises(PollError) as caught:
        yield caught
    assert caught.value.reason == reason, str(caught.value)


def with_vhost(url: str, vhost: str) -> str:
    """Replace the vhost of a broker URL by an encoded one."""
    return urlsplit(url)._replace(path=f"/{vhost}").geturl()


def with_port(url: str, port: int, *, scheme: str | None = None) -> str:
    """Point a broker URL to another port of this machine."""
    parts = urlsplit(url)
    netloc = f"{parts.username}:{parts.password}@127.0.0.1:{port}"
    return parts._replace(netloc=netloc, scheme=scheme or parts.scheme).geturl()


def _client(http_url: str) -> tuple[aiohttp.ClientSession, str]:
    parts = urlsplit(http_url)
    login = base64.b64encode(f"{parts.username}:{parts.password}".encode()).decode()
    http = aiohttp.ClientSession(
        headers={"Authorization": f"Basic {login}"}, timeout=aiohttp.ClientTimeout(total=10)
    )
    return http, f"http://{parts.hostname}:{parts.port}/api"


async def manage(http_url: str, method: str, path: str, body: object = None) -> int:
    """Change something by the management API; gives the status."""
    http, base = _client(http_url)
    async with http, http.request(method, URL(base + path, encoded=True), json=body or {}) as response:
        return response.status


async def look(http_url: str, path: str) -> Any:
    """Read something by the management API."""
    http, base = _client(http_url)
    async with http, http.get(URL(base + path, encoded=True)) as response:
        return await response.json()


class Relay:
    """A TCP relay to a real broker that can fall silent like a stopped host, and counts connections.

    `delay_s` holds back whatever passes; `target_port` may be changed for connections to come.
    """

    def __init__(self, url: str, *, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        target = urlsplit(url)
        self._host, self.target_port = target.hostname, target.port
        self.tls = tls
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = asyncio.Event()
        self._open.set()
        self.accepted = 0
        self.http_requests = 0
        self.port = port
        self.delay_s = 0.0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Refuse connections from now on; entering it again takes the same port."""
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.sleep(0.05)

    def freeze(self) -> None:
        """Pass on nothing more; connections stay up and new ones are accepted."""
        self._open.clear()

    def thaw(self) -> None:
        """Pass on again."""
        self._open.set()

    def cut(self) -> None:
        """Drop every connection."""
        for task in self._tasks:
            task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        far: asyncio.StreamWriter | None = None
        try:
            back, far = await asyncio.open_connection(self._host, self.target_port)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, far, counts=True))
                group.create_task(self._pass(back, writer))
        except (OSError, asyncio.CancelledError, ExceptionGroup):
            pass
        finally:
            self._tasks.discard(task)
            for each in (writer, far):
                if each is not None:
                    each.transport.abort()

    async def _pass(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, counts: bool = False
    ) -> None:
        while data := await source.read(65536):
            self.http_requests += data.count(b" HTTP/1.1\r\n") if counts else 0
            await asyncio.sleep(self.delay_s)
            await self._open.wait()
            sink.write(data)
            await sink.drain()
        sink.write_eof() if sink.can_write_eof() else sink.close()


class Authority:
    """A throw-away CA with a certificate for 127.0.0.1, and client certificates."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self._cert = self._sign(self._name, self._key, is_ca=True)
        self.pem = self._cert.public_bytes(serialization.Encoding.PEM).decode()

    def _sign(
        self, name: x509.Name, key: ec.EllipticCurvePrivateKey, *, is_ca: bool = False, expired: bool = False
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC) - dt.timedelta(hours=5 if expired else 0)
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([address]), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def pair(self, *, password: str = "", expired: bool = False) -> tuple[str, str]:
        """Make a certificate and its key, the key encrypted if a password is given; PEM texts."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "peer")])
        cert = self._sign(name, key, expired=expired)
        how: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if password:
            how = serialization.BestAvailableEncryption(password.encode())
        text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)
        return cert.public_bytes(serialization.Encoding.PEM).decode(), text.decode()

    def server(self, *, ask_client: bool = False) -> ssl.SSLContext:
        """Make the context of a server."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.equip(made)
        if ask_client:
            made.verify_mode = ssl.CERT_REQUIRED
            made.load_verify_locations(cadata=self.pem)
        return made

    def equip(self, server: ssl.SSLContext, *, expired: bool = False) -> None:
        """Give a server another certificate, for the connections to come."""
        cert, key = self.pair(expired=expired)
        (self._folder / "cert.pem").write_text(cert)
        (self._folder / "key.pem").write_text(key)
        server.load_cert_chain(self._folder / "cert.pem", self._folder / "key.pem")
