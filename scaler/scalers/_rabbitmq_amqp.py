"""One AMQP connection to one broker, shared by all rules with the same address and credentials.

It asks by passive declare, so it needs no rights on the queue and changes nothing. It knows no modes.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, cast

import aiormq
from aiormq import spec
from aiormq.channel import Channel
from aiormq.connection import FrameReceiver, ReceivedFrame
from aiormq.exceptions import (
    AMQPError,
    AuthenticationError,
    ChannelAccessRefused,
    ChannelInvalidStateError,
    ChannelLockedResource,
    ChannelNotFoundEntity,
    ConnectionClosed,
    ConnectionNotAllowed,
    ProbableAuthenticationError,
)
from pamqp.base import Frame
from pamqp.frame import FrameTypes
from yarl import URL

from scaler.errors import PollError
from scaler.scalers._rabbitmq_address import Address
from scaler.scalers._single_flight import SingleFlight
from scaler.scalers._tls import tls_context

CONNECTION_NAME: Final = "scaler"
_HEARTBEAT_S: Final = 15  # the client gives a silent peer up after three missed ones
_CHANNELS: Final = 8
_CLOSE_S: Final = 3.0
_NOT_ALLOWED: Final = 530
_LOST: Final = (AMQPError, ChannelInvalidStateError, OSError, RuntimeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What the broker says of a queue: messages no worker holds, and how many consumers there are."""

    ready: int
    consumers: int


class _Refusals:
    """Reads frames of the handshake and raises the broker's refusal of a vhost with its words.

    The client library itself would only say that it met an unexpected frame.
    """

    def __init__(self, frames: FrameReceiver) -> None:
        self._frames = frames

    async def get_frame(self) -> ReceivedFrame:
        received = await self._frames.get_frame()
        frame = received[2]
        if isinstance(frame, spec.Connection.Close) and frame.reply_code == _NOT_ALLOWED:
            raise ConnectionNotAllowed(frame.reply_text)
        return received


class _Connection(aiormq.Connection):
    @staticmethod
    async def _rpc(
        request: Frame,
        writer: asyncio.StreamWriter,
        frame_receiver: FrameReceiver,
        wait_response: bool = True,
    ) -> FrameTypes | None:
        watched = cast(FrameReceiver, _Refusals(frame_receiver))
        return await aiormq.Connection._rpc(request, writer, watched, wait_response)


class _PassiveDeclare(spec.Queue.Declare):
    """Asks for a queue of any name; the client library allows fewer characters than the broker does."""

    def validate(self) -> None:
        """Let the broker judge."""


class _Link:
    """An open connection and its idle channels; each channel serves one poll at a time."""

    def __init__(self, connection: aiormq.Connection) -> None:
        self.connection = connection
        self.idle: list[Channel] = []
        self.slots = asyncio.Semaphore(_CHANNELS)
        self.answered_at = asyncio.get_running_loop().time()

    async def declare(self, queue: str) -> Declared:
        async with self.slots:
            channel = await self._channel()
            # A missing queue closes the channel; it is put back only after a good answer.
            try:
                answer = await channel.rpc(_PassiveDeclare(queue=queue, passive=True))
            except ChannelNotFoundEntity:
                self._heard()
                raise
            self._heard()
            self.idle.append(channel)
        if answer.message_count is None or answer.consumer_count is None:
            raise PollError(f"queue '{queue}': the answer lacks the counts", reason="CountMissing")
        return Declared(ready=answer.message_count, consumers=answer.consumer_count)

    def _heard(self) -> None:
        self.answered_at = asyncio.get_running_loop().time()

    async def _channel(self) -> Channel:
        while self.idle:
            channel = self.idle.pop()
            if not channel.is_closed:
                return channel
        return cast(Channel, await self.connection.channel(publisher_confirms=False))


