"""The broker as one object: an AMQP listener and a management listener over one set of entities."""

import asyncio
import errno
import ipaddress
import logging
from types import TracebackType
from typing import Self

from aiohttp import web

from scaler.devbroker.admin import AdminApi
from scaler.devbroker.clock import Clock
from scaler.devbroker.connection import Connection
from scaler.devbroker.entities import Queue, QueueSettings
from scaler.devbroker.links import Gatekeeper
from scaler.devbroker.namespace import Namespace, Topic
from scaler.devbroker.sas import Keys

_log = logging.getLogger(__name__)

AMQP_PORT = 5672
ADMIN_PORT = 5300
OPEN_KEY = "SAS_KEY_VALUE"  # what clients put in the string when the broker checks no key
_KEY_NAME = "RootManageSharedAccessKey"
_LISTEN_NAME = "Listen"
_CLOSE_S = 5.0


class PortTaken(OSError):
    """Raise when a listener's address is in use already."""

    def __init__(self, what: str, host: str, port: int) -> None:
        """Name the listener (`AMQP` or `management`) and its address."""
        super().__init__(errno.EADDRINUSE, f"{what} port {port} on {host} is taken already")
        self.what, self.host, self.port = what, host, port


class DevBroker:
    """A development broker that speaks Azure Service Bus; in memory, not for production.

    Use it as an async context manager:

        async with DevBroker() as broker:
            broker.add_queue("jobs", QueueSettings(lock_duration_s=30))
            client = ServiceBusClient.from_connection_string(broker.connection_string)
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        amqp_port: int = 0,
        http_port: int = 0,
        key: str | None = None,
        listen_key: str | None = None,
        has_admin: bool = True,
    ) -> None:
        """Prepare a broker; nothing listens before `start`.

        Args:
            host: Address to listen on; `0.0.0.0` when containers are to reach it.
            amqp_port: TCP port of AMQP, 0 for any free one.
            http_port: TCP port of the management API, 0 for any free one.
            key: Shared access key every token has to be signed with; None accepts any token.
            listen_key: Key of a second policy that may only receive and peek; None: there is none.
            has_admin: Whether it has a management API; early versions of the official emulator had none.
        """
        self.host = host
        self.clock = Clock()
        self.namespace = Namespace(self.clock)
        self._keys = Keys(manage=key, listen=listen_key)
        self._has_admin = has_admin
        self._wanted_ports = amqp_port, http_port
        self._connections: set[Connection] = set()
        self._amqp: asyncio.Server | None = None
        self._http: web.AppRunner | None = None
        self._ports = amqp_port, http_port

    def __repr__(self) -> str:
        """Show the addresses, never the key."""
        return f"DevBroker(host={self.host!r}, amqp_port={self.amqp_port}, http_port={self.http_port})"

    async def __aenter__(self) -> Self:
        """Start listening.

        Raises:
            PortTaken: One of the ports is in use.
        """
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop listening and drop everything."""
        await self.stop()

    # -- addresses

    @property
    def amqp_port(self) -> int:
        """The AMQP port; the real one once started."""
        return self._ports[0]

    @property
    def http_port(self) -> int:
        """The management port; the real one once started."""
        return self._ports[1]

    @property
    def connection_string(self) -> str:
        """Connection string for `ServiceBusClient`. It holds the key."""
        return self._connection_string(self.amqp_port)

    @property
    def listen_connection_string(self) -> str:
        """Connection string of the policy without the right Manage. It holds the listen key.

        Raises:
            ValueError: There is no such policy.
        """
        if self._keys.listen is None:
            raise ValueError("the broker was made without a listen_key")
        return self._connection_string(self.amqp_port, policy=(_LISTEN_NAME, self._keys.listen))

    @property
    def admin_connection_string(self) -> str:
        """Connection string with the management port, for the administration client over plain http."""
        return self._connection_string(self.http_port)

    @property
    def connection_count(self) -> int:
        """AMQP connections open now."""
        return len(self._connections)

    def _connection_string(self, port: int, policy: tuple[str, str] | None = None) -> str:
        name, key = policy or (_KEY_NAME, self._keys.manage or OPEN_KEY)
        return (
            f"Endpoint=sb://{_reachable(self.host)}:{port};SharedAccessKeyName={name};"
            f"SharedAccessKey={key};UseDevelopmentEmulator=true;"
        )

    # -- entities

    def add_queue(self, name: str, settings: QueueSettings | None = None) -> Queue:
        """Make a queue, or give the one that has the name already."""
        return self.namespace.add_queue(name, settings)

    def add_topic(self, name: str, *subscriptions: str, settings: QueueSettings | None = None) -> Topic:
        """Make a topic with subscriptions; `settings` go to each subscription that is new."""
        topic = self.namespace.add_topic(name)
        for subscription in subscriptions:
            self.namespace.add_subscription(topic, subscription, settings)
        return topic

    # -- life

    async def start(self) -> None:
        """Start both listeners, or neither.

        Raises:
            PortTaken: One of the ports is in use.
            OSError: The host is not an address of this machine, or the port needs more rights.
        """
        try:
            await self._start_amqp()
            if self._has_admin:
                await self._start_http()
        except BaseException:
            await self.stop()
            raise
        _log.info("development broker, in memory, not for production: %r", self)

    async def stop(self) -> None:
        """Close the listeners, drop every connection and cancel every timer; may be called twice."""
        server, self._amqp = self._amqp, None
        runner, self._http = self._http, None
        if server is not None:
            server.close()
        for connection in tuple(self._connections):
            connection.abort()
        try:
            async with asyncio.timeout(_CLOSE_S):
                if runner is not None:
                    await runner.cleanup()
                if server is not None:
                    await server.wait_closed()
        except TimeoutError:
            _log.warning("the development broker took more than %g s to close", _CLOSE_S)
        self.clock.close()

    async def _start_amqp(self) -> None:
        port = self._wanted_ports[0]
        loop = asyncio.get_running_loop()
        try:
            self._amqp = await loop.create_server(self._make_connection, self.host, port)
        except OSError as exc:
            raise _port_error(exc, "AMQP", self.host, port) from exc
        self._ports = self._amqp.sockets[0].getsockname()[1], self._ports[1]

    async def _start_http(self) -> None:
        port = self._wanted_ports[1]
        application = AdminApi(self.namespace, self._keys).application()
        self._http = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._http.setup()
        try:
            await web.TCPSite(self._http, self.host, port).start()
        except OSError as exc:
            raise _port_error(exc, "management", self.host, port) from exc
        self._ports = self._ports[0], self._http.addresses[0][1]

    def _make_connection(self) -> Connection:
        gatekeeper = Gatekeeper(self.namespace, self._keys)
        return Connection(
            self.clock,
            gatekeeper.route,
            on_made=self._connections.add,
            on_lost=self._connections.discard,
        )


def _port_error(error: OSError, what: str, host: str, port: int) -> OSError:
    return PortTaken(what, host, port) if error.errno == errno.EADDRINUSE else error


def _reachable(host: str) -> str:
    """Give an address clients can use: loopback for a listener on all addresses."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        return "127.0.0.1"
    return f"[{host}]" if address.version == 6 else host
