"""Listens: on the unix socket of the state directory always, by TCP if asked."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from scaler.api.address import is_socket, socket_address
from scaler.api.keys import TOKEN
from scaler.errors import ConfigError, Conflict

SOCKET_MODE = 0o600
BACKLOG = 128
ANSWER_S = 1.0
"""How long a socket that is already there may take to accept before it counts as in use all the same."""
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


def _remove(path: Path, inode: int) -> None:
    try:
        if path.lstat().st_ino == inode:
            path.unlink()
    except FileNotFoundError:
        return


async def _add_tcp(app: web.Application, runner: web.AppRunner, tcp: TcpListener) -> None:
    if TOKEN not in app and not _is_loopback(tcp.host):
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
        listener = listen_unix(path)
        inode = path.lstat().st_ino
        try:
            await web.SockSite(runner, listener, backlog=BACKLOG).start()  # from here on it is the runner's
            if tcp is not None:
                await _add_tcp(app, runner, tcp)
            yield tuple(f"http://{a[0]}:{a[1]}" for a in runner.addresses if isinstance(a, tuple))
        finally:
            _remove(path, inode)
    finally:
        await runner.cleanup()


@asynccontextmanager
async def serve_unix(app: web.Application, path: Path) -> AsyncIterator[None]:
    """Serve on the socket at `path` until the block is left; see `serve`."""
    async with serve(app, path):
        yield
