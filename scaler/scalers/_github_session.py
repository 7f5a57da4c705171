"""One client of GitHub's REST API for one login, shared by all rules that have it.

It reads lists, page by page, keeps what an ETag proved unchanged, and asks nothing while the rate limit
forbids it. What the lists mean is decided elsewhere.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

import aiohttp
from yarl import URL

from scaler.errors import PollError
from scaler.ports.scaler import NoteRequest, unnoted
from scaler.scalers._github_auth import HEADERS, App, InstallationTokens, Login, PersonalToken
from scaler.scalers._github_limits import LIMITED, RateLimited, limited_until
from scaler.scalers._http_auth import BearerHeader
from scaler.scalers._http_errors import read_json
from scaler.scalers._rest import CONNECTIONS, map_rest_errors
from scaler.scalers._single_flight import SingleFlight

PER_PAGE: Final = 100
MAX_PAGES: Final = 200
MAX_KEPT: Final = 5000
"""Answers kept for their ETags; the ones not used for longest go first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """What two rules must have in common to share a client."""

    url: str
    login: Login


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Items of all pages, and from which moment on they are true."""

    asked_at: datetime
    items: tuple[Mapping[str, Any], ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    asked_at: datetime
    items: tuple[Mapping[str, Any], ...]
    has_next: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    etag: str
    page: _Page


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A list to read: its path, the key of its items (None: the answer is the list) and what to keep of them."""

    path: str
    items: str | None
    fields: tuple[str, ...]
    parameters: tuple[tuple[str, str], ...] = ()
    use_etags: bool = False


class _Auth(Protocol):
    async def header(self) -> str | None: ...
    def refused(self) -> None: ...


class _FixedToken:
    def __init__(self, token: PersonalToken) -> None:
        self._text = f"Bearer {token.text}"

    async def header(self) -> str | None:
        return self._text

    def refused(self) -> None:
        """Do nothing: there is no other."""


