"""Says who makes a request, in the words that verdicts and the audit use: `cli:ann`, `api:token:ci`.

On the unix socket the kernel names the user. Whether it is our command line is what the client says of itself.
"""

from __future__ import annotations

import pwd
import re
import socket
import struct

from aiohttp import web

from scaler.api.guard import shown_token, unix_socket

CALLER_HEADER = "Scaler-Caller"
"""What our own command line says of itself; believed on the unix socket only, whose file mode guards it."""

_SAID = re.compile(r"cli:([A-Za-z0-9._@+-]{1,64})")
_ODD = re.compile(r"[^A-Za-z0-9._@+-]")
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: struct ucred of Linux


def caller(request: web.Request) -> str:
    """Name who asks, as well as the way it came tells; the kernel's word goes before the client's."""
    sock = unix_socket(request)
    if sock is None:
        name = shown_token(request)
        return "api:local" if name is None else f"api:token:{name}" if name else "api:token"
    said = _SAID.fullmatch(request.headers.get(CALLER_HEADER, ""))
    if said is not None:
        return f"cli:{_peer(sock) or said[1]}"
    return f"api:{_peer(sock) or 'socket'}"


def _peer(sock: socket.socket) -> str | None:
    """Name the user at the other end; None where the system does not tell."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None
    try:
        raw = sock.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size)
        _pid, uid, _gid = _CREDENTIALS.unpack(raw)
    except (OSError, struct.error):
        return None
    try:
        return _ODD.sub("_", pwd.getpwuid(uid).pw_name)
    except KeyError:
        return str(uid)
