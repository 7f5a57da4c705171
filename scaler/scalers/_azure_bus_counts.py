"""Counts of the management API: an entity's own where few ask, the pages of a list where many ask at once.

A page tells a hundred entities. So who asks while as many requests are under way as the list has pages takes
or joins the list; who comes alone asks for its entity only. Nothing is kept but the number of pages.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from azure.core.async_paging import AsyncItemPaged
from azure.core.exceptions import HttpResponseError
from azure.servicebus.aio.management import ServiceBusAdministrationClient
from azure.servicebus.management import QueueRuntimeProperties, SubscriptionRuntimeProperties

from scaler.scalers._azure_bus_entity import Ask, Counted, Entity, Row, has_count, read_count
from scaler.scalers._single_flight import SingleFlight

_NOT_ASKED_AGAIN: Final = (408, 429, 500, 502, 503, 504)
"""With these a list's failure is everybody's: asking one by one would be a storm on a service in trouble."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Entities by key as the management API wrote them, and when they were asked for."""

    asked_at: datetime
    rows: Mapping[str, Row] = field(repr=False)


@dataclass(slots=True)
class _Scope:
    """One list: all queues, or one topic's subscriptions.

    Attributes:
        pages: how many it had at least, when it was read last.
        busy: single requests under way.
        joined: rules that take or joined the list under way.
    """

    pages: int = 1
    busy: int = 0
    joined: int = 0


class BusCounts:
    """Reads counts over one connection, for all rules of a namespace."""

    def __init__(self, admin: ServiceBusAdministrationClient, now: Callable[[], datetime]) -> None:
        self._admin = admin
        self._now = now
        self._scopes: defaultdict[str | None, _Scope] = defaultdict(_Scope)
        self._lists: SingleFlight[Listing | None] = SingleFlight()

    async def one(self, entity: Entity, ask: Ask) -> Counted:
        """Count one entity: by the list if that serves more rules than it takes requests, else by itself.

        Raises:
            AzureError: the request failed.
            PollError: `CountMissing`.
        """
        topic = entity.topic.lower() if entity.topic is not None else None
        scope = self._scopes[topic]
        if scope.joined or scope.busy >= scope.pages:
            listing = await self._join(entity.topic, scope, ask)
            row = listing.rows.get(entity.key) if listing is not None else None
            if listing is not None and row is not None and has_count(row):
                return Counted(value=read_count(row, ask.subject), asked_at=listing.asked_at)
        scope.busy += 1
        try:
            return Counted(value=read_count(await self._get(entity, ask), ask.subject))
        finally:
            scope.busy -= 1

    async def every(self, topic: str | None, ask: Ask) -> Listing:
        """Read all queues, or all subscriptions of a topic; joins whoever does that already.

        Raises:
            AzureError: a request failed.
        """
        listing = await self._lists.join(("every", topic), lambda: self._read(topic, None, ask))
        assert listing is not None  # without a scope it reads on to the end
        return listing

    async def aclose(self) -> None:
        """Cancel what is in flight."""
        await self._lists.aclose()

    async def _get(self, entity: Entity, ask: Ask) -> Row:
        await ask.note()
        if entity.topic is not None:
            return await self._admin.get_subscription_runtime_properties(entity.topic, entity.name)
        return await self._admin.get_queue_runtime_properties(entity.name)

    async def _join(self, topic: str | None, scope: _Scope, ask: Ask) -> Listing | None:
        scope.joined += 1
        try:
            return await self._lists.join(("shared", topic), lambda: self._try(topic, scope, ask))
        finally:
            scope.joined -= 1

    async def _try(self, topic: str | None, scope: _Scope, ask: Ask) -> Listing | None:
        """Read the list; None where it is refused but an entity's own request may not be."""
        try:
            return await self._read(topic, scope, ask)
        except HttpResponseError as exc:
            if exc.status_code is None or exc.status_code in _NOT_ASKED_AGAIN:
                raise
            return None

    async def _read(self, topic: str | None, scope: _Scope | None, ask: Ask) -> Listing:
        """Read page after page; with a scope only while that serves more rules than it takes pages."""
        asked_at = self._now()
        listed: AsyncItemPaged[QueueRuntimeProperties] | AsyncItemPaged[SubscriptionRuntimeProperties]
        if topic is not None:
            listed = self._admin.list_subscriptions_runtime_properties(topic)
        else:
            listed = self._admin.list_queues_runtime_properties()
        pages, read = listed.by_page(), 0
        rows: dict[str, Row] = {}
        await ask.note()
        async for page in pages:
            read += 1
            async for row in page:
                rows[row.name.lower()] = row
            if not getattr(pages, "continuation_token", None):
                break
            if scope is not None and read >= scope.joined:
                read += 1  # the one that is known to follow
                break
            await ask.note()
        if scope is not None:
            scope.pages = max(1, read)
        return Listing(asked_at=asked_at, rows=rows)
