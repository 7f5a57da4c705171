"""What the tests of the `kafka` scaler share: opening it, a proxy that counts requests, brokers with logins."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self, cast

from aiohttp import web

from scaler.engine.sessions import Sessions
from scaler.ports.scaler import Scaler
from scaler.scalers.kafka import SCALER, Metadata
from scaler.wire.metadata import validate
from tests.infra.kafka import NativeBroker, serves_groups, started
from tests.infra.kafka_install import PASSWORD, USER, Listener
from tests.infra.process import free_ports, wait_until
from tests.scalers.rabbitmq_kit import NO_VALUES, Authority, context, failing

__all__ = ["PASSWORD", "USER", "failing"]

API_VERSIONS = 18
NAMES = {
    2: "ListOffsets",
    3: "Metadata",
    9: "OffsetFetch",
    10: "FindCoordinator",
    API_VERSIONS: "ApiVersions",
}


def parameters(metadata: Mapping[str, str], auth: Mapping[str, str] = NO_VALUES) -> Metadata:
    """Build the scaler's parameters; every fault fails the test."""
    built, faults = validate(Metadata, metadata, auth, {})
    assert faults == ()
    return cast(Metadata, built)


@asynccontextmanager
async def opened(
    metadata: Mapping[str, str],
    auth: Mapping[str, str] = NO_VALUES,
    *,
    pool: Sessions | None = None,
    timeout_s: float = 10.0,
) -> AsyncIterator[Scaler]:
    """Open one scaler, in a pool of its own unless one is given."""
    meta = parameters(metadata, auth)
    async with contextlib.AsyncExitStack() as stack:
        used = pool if pool is not None else await stack.enter_async_context(Sessions())
        yield await stack.enter_async_context(SCALER.open(meta, context(used, timeout_s=timeout_s)))


async def polled(metadata: Mapping[str, str], auth: Mapping[str, str] = NO_VALUES) -> tuple[float, bool]:
    """Open, poll once, close; gives value and active."""
    async with opened(metadata, auth) as scaler:
        sample = await scaler.poll()
    assert (sample.includes_taken, sample.taken) == (True, None)
    return sample.value, sample.active


class CountingProxy:
    """A TCP relay to a broker that counts requests by name, and can fall silent, drop or date the broker.

    `newest` caps the versions of requests that the broker seems to know.
    """

    def __init__(self, broker_port: int, *, port: int = 0, newest: Mapping[int, int] | None = None) -> None:
        self._broker_port = broker_port
        self._newest = dict(newest or {})
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._expired: set[asyncio.Task[None]] = set()
        self._open = asyncio.Event()
        self._open.set()
        self.requests: Counter[str] = Counter()
        self.accepted = 0
        self.port = port

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_exc: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.sleep(0.05)

    def freeze(self) -> None:
        """Pass on nothing more."""
        self._open.clear()

    def thaw(self) -> None:
        """Pass on again."""
        self._open.set()

    def expire(self) -> None:
        """Drop each connection that is open now as soon as it is used, as brokers end logins."""
        self._expired |= self._tasks

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
        asked: list[int] = []
        try:
            back, far = await asyncio.open_connection("127.0.0.1", self._broker_port)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._forth(reader, far, asked, task))
                group.create_task(self._back(back, writer, asked))
        except (OSError, EOFError, asyncio.CancelledError, ExceptionGroup):
            pass
        finally:
            self._tasks.discard(task)
            for each in (writer, far):
                if each is not None:
                    each.transport.abort()

    async def _forth(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        asked: list[int],
        owner: asyncio.Task[None],
    ) -> None:
        while True:
            head = await source.readexactly(4)
            if owner in self._expired:
                raise EOFError
            body = await source.readexactly(int.from_bytes(head, "big"))
            await self._open.wait()
            key = int.from_bytes(body[:2], "big")
            asked.append(key)
            self.requests[NAMES.get(key, str(key))] += 1
            sink.write(head + body)
            await sink.drain()

    async def _back(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, asked: list[int]) -> None:
        while True:
            head = await source.readexactly(4)
            body = await source.readexactly(int.from_bytes(head, "big"))
            await self._open.wait()
            if asked.pop(0) == API_VERSIONS:
                body = self._dated(body)
            sink.write(head + body)
            await sink.drain()

    def _dated(self, body: bytes) -> bytes:
        """Rewrite an ApiVersions answer (version 0): correlation id, error, count, then rows of three int16."""
        rows = bytearray(body)
        for at in range(10, 10 + 6 * int.from_bytes(body[6:10], "big"), 6):
            key = int.from_bytes(rows[at : at + 2], "big")
            if key in self._newest:
                rows[at + 4 : at + 6] = self._newest[key].to_bytes(2, "big")
        return bytes(rows)


