"""How GitHub is told who asks: a personal access token, or a token of an App's installation.

Source: GitHub's documentation, "Generating a JSON Web Token (JWT) for a GitHub App". PyJWT is imported only
when a rule names an App.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import aiohttp

from scaler.errors import ConfigError, PollError
from scaler.scalers._github_limits import LIMITED, RateLimited, limited_until
from scaler.scalers._http_errors import read_json
from scaler.scalers._rest import map_rest_errors

BACKDATED: Final = timedelta(seconds=60)
JWT_LIFE: Final = timedelta(minutes=9)
"""GitHub takes at most ten minutes; the rest is for clocks that differ."""
HEADERS: Final = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalToken:
    """A personal access token."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """An installation of a GitHub App; `key` is the App's private key, PEM."""

    application_id: int
    installation_id: int
    key: str = field(repr=False)


Login = PersonalToken | App


class InstallationTokens:
    """Fetches tokens of one installation, good for an hour each."""

    def __init__(
        self, http: aiohttp.ClientSession, api_url: str, app: App, now: Callable[[], datetime]
    ) -> None:
        self._http = http
        self._api_url = api_url
        self._app = app
        self._now = now

    async def fetch(self) -> tuple[str, float]:
        """Get a token and say how many seconds it lives.

        Raises:
            PollError: `AuthenticationFailed`, `EntityNotFound`, `Throttled`, `ServiceError`, `BadAnswer`,
                or the connection failed.
            ConfigError: PyJWT is not installed.
        """
        signed = await asyncio.to_thread(_sign, self._app, self._now())
        url = f"{self._api_url}/app/installations/{self._app.installation_id}/access_tokens"
        headers = {**HEADERS, "Authorization": f"Bearer {signed}"}
        with map_rest_errors(self._api_url):
            async with self._http.post(url, headers=headers) as response:
                body = await read_json(response)
        answer = body if isinstance(body, dict) else {}
        until = limited_until(response.status, response.headers, str(answer.get("message", "")), self._now())
        if response.status in LIMITED and until is not None:
            raise RateLimited(self._api_url, until)
        if response.status != 201:
            raise self._refused(response.status)
        return self._read(answer)

    def _read(self, answer: dict[str, Any]) -> tuple[str, float]:
        try:
            token, expires = str(answer["token"]), datetime.fromisoformat(str(answer["expires_at"]))
            return token, (expires - self._now()).total_seconds()
        except (KeyError, ValueError, TypeError) as exc:
            text = f"{self._api_url}: what came back is no installation token; check githubApiURL"
            raise PollError(text, reason="BadAnswer") from exc

    def _refused(self, status: int) -> PollError:
        app = self._app
        if status == 404:
            text = (
                f"App {app.application_id} has no installation {app.installation_id}; correct installationID"
            )
            return PollError(f"{self._api_url}: {text}", transient=False, reason="EntityNotFound")
        if status in (401, 403):
            text = f"status {status} for App {app.application_id}; check applicationID, appKey and this clock"
            return PollError(f"{self._api_url}: {text}", transient=False, reason="AuthenticationFailed")
        text = f"{self._api_url}: no installation token, status {status}"
        if status >= 500:
            return PollError(text, reason="ServiceError")
        return PollError(f"{text}; check githubApiURL", transient=False, reason="BadRequest")


def _sign(app: App, now: datetime) -> str:
    try:
        import jwt  # noqa: PLC0415 - only Apps need it
    except ModuleNotFoundError as exc:
        raise ConfigError(
            "applicationID needs the package 'PyJWT'; run: pip install 'queue-scaler[github-runner]'"
        ) from exc
    claims = {"iat": now - BACKDATED, "exp": now + JWT_LIFE, "iss": str(app.application_id)}
    try:
        return jwt.encode(claims, app.key, algorithm="RS256")
    except (ValueError, TypeError, NotImplementedError, jwt.PyJWTError) as exc:
        text = f"App {app.application_id}: appKey is no RSA private key; give the PEM text, with its BEGIN and END"
        raise PollError(text, transient=False, reason="AuthenticationFailed") from exc
