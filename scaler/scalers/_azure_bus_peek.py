"""Counts messages by looking at them over AMQP, where the management API cannot be asked.

That needs only the right Listen, and works on an emulator without a management API. It shows every message of
an entity one by one, locked ones too, so it is bounded, and what it finds is a lower bound. It takes and locks
nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import structlog
from azure.servicebus import ServiceBusMessageState, ServiceBusReceivedMessage
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver
from azure.servicebus.exceptions import (
    MessagingEntityDisabledError,
    MessagingEntityNotFoundError,
    OperationTimeoutError,
    ServiceBusAuthenticationError,
    ServiceBusAuthorizationError,
    ServiceBusCommunicationError,
    ServiceBusConnectionError,
    ServiceBusError,
    ServiceBusQuotaExceededError,
    ServiceBusServerBusyError,
)

from scaler.errors import PollError
from scaler.scalers._azure_bus_admin import EMULATOR_ADMIN_PORT
from scaler.scalers._azure_bus_entity import Ask, Entity
from scaler.scalers._azure_errors import Subject
from scaler.scalers._azure_identity import open_credential
from scaler.scalers._azure_strings import BusNamespace
from scaler.scalers._single_flight import SingleFlight

log = structlog.get_logger("scaler")

MOST: Final = 250
"""Active messages are counted up to this: for more of them nothing is asked."""
MOST_SEEN: Final = 1000
"""Messages are looked at up to this, those that do not count included."""
MOST_LINKS: Final = 8
"""Receivers kept open, each with a connection of its own in the SDK; the official emulator takes ten."""
AMQP_PORT: Final = 5672
_CLOSE_S: Final = 2.0
_BROKEN = (ServiceBusConnectionError, ServiceBusCommunicationError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peeked:
    """What was seen: active messages, whether that were all there are, and when looking began."""

    active: int
    is_all: bool
    asked_at: datetime


class BusPeek:
    """Looks into entities, over receivers that are kept open between polls."""

    def __init__(self, client: ServiceBusClient, now: Callable[[], datetime]) -> None:
        self._client = client
        self._now = now
        self._flights: SingleFlight[Peeked] = SingleFlight()
        self._room = asyncio.Semaphore(MOST_LINKS)
        self._busy = 0
        self._idle: OrderedDict[Entity, ServiceBusReceiver] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()

    async def count(self, entity: Entity, ask: Ask, timeout_s: float) -> Peeked:
        """Count the active messages of an entity; joins a look that is under way.

        Raises:
            PollError: it could not be looked at, or nothing that counts was among what may be looked at.
        """
        try:
            async with asyncio.timeout(timeout_s):
                peeked = await self._flights.join(entity, lambda: self._look(entity, ask, timeout_s))
        except (ServiceBusError, TimeoutError) as exc:
            raise explain(exc, ask.subject) from exc
        if peeked.active == 0 and not peeked.is_all:
            text = (
                f"none of the first {MOST_SEEN} messages is active, and there are more; give the right Manage"
            )
            raise ask.subject.fault(text, reason="CountMissing", transient=True)
        return peeked

    async def aclose(self) -> None:
        """Cancel what is in flight and close every receiver, within a limit."""
        await self._flights.aclose()
        for receiver in self._idle.values():
            self._close_soon(receiver)
        self._idle.clear()
        if self._closing:
            await asyncio.wait(self._closing, timeout=_CLOSE_S)

    async def _look(self, entity: Entity, ask: Ask, timeout_s: float) -> Peeked:
        async with self._room:
            self._busy += 1
            try:
                if known := self._idle.pop(entity, None):
                    try:
                        return await self._look_with(known, entity, ask, timeout_s)
                    except _BROKEN:
                        pass  # between two polls, which says nothing about the entity
                return await self._look_with(self._make_room(entity), entity, ask, timeout_s)
            finally:
                self._busy -= 1

    async def _look_with(
        self, receiver: ServiceBusReceiver, entity: Entity, ask: Ask, timeout_s: float
    ) -> Peeked:
        try:
            peeked = await self._read(receiver, ask, timeout_s)
        except BaseException:
            self._close_soon(receiver)
            raise
        self._idle[entity] = receiver
        return peeked

    def _make_room(self, entity: Entity) -> ServiceBusReceiver:
        """Open a receiver; at most MOST_LINKS are open, the one unused for longest is closed for it."""
        while self._idle and len(self._idle) + self._busy > MOST_LINKS:
            _entity, oldest = self._idle.popitem(last=False)
            self._close_soon(oldest)
        if entity.topic is not None:
            return self._client.get_subscription_receiver(entity.topic, entity.name)
        return self._client.get_queue_receiver(entity.name)

    async def _read(self, receiver: ServiceBusReceiver, ask: Ask, timeout_s: float) -> Peeked:
        """Look at message after message until there is none, or enough were seen."""
        asked_at = self._now()
        active, seen, start = 0, 0, 1
        while active < MOST and seen < MOST_SEEN:
            await ask.note()
            found = await receiver.peek_messages(MOST, sequence_number=start, timeout=timeout_s)
            if not found:
                return Peeked(active=active, is_all=True, asked_at=asked_at)
            active += sum(1 for message in found if is_active(message, asked_at))
            seen += len(found)
            start = (found[-1].sequence_number or 0) + 1
        return Peeked(active=min(active, MOST), is_all=False, asked_at=asked_at)

    def _close_soon(self, receiver: ServiceBusReceiver) -> None:
        task = asyncio.get_running_loop().create_task(_close(receiver), name="close-peek")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def is_active(message: ServiceBusReceivedMessage, now: datetime) -> bool:
    """Tell whether a message is active: not deferred, not scheduled, not expired (those are shown for a while)."""
    if message.state is not ServiceBusMessageState.ACTIVE:
        return False
    end = message.expires_at_utc
    return end is None or end > now


async def _close(receiver: ServiceBusReceiver) -> None:
    try:
        async with asyncio.timeout(_CLOSE_S):
            await receiver.close()
    except Exception as exc:  # noqa: BLE001 - it is given up either way, and the SDK may raise anything
        log.debug("servicebus.close_failed", error=type(exc).__name__)


def explain(exc: ServiceBusError | TimeoutError, subject: Subject) -> PollError:
    """Say in our words what the SDK reports; its own may hold addresses and tokens."""
    inner = getattr(exc, "inner_exception", None)
    if isinstance(inner, PollError):  # of the credential
        return inner
    for kinds, reason, text, transient in _MEANINGS:
        if isinstance(exc, kinds):
            told = text.format(missing=subject.missing, timeout=f"{subject.timeout_s:g}")
            return subject.fault(told, reason=reason, transient=transient)
    condition = str(getattr(exc, "_condition", "") or "")
    if "not-allowed" in condition:
        text = "an entity with sessions cannot be looked into over AMQP; give the right Manage"
        return subject.fault(text, reason="AuthorizationFailed", transient=False)
    text = f"AMQP failed ({type(exc).__name__})"
    return subject.fault(text, reason="Unreachable", transient=True)


_MEANINGS: Final[tuple[tuple[tuple[type[Exception], ...], str, str, bool], ...]] = (
    ((MessagingEntityNotFoundError,), "EntityNotFound", "does not exist; {missing}", False),
    ((MessagingEntityDisabledError,), "EntityDisabled", "is disabled; enable it", False),
    (
        (ServiceBusAuthenticationError, ServiceBusAuthorizationError),
        "AuthenticationFailed",
        "AMQP refused access; check the key, its policy needs the right Listen at least",
        False,
    ),
    (
        (ServiceBusServerBusyError, ServiceBusQuotaExceededError),
        "Throttled",
        "too many requests or connections; poll less often",
        True,
    ),
    ((OperationTimeoutError, TimeoutError), "Timeout", "no answer over AMQP within {timeout} s", True),
    (_BROKEN, "Unreachable", "cannot be reached over AMQP; check the address and the network", True),
)


def amqp_host(namespace: BusNamespace, admin_port: int | None) -> str:
    """Give host and AMQP port. The port of an emulator's management string is not that of AMQP."""
    host = f"[{namespace.host}]" if ":" in namespace.host else namespace.host
    if not namespace.is_emulator:
        return host
    port = namespace.port
    return f"{host}:{AMQP_PORT if port in (None, admin_port or EMULATOR_ADMIN_PORT) else port}"


