"""One client of one Azure DevOps organization, shared by all rules with the same login."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

import aiohttp
from yarl import URL

from scaler.errors import ConfigError, PollError
from scaler.ports.scaler import NoteRequest, unnoted
from scaler.scalers._http_auth import Authorizer, Basic, BearerHeader, Fetch, FixedHeader
from scaler.scalers._http_errors import read_json
from scaler.scalers._pipelines_jobs import JobRequest, pool_ids, read_requests
from scaler.scalers._rest import CONNECTIONS, map_rest_errors
from scaler.scalers._single_flight import SingleFlight

SCOPE: Final = "499b84ac-1321-427f-aa17-267ca6975798/.default"
"""Azure DevOps as a resource of Entra, the same for all organizations."""
_SIGN_IN: Final = (203, 302, 401)
"""Without a valid login the service shows its sign-in page (203, 302) or refuses (401)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Organization:
    """What two rules must have in common to share a client: a token, or else an identity."""

    url: str
    token: str | None = field(default=None, repr=False)
    identity: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """Unfinished job requests, and when they were asked for."""

    asked_at: datetime
    jobs: tuple[JobRequest, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    asked_at: datetime
    body: Any


class PipelinesSession:
    """The client."""

    def __init__(
        self,
        organization: Organization,
        http: aiohttp.ClientSession,
        auth: Authorizer,
        now: Callable[[], datetime],
    ) -> None:
        self._url = organization.url
        self._identity = None if organization.token else organization.identity
        self._http = http
        self._auth = auth
        self._now = now
        self._flights: SingleFlight[_Answer] = SingleFlight()

    async def pool_id(self, name: str, note: NoteRequest = unnoted) -> int:
        """Find a pool.

        Raises:
            PollError: `EntityNotFound`; `Ambiguous`, if several bear the name; or see `_failed`.
        """
        answer = await self._ask(
            f"pools?poolName={quote(name, safe='')}", missing="organizationURL", note=note
        )
        found = pool_ids(answer.body, name)
        if found is None:
            raise self._nonsense("pools")
        if not found:
            text = f"{self._url}: no agent pool '{name}', or no right to see it; correct poolName"
            raise PollError(text, transient=False, reason="EntityNotFound")
        if len(found) > 1:
            text = f"{self._url}: {len(found)} agent pools are named '{name}'; give poolID"
            raise PollError(text, transient=False, reason="Ambiguous")
        return found[0]

    async def requests(self, pool: int, query: str, note: NoteRequest = unnoted) -> Requests:
        """Read a pool's unfinished job requests.

        Raises:
            PollError: see `_failed`.
        """
        path = f"pools/{pool}/jobrequests"
        answer = await self._ask(f"{path}{query}", missing="poolID", note=note)
        jobs = read_requests(answer.body)
        if jobs is None:
            raise self._nonsense(path)
        return Requests(asked_at=answer.asked_at, jobs=jobs)

    async def aclose(self) -> None:
        """Cancel what is in flight."""
        await self._flights.aclose()

    async def _ask(self, path: str, *, missing: str, note: NoteRequest) -> _Answer:
        return await self._flights.join(path, lambda: self._get(path, missing, note))

    async def _get(self, path: str, missing: str, note: NoteRequest) -> _Answer:
        asked_at = self._now()
        with map_rest_errors(self._url):
            header = await self._auth.header()
            url = URL(f"{self._url}/_apis/distributedtask/{path}", encoded=True)
            headers = {"Authorization": header or "", "Accept": "application/json"}
            await note()
            async with self._http.get(url, headers=headers, allow_redirects=False) as response:
                body = await read_json(response)
        if response.status == 200:
            return _Answer(asked_at=asked_at, body=body)
        raise self._failed(response.status, response.headers.get("Retry-After", ""), path, missing)

    def _failed(self, status: int, retry_after: str, path: str, missing: str) -> PollError:
        """Say what a bad status means. What the answer says is not repeated: it is a page as often as not.

        `AuthenticationFailed`, `AuthorizationFailed`, `EntityNotFound`, `Throttled`, `ServiceError` or
        `BadRequest`.
        """
        told = f"{self._url}, {path.partition('?')[0]}: status {status}"
        who = f"identity '{self._identity}'" if self._identity else "the owner of the token"
        if status in _SIGN_IN:
            self._auth.refused()
            hint = f"add {who} to the organization" if self._identity else "renew personalAccessToken"
            text = f"{told}: the login was refused; {hint}"
            return PollError(text, transient=False, reason="AuthenticationFailed")
        if status == 403:
            text = (
                f"{told}; give {who} Read on agent pools (scope vso.agentpools of a token) and on this pool"
            )
            return PollError(text, transient=False, reason="AuthorizationFailed")
        if status == 404:
            text = f"{told}; correct {missing}, or give {who} the right to see it"
            return PollError(text, transient=False, reason="EntityNotFound")
        if status == 429 or (status == 503 and retry_after):
            after = f" after {retry_after} s" if retry_after.isdigit() else ""
            return PollError(f"{told}: too many requests; poll less often{after}", reason="Throttled")
        if status >= 500 or status == 408:
            return PollError(f"{told}; is Azure DevOps well?", reason="ServiceError")
        text = f"{told}; check organizationURL and the names in the rule"
        return PollError(text, transient=False, reason="BadRequest")

    def _nonsense(self, path: str) -> PollError:
        text = f"{self._url}, {path}: what came back is no list; is this an organization of Azure DevOps?"
        return PollError(text, reason="BadAnswer")


@asynccontextmanager
async def open_pipelines(
    organization: Organization, timeout_s: float, now: Callable[[], datetime]
) -> AsyncIterator[PipelinesSession]:
    """Give a session, and close it with its connections.

    Raises:
        ConfigError: an identity is meant, and azure-identity is not installed.
    """
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=timeout_s),
            )
        )
        auth: Authorizer
        if organization.token is not None:
            auth = FixedHeader(Basic(user="", password=organization.token))
        else:
            fetch = await stack.enter_async_context(_entra(organization.identity or "system"))
            auth = BearerHeader(fetch)
            stack.push_async_callback(auth.aclose)
        session = PipelinesSession(organization, http, auth, now)
        stack.push_async_callback(session.aclose)
        yield session


@asynccontextmanager
async def _entra(identity: str) -> AsyncIterator[Fetch]:
    try:
        from scaler.scalers._azure_identity import open_credential  # noqa: PLC0415 - only identities need it
    except ModuleNotFoundError as exc:
        raise ConfigError(
            f"identity '{identity}' needs the package '{exc.name}'; "
            "run: pip install 'queue-scaler[azure-identity]'"
        ) from exc
    async with open_credential(identity) as credential:

        async def fetch() -> tuple[str, float]:
            token = await credential.get_token(SCOPE)
            # A token expires by the wall clock, whatever clock the engine runs on.
            return token.token, float(token.expires_on) - time.time()  # noqa: TID251

        yield fetch
