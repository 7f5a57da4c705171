"""Finds the engine as the docker command line would, and opens the one client that the executor uses.

The `docker` package is asked for the certificates of a context, once and in a thread; every later call goes
through aiodocker.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiodocker import Docker

from scaler.docker_address import find_address
from scaler.errors import ConfigError

_CONNECTIONS = 256  # stops hold theirs for a whole grace; launches and reads must not queue behind them
_UNIX = "unix://"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An engine's address as people write it, and the certificates to talk to it with (None: plain)."""

    url: str
    tls: ssl.SSLContext | None = None

    @property
    def is_local(self) -> bool:
        """Whether host paths mean the same to the engine as to us."""
        return self.url.startswith(_UNIX)


def find_endpoint(host: str | None, environ: Mapping[str, str] | None = None) -> Endpoint:
    """Choose the engine: the setting, DOCKER_HOST, then the current docker context. Blocks on small files.

    Raises:
        ConfigError: the address, the context or its certificates cannot be used.
    """
    env = os.environ if environ is None else environ
    address = find_address(host, env)
    tls = _context_tls(address.context, env) if address.context else None
    if tls is not None:
        cert, key = tls.cert
        context = _tls(ca=tls.ca_cert, cert=cert, key=key, verify=tls.verify is not False)
        return Endpoint(url=address.url, tls=context)
    return Endpoint(url=address.url, tls=_environment_tls(env) if _is_network(address.url) else None)


@asynccontextmanager
async def open_client(endpoint: Endpoint) -> AsyncIterator[Docker]:
    """Open a client with a connection pool of our own; both are closed at the end."""
    connector: aiohttp.BaseConnector
    if endpoint.is_local:
        connector = aiohttp.UnixConnector(endpoint.url.removeprefix(_UNIX), limit=_CONNECTIONS)
        url = f"{_UNIX}localhost"
    else:
        connector = aiohttp.TCPConnector(ssl=endpoint.tls or True, limit=_CONNECTIONS)
        url = f"{'https' if endpoint.tls else 'http'}://{endpoint.url.split('://', 1)[1]}"
    try:
        async with Docker(url=url, connector=connector, timeout=aiohttp.ClientTimeout(total=None)) as client:
            yield client
    finally:
        await connector.close()


async def choose_endpoint(host: str | None) -> Endpoint:
    """Run `find_endpoint` in a thread: it reads files and imports the `docker` package."""
    return await asyncio.to_thread(find_endpoint, host)


def _is_network(url: str) -> bool:
    return not url.startswith(_UNIX)


def _context_tls(name: str, env: Mapping[str, str]) -> Any:
    """Give what the docker package says of a context's certificates, or None."""
    from docker.context import ContextAPI  # type: ignore[import-untyped]
    from docker.errors import ContextException  # type: ignore[import-untyped]

    try:
        return ContextAPI.kwargs_from_context(name, environment=env).get("tls")
    except ContextException as exc:
        raise ConfigError(f"docker context '{name}': {exc}") from exc


def _environment_tls(env: Mapping[str, str]) -> ssl.SSLContext | None:
    if not env.get("DOCKER_TLS_VERIFY"):
        return None
    folder = Path(env.get("DOCKER_CERT_PATH") or Path.home() / ".docker")
    return _tls(
        ca=str(folder / "ca.pem"), cert=str(folder / "cert.pem"), key=str(folder / "key.pem"), verify=True
    )


def _tls(*, ca: str | None, cert: str, key: str, verify: bool) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca)
        context.load_cert_chain(cert, key)
    except OSError as exc:  # ssl.SSLError is one too
        raise ConfigError(f"docker certificates {ca}, {cert}, {key}: {exc.strerror or exc}") from exc
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
