"""What aiohttp's errors mean for a poll, in words without credentials."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from pydantic_core import from_json

from scaler.errors import PollError


@contextmanager
def map_http_errors(origin: str) -> Iterator[None]:
    """Turn a failed exchange into a `PollError`: `Timeout`, `TlsFailed`, `Unreachable` or `BadAnswer`."""
    try:
        yield
    except TimeoutError as exc:
        raise PollError(f"{origin}: no answer in time; is the broker overloaded?", reason="Timeout") from exc
    except (aiohttp.ClientSSLError, ssl.SSLError) as exc:
        text = f"{origin}: TLS failed: {tls_reason(exc)}; check ca, the host name and that the port is TLS"
        raise PollError(text, transient=False, reason="TlsFailed") from exc
    except aiohttp.ClientConnectorError as exc:
        raise PollError(
            f"{origin}: cannot connect: {_os_reason(exc.os_error)}", reason="Unreachable"
        ) from exc
    except (aiohttp.ClientPayloadError, aiohttp.ClientResponseError) as exc:
        text = f"{origin}: what came back is no HTTP answer ({type(exc).__name__}); check host and port"
        raise PollError(text, reason="BadAnswer") from exc
    except (aiohttp.ClientError, OSError) as exc:
        text = f"{origin}: the connection was lost ({type(exc).__name__}); is the broker running?"
        raise PollError(text, reason="Unreachable") from exc


def tls_reason(exc: BaseException) -> str:
    """Name the cause of a TLS failure without the peer's details."""
    cause = getattr(exc, "certificate_error", None) or getattr(exc, "os_error", None) or exc
    if isinstance(cause, ssl.SSLCertVerificationError):
        return cause.verify_message
    reason = getattr(cause, "reason", None)
    return str(reason or "no TLS was spoken").replace("_", " ").lower()


def _os_reason(exc: OSError) -> str:
    if isinstance(exc, socket.gaierror):
        return "the host name is not known"
    return exc.strerror or type(exc).__name__


def origin_of(url: str) -> str:
    """Give a URL without credentials and query, for messages."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


async def read_json(response: aiohttp.ClientResponse) -> Any:
    """Read the body as JSON, whatever its content type says; None if it is none."""
    try:
        return from_json(await response.read())
    except ValueError:
        return None