@asynccontextmanager
async def open_client(
    namespace: BusNamespace, host: str, identity: str | None
) -> AsyncIterator[ServiceBusClient]:
    """Open a client; it connects when it is first used.

    Args:
        namespace: its credentials; not used beside an identity.
        host: host, and for an emulator port, of AMQP.
        identity: `system` or an id, or None to use the namespace's key or SAS.
    """
    _hush()
    options: dict[str, Any] = {"retry_total": 0}
    async with AsyncExitStack() as stack:
        if identity is not None:
            credential = await stack.enter_async_context(open_credential(identity))
            client = ServiceBusClient(host, credential, **options)
        else:
            client = ServiceBusClient.from_connection_string(_connection_string(namespace, host), **options)
        yield await stack.enter_async_context(client)


@asynccontextmanager
async def open_peek(
    namespace: BusNamespace, host: str, identity: str | None, now: Callable[[], datetime]
) -> AsyncIterator[BusPeek]:
    """Open what looks into entities; it connects at the first look. `now` is the clock."""
    async with open_client(namespace, host, identity) as client:
        peek = BusPeek(client, now)
        try:
            yield peek
        finally:
            await peek.aclose()


def _connection_string(namespace: BusNamespace, host: str) -> str:
    key = f"SharedAccessKeyName={namespace.key_name};SharedAccessKey={namespace.key}"
    secret = f"SharedAccessSignature={namespace.sas}" if namespace.sas else key
    emulator = ";UseDevelopmentEmulator=true" if namespace.is_emulator else ""
    return f"Endpoint=sb://{host};{secret}{emulator}"


def _hush() -> None:
    """Keep the SDK from logging each failure with its traceback; it reaches the user as the rule's fault."""
    logger = logging.getLogger("azure.servicebus")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)
