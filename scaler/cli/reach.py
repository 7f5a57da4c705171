"""Looks at a source's host and port: whether the name has an address and whether the port takes connections."""

from __future__ import annotations

import asyncio
import errno
import re
import socket
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from scaler.cli.advice import Finding, Look

LOOKUP_S: Final = 5.0
CONNECT_S: Final = 3.0
"""How long a lookup, and connecting to all addresses of a host together, may take, seconds."""

_PORTS: Final = {"http": 80, "https": 443, "amqp": 5672, "amqps": 5671, "kafka": 9092}
_HOST: Final = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+(%\w+)?")
_NO_WAY: Final = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EACCES, errno.EPERM)


def places(source: str) -> tuple[tuple[str, int], ...]:
    """Give hosts and ports of a source's address; none if it is of another kind, such as a unix socket.

    Without a scheme the port is that of https, for so the services of clouds write it.
    """
    scheme, has_scheme, rest = source.rpartition("://")
    return tuple(_places(scheme, rest.lstrip("/"), is_sure=bool(has_scheme)))


def _places(scheme: str, rest: str, *, is_sure: bool) -> Iterator[tuple[str, int]]:
    if scheme == "unix":
        return
    for text in rest.split(","):
        try:
            parts = urlsplit(f"//{text.strip()}")
            host, port = parts.hostname or "", parts.port
        except ValueError:
            continue
        if _HOST.fullmatch(host) and (is_sure or port or "." in host):
            yield host, port or _PORTS.get(scheme, 443)


async def look_at(host: str, port: int) -> Look:
    """Look one host and port up, and connect without saying anything."""
    return Look(host=host, port=port, finding=await _find(host, port))


async def _find(host: str, port: int) -> Finding:
    try:
        async with asyncio.timeout(LOOKUP_S):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as exc:
        return Finding.NAME_SERVER_SILENT if exc.errno == socket.EAI_AGAIN else Finding.NO_ADDRESS
    except TimeoutError:
        return Finding.NAME_SERVER_SILENT
    except (OSError, UnicodeError):
        return Finding.NO_ADDRESS
    finding = Finding.SILENT
    try:
        async with asyncio.timeout(CONNECT_S):
            for address in dict.fromkeys(str(entry[4][0]) for entry in found):
                finding = await _connect(address, port)
                if finding is Finding.CONNECTS:
                    break
    except TimeoutError:
        return Finding.SILENT
    return finding


async def _connect(address: str, port: int) -> Finding:
    try:
        _reader, writer = await asyncio.open_connection(address, port)
    except OSError as exc:
        if exc.errno == errno.ETIMEDOUT:
            return Finding.SILENT
        return Finding.NO_ROUTE if exc.errno in _NO_WAY else Finding.REFUSED
    writer.transport.abort()
    return Finding.CONNECTS