class GithubSession:
    """The client."""

    def __init__(
        self, api: Api, http: aiohttp.ClientSession, auth: _Auth, now: Callable[[], datetime]
    ) -> None:
        self._url = api.url
        self._http = http
        self._auth = auth
        self._now = now
        self._flights: SingleFlight[_Page | None] = SingleFlight()
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._until: datetime | None = None

    async def read(self, query: Query, note: NoteRequest = unnoted) -> Listing | None:
        """Read all pages of a list; None if there is no such thing (or no right to know of it).

        Raises:
            RateLimited: now, or on the way.
            PollError: see `_failed`.
        """
        started: datetime | None = None
        found: list[Mapping[str, Any]] = []
        for number in range(1, MAX_PAGES + 1):
            url = self._address(query, number)
            page = await self._flights.join(
                (url, query.use_etags),
                lambda url=url: self._get(url, query, note),  # type: ignore[misc]
            )
            if page is None:
                return None
            started = min(started or page.asked_at, page.asked_at)
            found.extend(page.items)
            if not page.has_next:
                return Listing(asked_at=started, items=tuple(found))
        text = f"{self._url}{query.path}: more than {MAX_PAGES} pages; name fewer repos"
        raise PollError(text, transient=False, reason="BadAnswer")

    async def aclose(self) -> None:
        """Cancel what is in flight."""
        await self._flights.aclose()

    def _address(self, query: Query, number: int) -> str:
        given = "".join(f"{key}={value}&" for key, value in query.parameters)
        return f"{self._url}{query.path}?{given}per_page={PER_PAGE}&page={number}"

    async def _get(self, url: str, query: Query, note: NoteRequest) -> _Page | None:
        asked_at = self._now()
        if self._until is not None and asked_at < self._until:
            raise RateLimited(self._url, self._until)
        with map_rest_errors(self._url):
            header = await self._header()
            headers = {**HEADERS, "Authorization": header}
            kept = self._kept.get(url) if query.use_etags else None
            if kept is not None:
                headers["If-None-Match"] = kept.etag
            await note()
            async with self._http.get(URL(url, encoded=True), headers=headers) as response:
                body = None if response.status == 304 else await read_json(response)
        said = _words(body).replace(header.removeprefix("Bearer ") or " ", "***")
        until = limited_until(response.status, response.headers, said, self._now())
        self._until = max(filter(None, (self._until, until)), default=None)
        if response.status == 304 and kept is not None:
            self._kept.move_to_end(url)
            return _Page(asked_at=asked_at, items=kept.page.items, has_next=kept.page.has_next)
        if response.status == 404:
            return None
        if response.status != 200:
            raise self._failed(response.status, said, query.path, until)
        page = self._page(body, query, asked_at, response)
        self._keep(url, response.headers.get("ETag"), page, use_etags=query.use_etags)
        return page

    async def _header(self) -> str:
        try:
            return await self._auth.header() or ""
        except RateLimited as exc:
            self._until = exc.until
            raise

    def _page(
        self, body: object, query: Query, asked_at: datetime, response: aiohttp.ClientResponse
    ) -> _Page:
        rows = body.get(query.items) if query.items and isinstance(body, dict) else body
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise self._nonsense(query.path)
        try:
            items = tuple({name: row[name] for name in query.fields} for row in rows)
        except KeyError as exc:
            raise self._nonsense(query.path) from exc
        # A proxy may drop the links; a full page then means that there may be another.
        has_next = "next" in response.links or len(rows) >= PER_PAGE
        return _Page(asked_at=asked_at, items=items, has_next=has_next)

    def _keep(self, url: str, etag: str | None, page: _Page, *, use_etags: bool) -> None:
        if not use_etags or not etag:
            return
        self._kept[url] = _Kept(etag=etag, page=page)
        self._kept.move_to_end(url)
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)

    def _failed(self, status: int, said: str, path: str, until: datetime | None) -> PollError:
        """Say what a bad status means.

        `Throttled`, `AuthenticationFailed`, `AuthorizationFailed`, `ServiceError` or `BadRequest`.
        """
        told = f"{self._url}{path}: status {status}{f' ({said})' if said else ''}"
        if status in LIMITED and until is not None:
            return RateLimited(self._url, until)
        if status == 401:
            self._auth.refused()
            text = f"{told}; the token was refused, renew it"
            return PollError(text, transient=False, reason="AuthenticationFailed")
        if status == 403:
            text = f"{told}; give the token read access to metadata and actions of the repositories"
            return PollError(text, transient=False, reason="AuthorizationFailed")
        if status >= 500 or status == 408:
            return PollError(f"{told}; is GitHub well?", reason="ServiceError")
        text = f"{told}; check githubApiURL, owner and repos"
        return PollError(text, transient=False, reason="BadRequest")

    def _nonsense(self, path: str) -> PollError:
        text = f"{self._url}{path}: what came back is not GitHub's list; check githubApiURL"
        return PollError(text, reason="BadAnswer")


def _words(body: object) -> str:
    """Give the message of a refusal; other bodies (a proxy's page) are not repeated."""
    said = body.get("message") if isinstance(body, dict) else None
    return said[:200] if isinstance(said, str) else ""


@asynccontextmanager
async def open_github(
    api: Api, timeout_s: float, now: Callable[[], datetime]
) -> AsyncIterator[GithubSession]:
    """Give a session, and close it with its connections."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=timeout_s),
    ) as http:
        bearer: BearerHeader | None = None
        if isinstance(api.login, App):
            bearer = BearerHeader(InstallationTokens(http, api.url, api.login, now).fetch)
            session = GithubSession(api, http, bearer, now)
        else:
            session = GithubSession(api, http, _FixedToken(api.login), now)
        try:
            yield session
        finally:
            await session.aclose()
            if bearer is not None:
                await bearer.aclose()
