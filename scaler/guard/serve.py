"""Runs the guard: a socket that the daemon may use, before one that it may not."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import structlog
from aiohttp import web

from scaler.errors import ConfigError, Conflict
from scaler.guard.grants import Grants
from scaler.guard.proxy import Guard

log = structlog.get_logger(__name__)

_BACKLOG = 256
_CONNECT_S = 10.0
_PROBE_S = 1.0
_SHUTDOWN_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardOptions:
    """Where the guard listens, which engine it stands before, and what it grants."""

    engine: str
    listen: Path
    grants: Grants
    mode: int = 0o660


@asynccontextmanager
async def serve_guard(options: GuardOptions) -> AsyncIterator[Guard]:
    """Guard an engine until the block is left; gives the guard, which tells what it refused.

    Raises:
        ConfigError: the engine's address or the socket's place cannot be used.
        Conflict: something answers at the socket already.
    """
    connector, base = _way_to(options.engine)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as engine:
        guard = Guard(engine, base, options.grants)
        server = web.Server(guard.handle, handler_cancellation=True, access_log=None)
        runner = web.ServerRunner(server, shutdown_timeout=_SHUTDOWN_S, handle_signals=False)
        await runner.setup()
        try:
            listener = await asyncio.to_thread(_listen, options.listen, options.mode)
            await web.SockSite(runner, listener, backlog=_BACKLOG).start()
            log.info("guard.listening", socket=str(options.listen), engine=options.engine)
            yield guard
        finally:
            await runner.cleanup()
            await asyncio.to_thread(options.listen.unlink, missing_ok=True)


async def run_guard(options: GuardOptions) -> None:
    """Guard until TERM, INT or HUP."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, ended.set)
    async with serve_guard(options):
        await ended.wait()


def engine_socket(address: str) -> str | None:
    """Give the path of the engine's socket with links followed, or None if it is reached by network."""
    parts = urlsplit(address)
    return os.path.realpath(parts.path) if parts.scheme == "unix" else None


def _way_to(address: str) -> tuple[aiohttp.BaseConnector, str]:
    parts = urlsplit(address)
    if parts.scheme == "unix":
        return aiohttp.UnixConnector(parts.path, limit=0), "http://docker"
    if parts.scheme in ("tcp", "http") and not os.environ.get("DOCKER_TLS_VERIFY"):
        return aiohttp.TCPConnector(limit=0), f"http://{parts.netloc}"
    raise ConfigError(
        f"--docker-host: got '{address}'; the guard reaches an engine by unix:// or plain tcp://"
    )


def _listen(path: Path, mode: int) -> socket.socket:
    if path.is_socket():
        if _answers(path):
            raise Conflict(f"{path}: something answers there already; stop it or give another --listen")
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)  # nobody but us gets in before the mode is set
    try:
        listener.bind(str(path))
        path.chmod(mode)
        listener.setblocking(False)
    except OSError as exc:
        listener.close()
        reason = exc.strerror or str(exc)  # a path that is too long has no number
        raise ConfigError(f"{path}: the socket cannot be made: {reason}; give another --listen") from exc
    finally:
        os.umask(before)
    return listener


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_PROBE_S)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True
