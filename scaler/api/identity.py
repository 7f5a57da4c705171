"""Who makes a request, as far as it can be known without asking for more than a token.

On the unix socket the kernel tells the user; by TCP all that is known is which token was shown. Whether it was
our command line is what the client says of itself, and decides nothing but a word.
"""

from __future__ import annotations

import pwd
import re
import socket
import struct

from aiohttp import web

from scaler.api.keys import TOKEN

CLI_AGENT = "scaler-cli"
"""How the command line names itself in `User-Agent`."""

_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: struct ucred of Linux
_ODD = re.compile(r"[^A-Za-z0-9._@\\-]")


def comes_by_unix_socket(request: web.Request) -> bool:
    """Say whether a request came by the socket of the state directory."""
    return _unix_socket(request) is not None


def _unix_socket(request: web.Request) -> socket.socket | None:
    sock = None if request.transport is None else request.transport.get_extra_info("socket")
    is_unix = sock is not None and sock.family == getattr(socket, "AF_UNIX", None)
    return sock if is_unix else None


def caller(request: web.Request) -> str:
    """Name the caller: `cli:USER`, `api:USER`, `api:token` (by TCP, with one) or `api:local` (without)."""
    sock = _unix_socket(request)
    if sock is None:
        return "api:token" if TOKEN in request.app else "api:local"
    client = "cli" if request.headers.get("User-Agent", "").startswith(CLI_AGENT) else "api"
    return f"{client}:{_peer(sock)}"


def _peer(sock: socket.socket) -> str:
    """Name the user at the other end; `socket` where the system doesn't tell."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return "socket"
    try:
        _pid, uid, _gid = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size))
    except (OSError, struct.error):
        return "socket"
    try:
        return _ODD.sub("_", pwd.getpwuid(uid).pw_name)
    except KeyError:
        return f"uid-{uid}"
