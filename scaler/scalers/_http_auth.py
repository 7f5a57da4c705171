"""How an HTTP API is told who asks: Basic, OAuth2 client credentials, or an Entra token."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl, quote_plus

import aiohttp

from scaler.errors import PollError
from scaler.scalers._http_errors import map_http_errors, origin_of, read_json
from scaler.scalers._single_flight import SingleFlight

_EARLY_S: Final = 60.0
_DEFAULT_LIFE_S: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Basic:
    """User and password."""

    user: str = field(repr=False)
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCredentials:
    """An OAuth2 client. `scopes` are comma separated, `endpoint_params` a query string, both may be empty."""

    token_uri: str
    client_id: str = field(repr=False)
    client_secret: str = field(repr=False)
    scopes: str = ""
    endpoint_params: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadIdentity:
    """An Entra identity and the resource whose token the broker accepts."""

    resource: str
    identity: str | None = None


Fetch = Callable[[], Awaitable[tuple[str, float]]]
"""Gets a token and says how many seconds it lives."""
Credentials = Basic | ClientCredentials | WorkloadIdentity | None


class Authorizer(Protocol):
    """Gives the `Authorization` header of the next request."""

    async def header(self) -> str | None:
        """Give the header, None without credentials. A token is kept until shortly before it expires."""

    def refused(self) -> None:
        """Take note that the header was refused, so that the next request gets a new token."""


class FixedHeader:
    """A header that never changes."""

    def __init__(self, basic: Basic | None) -> None:
        self._text: str | None = None
        if basic:
            pair = f"{basic.user}:{basic.password}".encode()
            self._text = "Basic " + base64.b64encode(pair).decode()

    async def header(self) -> str | None:
        """Give it."""
        return self._text

    def refused(self) -> None:
        """Do nothing: there is no other."""


@dataclass(frozen=True, slots=True)
class _Token:
    text: str = field(repr=False)
    good_until: float


class BearerHeader:
    """A token that `fetch` gives, with how many seconds it lives."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._token: _Token | None = None
        self._fetching: SingleFlight[_Token] = SingleFlight()

    async def header(self) -> str | None:
        """Give the kept token while it is good, else fetch one; callers at the same time share the fetch."""
        token = self._token
        if token is None or token.good_until <= asyncio.get_running_loop().time():
            token = await self._fetching.join("token", self._renew)
        return f"Bearer {token.text}"

    def refused(self) -> None:
        """Forget the token."""
        self._token = None

    async def aclose(self) -> None:
        """End a fetch in flight."""
        await self._fetching.aclose()

    async def _renew(self) -> _Token:
        text, life_s = await self._fetch()
        early_s = min(_EARLY_S, life_s / 10)
        self._token = _Token(text, asyncio.get_running_loop().time() + life_s - early_s)
        return self._token


class TokenEndpoint:
    """Fetches tokens by the client credentials grant, the client named in the header or, if refused, the body."""

    def __init__(self, http: aiohttp.ClientSession, client: ClientCredentials, timeout_s: float) -> None:
        self._http = http
        self._client = client
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._in_body = False

    async def fetch(self) -> tuple[str, float]:
        """Ask for a token; which way of naming the client worked is remembered.

        Raises:
            PollError: `AuthenticationFailed`, `Timeout`, `TlsFailed` or `Unreachable`.
        """
        status, answer = await self._ask(in_body=self._in_body)
        if status in (400, 401) and not self._in_body:
            status, answer = await self._ask(in_body=True)
            self._in_body = status == 200
        token = answer.get("access_token")
        if status != 200 or not isinstance(token, str) or not token:
            raise self._refused(status, answer)
        return token, _life(answer.get("expires_in"))

    async def _ask(self, *, in_body: bool) -> tuple[int, dict[str, Any]]:
        form = [("grant_type", "client_credentials"), *parse_qsl(self._client.endpoint_params)]
        scopes = " ".join(self._client.scopes.replace(",", " ").split())
        if scopes:
            form.append(("scope", scopes))
        user, secret = self._client.client_id, self._client.client_secret
        headers = {"Accept": "application/json"}
        if in_body:
            form += [("client_id", user), ("client_secret", secret)]
        else:
            pair = f"{quote_plus(user)}:{quote_plus(secret)}".encode()
            headers["Authorization"] = "Basic " + base64.b64encode(pair).decode()
        url = self._client.token_uri
        with map_http_errors(origin_of(url)):
            async with self._http.post(url, data=form, headers=headers, timeout=self._timeout) as response:
                body = await read_json(response)
                return response.status, body if isinstance(body, dict) else {}

    def _refused(self, status: int, answer: dict[str, Any]) -> PollError:
        word = answer.get("error")
        said = f" '{word[:80]}'" if isinstance(word, str) else ""
        text = f"{origin_of(self._client.token_uri)}: no token, status {status}{said}; check clientID, clientSecret"
        if status >= 500 or status == 429:
            return PollError(text, reason="ServiceError")
        return PollError(text, transient=False, reason="AuthenticationFailed")


def _life(expires_in: object) -> float:
    try:
        life_s = float(str(expires_in))
    except ValueError:
        return _DEFAULT_LIFE_S
    return life_s if 0 < life_s < float("inf") else _DEFAULT_LIFE_S
