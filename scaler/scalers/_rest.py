"""What the scalers that ask a REST service over HTTPS share: a base URL, and errors in words without secrets."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import aiohttp

from scaler.errors import PollError
from scaler.scalers._http_errors import tls_reason

CONNECTIONS = 6
"""Requests in flight for one service and login; such services ask for few at a time."""


def read_base_url(value: str) -> str:
    """Take an http(s) URL without user, query and fragment; a trailing slash goes.

    Raises:
        ValueError: it is none. The text shows nothing of it, for it may hold a password.
    """
    try:
        parts = urlsplit(value)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_good = False
    if not is_good or "@" in parts.netloc or parts.query or parts.fragment or any(map(str.isspace, value)):
        raise ValueError("write an https:// URL without user, query and fragment")
    return value.rstrip("/")


@contextmanager
def map_rest_errors(origin: str) -> Iterator[None]:
    """Turn a failed exchange into a `PollError`: `Timeout`, `TlsFailed`, `Unreachable` or `BadAnswer`."""
    try:
        yield
    except TimeoutError as exc:
        raise PollError(f"{origin}: no answer in time", reason="Timeout") from exc
    except (aiohttp.ClientSSLError, ssl.SSLError) as exc:
        text = f"{origin}: TLS failed: {tls_reason(exc)}; check the URL and this host's certificates"
        raise PollError(text, transient=False, reason="TlsFailed") from exc
    except aiohttp.ClientConnectorError as exc:
        text = f"{origin}: cannot connect: {_os_reason(exc.os_error)}; check the URL and the network"
        raise PollError(text, reason="Unreachable") from exc
    except (aiohttp.ClientPayloadError, aiohttp.ClientResponseError) as exc:
        text = f"{origin}: what came back is no HTTP answer ({type(exc).__name__}); check the URL"
        raise PollError(text, reason="BadAnswer") from exc
    except (aiohttp.ClientError, OSError) as exc:
        text = f"{origin}: the connection was lost ({type(exc).__name__})"
        raise PollError(text, reason="Unreachable") from exc


def _os_reason(exc: OSError) -> str:
    if isinstance(exc, socket.gaierror):
        return "the host name is not known"
    return exc.strerror or type(exc).__name__