class AmqpSession:
    """The connection: opened by the first poll, reopened by the first one after it was lost."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._link: _Link | None = None
        self._connecting: SingleFlight[_Link] = SingleFlight()
        self._closing: set[asyncio.Task[None]] = set()

    async def declare(self, queue: str) -> Declared:
        """Ask for one queue.

        A cancelled call (time is up) drops the connection if nothing was heard on it meanwhile.

        Raises:
            PollError: `EntityNotFound`, `EntityLocked`, `AuthorizationFailed`, `AuthenticationFailed`,
                `TlsFailed` or `Unreachable`.
        """
        link = self._link
        if link is None or not link.connection.is_opened:
            self._drop(link)
            link = await self._connecting.join("connect", self._connect)
        asked_at = asyncio.get_running_loop().time()
        try:
            return await link.declare(queue)
        except asyncio.CancelledError:
            silent = link.answered_at <= asked_at
            if silent:
                self._drop(link)
            if _is_cancelled_by_caller():
                raise
            raise self._unreachable("the connection was lost") from None
        except ChannelNotFoundEntity as exc:
            raise self._missing_queue(queue) from exc
        except ChannelLockedResource as exc:
            text = f"{self._where}: queue '{queue}' is exclusive to another connection; use a shared queue"
            raise PollError(text, transient=False, reason="EntityLocked") from exc
        except ChannelAccessRefused as exc:
            text = f"{self._where}: access to queue '{queue}' was refused; grant the user rights on it"
            raise PollError(text, transient=False, reason="AuthorizationFailed") from exc
        except _LOST as exc:
            self._drop(link)
            raise self._unreachable(f"the connection was lost ({type(exc).__name__})") from exc

    async def aclose(self) -> None:
        """Close, within a few seconds whatever the broker does."""
        await self._connecting.aclose()
        self._drop(self._link)
        if self._closing:
            await asyncio.wait(self._closing, timeout=_CLOSE_S + 1)

    async def _connect(self) -> _Link:
        context = await tls_context(self._address.tls, self._address.origin)
        connection = prepare_connection(self._address, context)
        try:
            async with asyncio.timeout(self._timeout_s):
                await connection.connect()
        except asyncio.CancelledError:
            self._close_later(connection)
            raise
        except _LOST as exc:
            self._close_later(connection)
            raise self._refused(exc) from exc
        self._link = _Link(connection)
        return self._link

    def _drop(self, link: _Link | None) -> None:
        """Forget a connection, so that the next poll opens a new one; closing goes on beside."""
        if link is None:
            return
        if self._link is link:
            self._link = None
            self._close_later(link.connection)

    def _close_later(self, connection: aiormq.Connection) -> None:
        closing: Coroutine[None, None, None] = close_connection(connection)
        task = asyncio.get_running_loop().create_task(closing, name="rabbitmq-close")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    @property
    def _where(self) -> str:
        return f"{self._address.origin}, vhost '{self._address.vhost}'"

    def _unreachable(self, what: str) -> PollError:
        return PollError(f"{self._address.origin}: {what}; is the broker running?", reason="Unreachable")

    def _missing_queue(self, queue: str) -> PollError:
        text = f"{self._where}: no queue '{queue}'; create it or correct queueName"
        return PollError(text, transient=False, reason="EntityNotFound")

    def _refused(self, exc: BaseException) -> PollError:
        """Say why no connection came about. The broker's own words are left out: they name the user."""
        origin, cause = self._address.origin, exc.__cause__ or exc
        if isinstance(exc, TimeoutError):
            text = f"{origin}: no connection within {self._timeout_s:g} s"
            return PollError(text, reason="Timeout")
        if isinstance(cause, ssl.SSLError):
            text = f"{origin}: TLS failed: {_tls_reason(cause)}; check ca, the host name and that the port is TLS"
            return PollError(text, transient=False, reason="TlsFailed")
        if isinstance(exc, AuthenticationError | ProbableAuthenticationError):
            text = f"{origin}: the broker refused user and password (or the client certificate)"
            return PollError(text, transient=False, reason="AuthenticationFailed")
        if isinstance(exc, ConnectionNotAllowed):
            return self._no_vhost(str(exc))
        if isinstance(cause, OSError) and cause is not exc:
            return self._unreachable(f"cannot connect: {cause.strerror or 'no address of the host answers'}")
        return self._unreachable("the broker closed the connection; a TLS port needs amqps://")

    def _no_vhost(self, said: str) -> PollError:
        if "refused" in said:
            text = f"{self._where}: the user has no permission on the vhost; grant it"
            return PollError(text, transient=False, reason="AuthorizationFailed")
        if "not found" in said:
            text = f"{self._where}: no such vhost; correct host or vhostName"
            return PollError(text, transient=False, reason="EntityNotFound")
        return self._unreachable("the broker refused the vhost")


def prepare_connection(address: Address, context: ssl.SSLContext | None) -> aiormq.Connection:
    """Make a connection that is not open yet."""
    query = {"heartbeat": str(_HEARTBEAT_S)}
    if address.tls and address.tls.cert and not address.password:
        query["auth"] = "external"
    url = URL.build(
        scheme=address.scheme,
        host=address.host,
        port=address.port,
        user=address.user,
        password=address.password,
        query=query,
    )
    options: dict[str, Any] = {"ssl_shutdown_timeout": _CLOSE_S} if context else {}
    connection = _Connection(
        url, context=context, client_properties={"connection_name": CONNECTION_NAME}, **options
    )
    connection.vhost = address.vhost  # a URL's path could not carry every name
    return connection


def _tls_reason(exc: ssl.SSLError) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return exc.verify_message
    return str(exc.reason or "no TLS was spoken").replace("_", " ").lower()


def _is_cancelled_by_caller() -> bool:
    """Tell a cancellation from outside from the one with which the client ends calls of a lost connection."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def close_connection(connection: aiormq.Connection) -> None:
    """Close it, within a few seconds whatever the broker does."""
    try:
        async with asyncio.timeout(_CLOSE_S):
            await connection.close(ConnectionClosed(200, "closed by the scaler"))
    except (TimeoutError, AMQPError, OSError, RuntimeError):
        pass  # it is gone either way


@asynccontextmanager
async def open_amqp(address: Address, timeout_s: float) -> AsyncIterator[AmqpSession]:
    """Give a session, and close it."""
    _hush()
    session = AmqpSession(address, timeout_s)
    try:
        yield session
    finally:
        await session.aclose()


def _hush() -> None:
    """Keep the client from logging lost connections with tracebacks; they reach the user as the rule's fault."""
    logger = logging.getLogger("aiormq")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)
