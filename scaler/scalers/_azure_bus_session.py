"""What all rules of one namespace and the same credentials share: its counts, or a look over AMQP in their place.

Which of the two works is found out once for all of them. Where the management API refuses us, or an emulator
has none, AMQP is used for a minute, and then the API is tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ServiceRequestError,
    ServiceRequestTimeoutError,
)

from scaler.errors import PollError
from scaler.scalers._azure_bus_admin import NoAdminApi, admin_host, open_admin
from scaler.scalers._azure_bus_counts import BusCounts
from scaler.scalers._azure_bus_entity import Ask, Counted, Entity
from scaler.scalers._azure_bus_peek import MOST, BusPeek, amqp_host, open_peek
from scaler.scalers._azure_errors import explain
from scaler.scalers._azure_strings import BusNamespace

ASK_AGAIN: Final = timedelta(seconds=60)
"""How long AMQP is used before the management API is tried again."""
_MARGIN: Final = 0.9
"""Part of the time left that AMQP may take, so that its failure can still be told with the API's."""
# Faults that say nothing of the entity.
_LESS_TELLING: Final = ("AuthenticationFailed", "Unreachable", "Timeout", "Throttled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A namespace and how to log in there; rules for which it is equal share a session.

    Attributes:
        namespace: its credentials; not used beside an identity.
        identity: `system` or an id, or None to use the namespace's key or SAS.
        admin_port: as the rule gives it.
    """

    namespace: BusNamespace
    identity: str | None
    admin_port: int | None

    @property
    def host(self) -> str:
        """Host, and port if need be, of the management API."""
        return admin_host(self.namespace, self.admin_port)


class BusSession:
    """Counts entities for the rules that share it."""

    def __init__(self, login: Login, counts: BusCounts, peek: BusPeek, now: Callable[[], datetime]) -> None:
        self.counts = counts
        self._login = login
        self._peek = peek
        self._now = now
        self._why = ""
        self._peek_until: datetime | None = None

    async def one(self, entity: Entity, ask: Ask) -> Counted:
        """Count one entity's active messages, over AMQP where the management API cannot tell.

        Raises:
            AzureError: the management API failed in a way that AMQP is no help for.
            PollError: there is no count.
        """
        deadline = asyncio.get_running_loop().time() + ask.subject.timeout_s
        if self._peek_until is not None and self._now() < self._peek_until:
            try:
                return await self._look(entity, ask, deadline)
            except PollError as exc:
                if exc.reason in _LESS_TELLING:  # of AMQP as a whole, not of this entity
                    self._peek_until = None
                raise
        try:
            counted = await self.counts.one(entity, ask)
            self._peek_until = None
            return counted
        except AzureError as exc:
            why = self._why_no_api(exc)
            if why is None:
                raise
            refusal = explain(exc, ask.subject)
        self._why = why
        try:
            counted = await self._look(entity, ask, deadline)
        except PollError as exc:
            raise _both(refusal, exc, why) from exc
        self._peek_until = self._now() + ASK_AGAIN
        return counted

    async def _look(self, entity: Entity, ask: Ask, deadline: float) -> Counted:
        left_s = max(0.1, (deadline - asyncio.get_running_loop().time()) * _MARGIN)
        peeked = await self._peek.count(entity, ask, left_s)
        why = f"{self._why}, so messages were looked at over AMQP, at most {MOST} of them"
        return Counted(value=peeked.active, asked_at=peeked.asked_at, lower_bound=why)

    def _why_no_api(self, exc: AzureError) -> str | None:
        """Say why the management API is of no use here; None where the failure says something else."""
        if isinstance(exc, HttpResponseError) and exc.status_code in (401, 403):
            who = "the identity" if self._login.identity is not None else "the connection string's key"
            return f"{who} lacks the right Manage"
        is_absent = isinstance(exc, NoAdminApi) or (
            isinstance(exc, ServiceRequestError) and not isinstance(exc, ServiceRequestTimeoutError)
        )
        if self._login.namespace.is_emulator and self._login.identity is None and is_absent:
            return f"the emulator has no management API at {self._login.host}"
        return None


def _both(refusal: PollError, fault: PollError, why: str) -> PollError:
    """Make one fault of the API's and of AMQP's; AMQP's leads where it says what is wrong with the entity."""
    if fault.reason in _LESS_TELLING:
        text = f"{refusal} (looking over AMQP instead failed too: {fault.reason})"
        return PollError(text, reason=refusal.reason, transient=refusal.transient)
    return PollError(f"{fault} ({why})", reason=fault.reason, transient=fault.transient)


@asynccontextmanager
async def open_session(
    login: Login, timeout_s: float, now: Callable[[], datetime]
) -> AsyncIterator[BusSession]:
    """Open both ways; nothing is sent yet, and AMQP connects only if it is needed."""
    namespace, port = login.namespace, login.admin_port
    async with (
        open_admin(namespace, login.host, login.identity, timeout_s) as admin,
        open_peek(namespace, amqp_host(namespace, port), login.identity, now) as peek,
    ):
        counts = BusCounts(admin, now)
        try:
            yield BusSession(login, counts, peek, now)
        finally:
            await counts.aclose()
