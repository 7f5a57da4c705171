"""One client of one management API, shared by all rules with the same address and credentials.

Rules that poll while a listing of their vhost is in flight join it. It gives figures; it knows no modes.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Hashable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

import aiohttp
from yarl import URL

from scaler.errors import PollError
from scaler.ports.scaler import NoteRequest, unnoted
from scaler.scalers._http_auth import (
    Authorizer,
    Basic,
    BearerHeader,
    ClientCredentials,
    Credentials,
    Fetch,
    FixedHeader,
    TokenEndpoint,
)
from scaler.scalers._http_errors import map_http_errors, read_json
from scaler.scalers._rabbitmq_address import Address
from scaler.scalers._rabbitmq_counts import QueueCounts, has_counts, read_counts
from scaler.scalers._rabbitmq_identity import open_entra
from scaler.scalers._single_flight import Gathering, SingleFlight
from scaler.scalers._tls import Tls, tls_context

_EXACT: Final = "disable_stats=true&enable_queue_totals=true"
# `messages_details` appears only where the server ignored the two switches and gave statistics, which lag.
_COLUMNS: Final = "columns=name,type,messages,messages_ready,messages_unacknowledged,messages_details.rate"
_MAX_PAGES: Final = 1000
_CONNECTIONS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """What two rules must have in common to share a client."""

    origin: str
    tls: Tls | None
    credentials: Credentials

    @classmethod
    def of(cls, address: Address, credentials: Credentials) -> Endpoint:
        """Make it of an address; its own user and password are used if nothing else is given."""
        if credentials is None and address.user is not None:
            credentials = Basic(user=address.user, password=address.password or "")
        return cls(origin=address.origin, tls=address.tls, credentials=credentials)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Queues as the API wrote them, and when they were asked for."""

    asked_at: datetime
    by_name: Mapping[str, Mapping[str, Any]] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Figures of a queue, or of those that match, and when they were asked for."""

    asked_at: datetime
    queues: tuple[QueueCounts, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """How to ask: the limit of each single request in seconds, and who is told of it."""

    timeout_s: float
    note: NoteRequest = unnoted


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """A regular expression, read by the broker, and how many queues a page of its answer may have."""

    text: str
    page_size: int


class HttpSession:
    """The client."""

    def __init__(
        self, endpoint: Endpoint, http: aiohttp.ClientSession, auth: Authorizer, now: Callable[[], datetime]
    ) -> None:
        self._origin = endpoint.origin
        self._http = http
        self._auth = auth
        self._now = now
        self._listings: SingleFlight[Rows] = SingleFlight()
        self._gatherings: defaultdict[Hashable, Gathering] = defaultdict(Gathering)

    async def count(self, vhost: str, queue: str, ask: Ask) -> Counted:
        """Count one queue by the vhost's listing, or by its own address where the listing has no totals.

        Raises:
            PollError: see `_failed`; `CountMissing` if neither has the counts.
        """
        key = (vhost, ask.timeout_s)
        listing = await self._listings.join(key, lambda: self._gathered(key, vhost, ask))
        row = listing.by_name.get(queue)
        if row is None:
            raise self._missing(vhost, queue)
        if not has_counts(row):
            return await self.statistics(vhost, queue, ask, rates=False)
        counts = read_counts(row, rates=False, where=self._where(vhost, queue))
        return Counted(asked_at=listing.asked_at, queues=(counts,))

    async def statistics(self, vhost: str, queue: str, ask: Ask, *, rates: bool = True) -> Counted:
        """Read one queue's statistics, which are up to 5 s old."""
        asked_at = self._now()
        path = f"/api/queues/{_quoted(vhost)}/{_quoted(queue)}"
        row = await self._get(path, ask, missing=self._missing(vhost, queue))
        if not isinstance(row, dict):
            raise self._nonsense()
        counts = read_counts({**row, "messages_details": {}}, rates=rates, where=self._where(vhost, queue))
        return Counted(asked_at=asked_at, queues=(counts,))

    async def matching(self, vhost: str, pattern: Pattern, ask: Ask, *, rates: bool) -> Counted:
        """Read all queues that match, page by page; with `rates` their statistics, else exact counts."""
        key = (vhost, pattern, ask.timeout_s, rates)
        rows = await self._listings.join(key, lambda: self._pages(vhost, pattern, ask, rates))
        if not rates and not all(has_counts(row) for row in rows.by_name.values()):
            key = (vhost, pattern, ask.timeout_s, True)
            rows = await self._listings.join(key, lambda: self._pages(vhost, pattern, ask, True))
        counted = (
            read_counts(row, rates=rates, where=self._where(vhost, name))
            for name, row in rows.by_name.items()
        )
        return Counted(asked_at=rows.asked_at, queues=tuple(counted))

    async def aclose(self) -> None:
        """Cancel what is in flight."""
        await self._listings.aclose()

    async def _gathered(self, key: Hashable, vhost: str, ask: Ask) -> Rows:
        """List for all rules that come meanwhile, too."""
        await self._gatherings[key].wait()
        rows = await self._list(vhost, ask)
        self._gatherings[key].learn(self._listings.sharers(key))
        return rows

    async def _list(self, vhost: str, ask: Ask) -> Rows:
        asked_at = self._now()
        path = f"/api/queues/{_quoted(vhost)}?{_EXACT}&{_COLUMNS}"
        body = await self._get(path, ask, missing=self._no_vhost(vhost))
        return Rows(asked_at=asked_at, by_name=self._by_name(body))

    async def _pages(self, vhost: str, pattern: Pattern, ask: Ask, rates: bool) -> Rows:
        """Read page after page. Queues may come and go meanwhile: a name counts once, a page too far ends it."""
        asked_at = self._now()
        found: dict[str, Mapping[str, Any]] = {}
        what = "" if rates else f"&{_EXACT}&{_COLUMNS}"
        for page in range(1, _MAX_PAGES + 1):
            path = (
                f"/api/queues/{_quoted(vhost)}?page={page}&page_size={pattern.page_size}"
                f"&use_regex=true&pagination=true&name={_quoted(pattern.text)}&sort=name{what}"
            )
            body = await self._get(path, ask, missing=self._no_vhost(vhost), beyond=page > 1)
            if body is None:
                break
            pages = body.get("page_count") if isinstance(body, dict) else None
            if not isinstance(pages, int):
                raise self._nonsense()
            found.update(self._by_name(body.get("items")))
            if page >= pages:
                break
        return Rows(asked_at=asked_at, by_name=found)

    def _by_name(self, items: object) -> dict[str, Mapping[str, Any]]:
        if not isinstance(items, list) or not all(isinstance(row, dict) and "name" in row for row in items):
            raise self._nonsense()
        return {str(row["name"]): row for row in items}

    async def _get(self, path: str, ask: Ask, *, missing: PollError, beyond: bool = False) -> Any:
        """Ask once. None only with `beyond`, when the page does not exist (any more)."""
        with map_http_errors(self._origin):
            async with asyncio.timeout(ask.timeout_s):
                header = await self._auth.header()
            headers = {"Authorization": header} if header else {}
            await ask.note()
            async with self._http.get(
                URL(self._origin + path, encoded=True),
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=ask.timeout_s),
            ) as response:
                body = await read_json(response)
                status = response.status
        if status == 200:
            return body
        if status == 404:
            raise missing
        word, said = _words(body)
        if beyond and status == 400 and word == "page_out_of_range":
            return None
        raise self._failed(status, said)

    def _failed(self, status: int, said: str) -> PollError:
        """Say what a bad status means: `AuthenticationFailed`, `AuthorizationFailed`, `ServiceError`, `BadRequest`."""
        told = f" ({said})" if said else ""
        if status == 401 and said in ("", "Login failed"):
            self._auth.refused()
            text = f"{self._origin}: status 401{told}: the credentials were refused, or none were given"
            return PollError(text, transient=False, reason="AuthenticationFailed")
        if status in (401, 403):
            self._auth.refused()
            text = (
                f"{self._origin}: status {status}{told}; give the user the tag monitoring or management "
                "and a permission on the vhost"
            )
            return PollError(text, transient=False, reason="AuthorizationFailed")
        if status >= 500 or status in (408, 429):
            reason = "Throttled" if status == 429 else "ServiceError"
            return PollError(f"{self._origin}: status {status}{told}; is the broker well?", reason=reason)
        text = f"{self._origin}: status {status}{told}; check host, vhostName and queueName"
        return PollError(text, transient=False, reason="BadRequest")

    def _where(self, vhost: str, queue: str) -> str:
        return f"{self._origin}, vhost '{vhost}', queue '{queue}'"

    def _missing(self, vhost: str, queue: str) -> PollError:
        text = f"{self._origin}, vhost '{vhost}': no queue '{queue}'; create it or correct queueName"
        return PollError(text, transient=False, reason="EntityNotFound")

    def _no_vhost(self, vhost: str) -> PollError:
        text = f"{self._origin}: no vhost '{vhost}' there; correct host (its last segment is the vhost) or vhostName"
        return PollError(text, transient=False, reason="EntityNotFound")

    def _nonsense(self) -> PollError:
        text = f"{self._origin}: what came back is not a list of queues; is this the management API?"
        return PollError(text, transient=True, reason="BadAnswer")


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _words(body: object) -> tuple[str, str]:
    """Give error and reason of a refusal; other bodies (a proxy's page) are not repeated."""
    if not isinstance(body, dict):
        return "", ""
    word, said = body.get("error"), body.get("reason")
    return word if isinstance(word, str) else "", said[:200] if isinstance(said, str) else ""


@asynccontextmanager
async def open_http(
    endpoint: Endpoint, timeout_s: float, now: Callable[[], datetime], address: Address
) -> AsyncIterator[HttpSession]:
    """Give a session, and close it with its connections."""
    context = await tls_context(address.tls, address.origin)
    connector = aiohttp.TCPConnector(limit=_CONNECTIONS, ssl=context if context else True)
    async with (
        aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as http,
        _authorizer(endpoint.credentials, http, timeout_s) as auth,
    ):
        session = HttpSession(endpoint, http, auth, now)
        try:
            yield session
        finally:
            await session.aclose()


@asynccontextmanager
async def _authorizer(
    credentials: Credentials, http: aiohttp.ClientSession, timeout_s: float
) -> AsyncIterator[Authorizer]:
    if credentials is None or isinstance(credentials, Basic):
        yield FixedHeader(credentials)
        return
    async with AsyncExitStack() as stack:
        if isinstance(credentials, ClientCredentials):
            fetch: Fetch = TokenEndpoint(http, credentials, timeout_s).fetch
        else:
            fetch = await stack.enter_async_context(open_entra(credentials))
        bearer = BearerHeader(fetch)
        stack.push_async_callback(bearer.aclose)
        yield bearer