class SecuredBroker:
    """A broker with a listener for each kind of login; ports by the listener's name."""

    def __init__(self, node: NativeBroker, ports: Mapping[str, int]) -> None:
        self.node = node
        self.ports = ports

    def at(self, listener: str) -> str:
        """Give the address of a listener."""
        return f"127.0.0.1:{self.ports[listener]}"


_PROTOCOLS = {
    "PLAINTEXT": "PLAINTEXT",
    "TLS": "SSL",
    "MTLS": "SSL",
    "SPLAIN": "SASL_PLAINTEXT",
    "SCRAM": "SASL_SSL",
    "SCRAMPLAIN": "SASL_PLAINTEXT",
    "OAUTH": "SASL_PLAINTEXT",
}
_JAAS = "org.apache.kafka.common.security"
_SETTINGS = """\
ssl.keystore.type=PEM
ssl.keystore.location={folder}/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/ca.pem
listener.name.mtls.ssl.client.auth=required
listener.name.splain.sasl.enabled.mechanisms=PLAIN
listener.name.splain.plain.sasl.jaas.config={jaas}.plain.PlainLoginModule required user_{user}="{password}" \
user_nobody="{password}";
listener.name.scram.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.scram.scram-sha-512.sasl.jaas.config={jaas}.scram.ScramLoginModule required;
listener.name.scramplain.sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512
listener.name.scramplain.scram-sha-256.sasl.jaas.config={jaas}.scram.ScramLoginModule required;
listener.name.scramplain.scram-sha-512.sasl.jaas.config={jaas}.scram.ScramLoginModule required;
listener.name.oauth.sasl.enabled.mechanisms=OAUTHBEARER
listener.name.oauth.oauthbearer.sasl.jaas.config={jaas}.oauthbearer.OAuthBearerLoginModule required \
unsecuredLoginStringClaim_sub="b";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:{user};User:CN=peer
"""


def secured(folder: Path, authority: Authority) -> Iterator[SecuredBroker]:
    """Start the broker; `nobody` may log in by PLAIN and has no rights."""
    cert, key = authority.pair()
    (folder / "broker.pem").write_text(key + cert)
    (folder / "ca.pem").write_text(authority.pem)
    ports = dict(zip(_PROTOCOLS, free_ports(len(_PROTOCOLS)), strict=True))
    listeners = tuple(Listener(name=n, protocol=p, port=ports[n]) for n, p in _PROTOCOLS.items())
    more = _SETTINGS.format(folder=folder, jaas=_JAAS, user=USER, password=PASSWORD)
    node = started(listeners, more=more)
    try:
        wait_until(lambda: serves_groups(f"127.0.0.1:{ports['PLAINTEXT']}"), timeout_s=30, what="Kafka")
        yield SecuredBroker(node, ports)
    finally:
        node.close()


def _part(claims: Mapping[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")


def unsecured_token(*, life_s: int = 600) -> str:
    """Make a token that Kafka's own test validator takes."""
    now = int(time.time())
    return f"{_part({'alg': 'none'})}.{_part({'sub': USER, 'iat': now - 5, 'exp': now + life_s})}."


class TokenServer:
    """A token endpoint that answers with what `answers` holds, the last one forever."""

    def __init__(self, *answers: tuple[int, dict[str, object]]) -> None:
        self._answers = list(answers)
        self.asked: list[dict[str, str]] = []
        self.url = ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Self]:
        """Listen while the context is open."""

        async def answer(request: web.Request) -> web.Response:
            form = {key: str(value) for key, value in (await request.post()).items()}
            self.asked.append({**form, "login": request.headers.get("Authorization", "")})
            status, body = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
            return web.json_response(body, status=status)

        app = web.Application()
        app.router.add_post("/token", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/token"
            yield self
        finally:
            await runner.cleanup()
