"""One connection to each broker of a cluster, opened when first needed and again after it was lost.

The client library's own cluster object is not used: it hides why no connection comes about, and it reads the
metadata of all topics whenever it loses one.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from aiokafka.errors import (  # type: ignore[import-untyped]
    IncompatibleBrokerVersion,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
)

from scaler.errors import PollError
from scaler.scalers._kafka_errors import refused, too_old
from scaler.scalers._kafka_login import MECHANISMS, Address, Cluster, Sasl
from scaler.scalers._kafka_token import EndpointTokens
from scaler.scalers._kafka_wire import KafkaConnection
from scaler.scalers._single_flight import SingleFlight
from scaler.scalers._tls import tls_context

T = TypeVar("T")
CLIENT_ID: Final = "scaler"
_CLOSE_S: Final = 2.0
_LOST: Final = (KafkaError, OSError, EOFError, ValueError, KeyError, AssertionError)


class Brokers:
    """The connections. `patience_s` bounds each connecting and each answer.

    Every method may raise PollError: `Unreachable`, `Timeout`, `TlsFailed`, `AuthenticationFailed` or
    `BrokerTooOld`.
    """

    def __init__(self, cluster: Cluster, *, patience_s: float, tokens: EndpointTokens | None = None) -> None:
        self.origin = cluster.origin
        self._cluster = cluster
        self._patience_s = patience_s
        self._tokens = tokens
        self._context: ssl.SSLContext | None = None
        self._open: dict[Address, KafkaConnection] = {}
        self._connecting: SingleFlight[KafkaConnection] = SingleFlight()
        self._closing: set[asyncio.Future[None]] = set()
        self._known: tuple[Address, ...] = ()
        self._last: Address | None = None

    def learn(self, addresses: tuple[Address, ...]) -> None:
        """Take note of the cluster's brokers, to ask them before the first servers."""
        self._known = addresses

    async def any(self, call: Callable[[Address], Awaitable[T]]) -> T:
        """Make a call that every broker can answer, to one after the other until one does."""
        errors: list[PollError] = []
        last = (self._last,) if self._last else ()
        for address in dict.fromkeys((*last, *self._known, *self._cluster.servers)):
            try:
                answer = await call(address)
            except PollError as exc:
                errors.append(exc)
                if exc.reason == "AuthenticationFailed":
                    break  # the others know the same users; trying on could lock this one out
            else:
                self._last = address
                return answer
        self._last = None
        raise next((exc for exc in errors if not exc.transient), errors[-1])

    async def ask(self, address: Address, request: Any) -> Any:
        """Send one request to one broker and give its answer.

        Brokers end a login after some time by closing the connection at its next request. So where one that
        was open before breaks, the request goes out once more, on a new one.
        """
        before = self._open.get(address)
        connection = await self._connection(address)
        try:
            try:
                return await self._send(connection, request)
            except KafkaConnectionError:
                if connection is not before:
                    raise
                self._drop(address, connection)
            connection = await self._connection(address)
            return await self._send(connection, request)
        except (NotImplementedError, IncompatibleBrokerVersion) as exc:
            raise too_old(self.origin) from exc
        except _LOST as exc:
            self._drop(address, connection)
            raise refused(self._cluster, address, exc) from exc

    async def _send(self, connection: KafkaConnection, request: Any) -> Any:
        async with asyncio.timeout(self._patience_s):
            return await connection.send(request)

    async def speaks(self, address: Address, api: int, version: int) -> bool:
        """Tell whether a broker understands a version of a request."""
        return (await self._connection(address)).speaks(api, version)

    async def aclose(self) -> None:
        """Close all connections, within seconds whatever the brokers do."""
        await self._connecting.aclose()
        for address, connection in tuple(self._open.items()):
            self._drop(address, connection)
        if self._closing:
            await asyncio.wait(self._closing, timeout=_CLOSE_S)

    async def _connection(self, address: Address) -> KafkaConnection:
        connection = self._open.get(address)
        if connection is not None and connection.connected():
            return connection
        if connection is not None:
            self._drop(address, connection)
        return await self._connecting.join(address, lambda: self._connect(address))

    async def _connect(self, address: Address) -> KafkaConnection:
        cluster = self._cluster
        if cluster.tls and self._context is None:
            self._context = await tls_context(cluster.tls, cluster.origin)
        login = cluster.sasl is not Sasl.NONE
        connection = KafkaConnection(
            *address,
            client_id=CLIENT_ID,
            request_timeout_ms=round(self._patience_s * 1000),
            ssl_context=self._context,
            security_protocol=cluster.protocol,
            sasl_mechanism=MECHANISMS.get(cluster.sasl),
            sasl_plain_username=cluster.username if login else None,
            sasl_plain_password=cluster.password if login else None,
            sasl_kerberos_service_name=cluster.service,
            sasl_oauth_token_provider=self._tokens,
        )
        try:
            async with asyncio.timeout(self._patience_s):
                await connection.connect()
        except _LOST as exc:
            if self._tokens and isinstance(exc, SaslAuthenticationFailed):
                self._tokens.refused()
            raise refused(cluster, address, exc) from exc
        self._open[address] = connection
        return connection

    def _drop(self, address: Address, connection: KafkaConnection) -> None:
        if self._open.get(address) is connection:
            del self._open[address]
        closed = connection.close()
        if closed is not None and not closed.done():
            self._closing.add(closed)
            closed.add_done_callback(self._closing.discard)


def hush() -> None:
    """Keep the client's log quiet: failures reach the user as the rule's fault, and its debug lines hold logins."""
    logger = logging.getLogger("aiokafka")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)
