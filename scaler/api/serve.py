"""Listens: on the unix socket of the state directory always, by TCP if asked."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import structlog
from aiohttp import web

from scaler.api.address import is_socket, socket_address
from scaler.api.keys import TOKENS
from scaler.errors import ConfigError, Conflict

log = structlog.get_logger(__name__)

SOCKET_MODE = 0o600
BACKLOG = 128
ANSWER_S = 1.0
"""How long a socket that is already there may take to accept before it counts as in use all the same."""
RECHECK_S = 1.0
"""How often it is looked whether the socket still stands where clients look for it."""
SHUTDOWN_S = 2.0
"""How long open requests may go on when the server ends; a log that is followed would never end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpListener:
    """A further listener. `port` 0 takes a free one; any `host` but loopback needs a token."""

    host: str = "127.0.0.1"
    port: int = 8410


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _answers(path: Path) -> bool:
    """Say whether somebody accepts connections at a socket."""
    with socket_address(path) as address, socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(ANSWER_S)
        try:
            probe.connect(address)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError as exc:
            return exc.errno != errno.ENOTSOCK
        return True


def _make_way(path: Path) -> None:
    """Remove a socket that a daemon left behind when it died."""
    if not os.path.lexists(path):
        return
    if not is_socket(path):
        raise ConfigError(f"{path}: something else than a socket is there; move it away")
    if _answers(path):
        raise Conflict(f"{path}: another daemon answers there; stop it or give another --state-dir")
    path.unlink(missing_ok=True)


def listen_unix(path: Path) -> socket.socket:
    """Bind the socket; nobody but its owner may connect.

    Raises:
        ConfigError: the place cannot take a socket.
        Conflict: another daemon answers there.
    """
    _make_way(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with socket_address(path) as address:
            listener.bind(address)
        path.chmod(SOCKET_MODE)  # before listen(): until then nobody gets in
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as exc:
        listener.close()
        raise ConfigError(
            f"{path}: the socket cannot be made: {exc.strerror}; give another --state-dir"
        ) from exc
    return listener


class _UnixListener:
    """The listener on the socket, bound anew when the socket was removed from its place."""

    def __init__(self, runner: web.AppRunner, path: Path) -> None:
        self._runner = runner
        self._path = path
        self._site: web.SockSite | None = None
        self._inode: int | None = None

    async def bind(self) -> None:
        """Bind, and let go of what was bound before."""
        listener = await asyncio.to_thread(listen_unix, self._path)
        self._inode = self._found()
        site = web.SockSite(self._runner, listener, backlog=BACKLOG)
        await site.start()  # from here on it is the runner's
        before, self._site = self._site, site
        if before is not None:
            await before.stop()

    async def keep(self) -> None:
        """Look after the socket until cancelled. A place that cannot be bound is told once."""
        told = ""
        while True:
            await asyncio.sleep(RECHECK_S)
            if self._found() == self._inode:
                continue
            try:
                await self.bind()
            except (ConfigError, Conflict, OSError) as exc:
                if str(exc) != told:
                    log.error("api.unreachable", reason=str(exc))
                told = str(exc)
            else:
                log.warning("api.bound_again", socket=str(self._path))
                told = ""

    def remove(self) -> None:
        """Remove the socket, if it is ours."""
        if self._inode is not None and self._found() == self._inode:
            self._path.unlink(missing_ok=True)

    def _found(self) -> int | None:
        try:
            return self._path.lstat().st_ino
        except OSError:
            return None


async def _add_tcp(app: web.Application, runner: web.AppRunner, tcp: TcpListener) -> None:
    if TOKENS not in app and not _is_loopback(tcp.host):
        raise ConfigError(f"api: host '{tcp.host}' can be reached from outside; set a token or use 127.0.0.1")
    try:
        await web.TCPSite(runner, tcp.host, tcp.port).start()
    except OSError as exc:
        text = f"api: cannot listen on {tcp.host}:{tcp.port}: {exc.strerror or exc}; choose another port"
        raise ConfigError(text) from exc


@asynccontextmanager
async def serve(
    app: web.Application, path: Path, *, tcp: TcpListener | None = None
) -> AsyncIterator[tuple[str, ...]]:
    """Serve on the socket at `path`, and by TCP if told to, until the block is left.

    Gives the addresses of the TCP listeners as URLs.

    Raises:
        ConfigError: an address cannot be used.
        Conflict: another daemon answers at `path`.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S, handle_signals=False)
    await runner.setup()
    try:
        unix = _UnixListener(runner, path)
        await unix.bind()
        keeper = asyncio.create_task(unix.keep(), name="api/socket")
        try:
            if tcp is not None:
                await _add_tcp(app, runner, tcp)
            yield tuple(f"http://{a[0]}:{a[1]}" for a in runner.addresses if isinstance(a, tuple))
        finally:
            keeper.cancel()
            with suppress(asyncio.CancelledError):
                await keeper
            unix.remove()
    finally:
        await runner.cleanup()


@asynccontextmanager
async def serve_unix(app: web.Application, path: Path) -> AsyncIterator[None]:
    """Serve on the socket at `path` until the block is left; see `serve`."""
    async with serve(app, path):
        yield
