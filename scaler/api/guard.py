"""What a request must bring before a handler sees it: an api-version, and a token where one is demanded."""

from __future__ import annotations

import hmac
import re
import socket
from datetime import date
from urllib.parse import urlsplit

from aiohttp import web

from scaler.api.errors import ApiError, Handler
from scaler.api.keys import TOKENS

API_VERSION = "api-version"
_VERSION = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(-[a-z]+)?", re.IGNORECASE)
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def is_arm(path: str) -> bool:
    """Say whether a path belongs to ARM rather than to us."""
    return path.lower().startswith("/subscriptions/")


def check_api_version(given: str | None) -> None:
    """Refuse a request without a well-formed api-version; any date will do.

    Raises:
        ApiError: 400, with the code that ARM uses.
    """
    if not given:
        text = "the query parameter 'api-version' is missing; add for example ?api-version=2025-07-01"
        raise ApiError(400, "MissingApiVersionParameter", text, target=API_VERSION)
    match = _VERSION.fullmatch(given)
    try:
        date.fromisoformat(match[1] if match else "")
    except ValueError:
        text = f"api-version is '{given}'; write a date such as 2025-07-01 or 2025-10-02-preview"
        raise ApiError(400, "InvalidApiVersionParameter", text, target=API_VERSION) from None


def _query(request: web.Request, name: str) -> str | None:
    return next((value for key, value in request.query.items() if key.lower() == name), None)


@web.middleware
async def version_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Check the api-version of ARM requests that name a route."""
    if is_arm(request.path) and request.match_info.http_exception is None:
        check_api_version(_query(request, API_VERSION))
    return await handler(request)


def unix_socket(request: web.Request) -> socket.socket | None:
    """Give the connection of a request that came by the socket in the state directory, else None."""
    sock = None if request.transport is None else request.transport.get_extra_info("socket")
    is_unix = sock is not None and sock.family == getattr(socket, "AF_UNIX", None)
    return sock if is_unix else None


def _host_name(netloc: str) -> str:
    try:
        return urlsplit(f"//{netloc}").hostname or ""
    except ValueError:
        return ""


def _check_browser(request: web.Request) -> None:
    """Without a token only programs of this machine may call: no page of a foreign site may."""
    origin = request.headers.get("Origin")
    foreign_page = origin is not None and urlsplit(origin).netloc != request.host
    if foreign_page or _host_name(request.host) not in _LOOPBACK_NAMES:
        text = "without a token the API answers only to localhost and to no foreign page; set a token"
        raise ApiError(403, "AuthorizationFailed", text)


@web.middleware
async def token_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Demand the token of requests that come by TCP; the unix socket is guarded by its file mode."""
    if unix_socket(request) is not None:
        return await handler(request)
    if TOKENS not in request.app:
        _check_browser(request)
    elif shown_token(request) is None:
        text = "send one of the daemon's tokens in the header 'Authorization: Bearer <token>'"
        raise ApiError(401, "AuthenticationFailed", text)
    return await handler(request)


def shown_token(request: web.Request) -> str | None:
    """Name the token that a request shows; None if it shows none of ours. All are compared, in constant time."""
    given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
    fits = [
        name
        for name, token in request.app.get(TOKENS, ())
        if hmac.compare_digest(given, f"Bearer {token.reveal()}".encode())
    ]
    return fits[0] if fits else None
