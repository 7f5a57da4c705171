"""OAuth tokens for brokers, got from a token endpoint and kept while they are good."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiokafka.abc import AbstractTokenProvider  # type: ignore[import-untyped]

from scaler.errors import PollError
from scaler.scalers._http_auth import BearerHeader, ClientCredentials, TokenEndpoint
from scaler.scalers._kafka_login import Cluster


class EndpointTokens(AbstractTokenProvider):  # type: ignore[misc]
    """What the client asks for a token each time it connects."""

    def __init__(self, bearer: BearerHeader, extensions: dict[str, str]) -> None:
        self._bearer = bearer
        self._extensions = extensions

    async def token(self) -> str:
        """Give the token."""
        return (await self._bearer.header() or "").removeprefix("Bearer ")

    def extensions(self) -> dict[str, str]:
        """Give what is sent beside it."""
        return self._extensions

    def refused(self) -> None:
        """Take note that a broker refused the token, so that the next connection gets a new one."""
        self._bearer.refused()


@asynccontextmanager
async def open_tokens(cluster: Cluster, timeout_s: float) -> AsyncIterator[EndpointTokens | None]:
    """Give the tokens of a cluster that wants them, None for another."""
    source = cluster.token
    if source is None:
        yield None
        return
    client = ClientCredentials(
        token_uri=source.uri,
        client_id=cluster.username,
        client_secret=cluster.password,
        scopes=source.scopes,
    )
    async with aiohttp.ClientSession() as http:
        endpoint = TokenEndpoint(http, client, timeout_s / 3)

        async def fetch() -> tuple[str, float]:
            try:
                return await endpoint.fetch()
            except PollError as exc:
                if exc.reason != "AuthenticationFailed":
                    raise
                text = f"{source.uri}: gave no token; check username and password (client id and secret) and scopes"
                raise PollError(text, transient=False, reason=exc.reason) from exc

        bearer = BearerHeader(fetch)
        try:
            yield EndpointTokens(bearer, dict(source.extensions))
        finally:
            await bearer.aclose()
