"""Says who makes a request, in the words that verdicts and records use: `cli:ann`, `api:socket`, `api:token`."""

from __future__ import annotations

import re

from aiohttp import web

from scaler.api.guard import comes_by_unix_socket
from scaler.api.keys import TOKEN

CALLER_HEADER = "Scaler-Caller"
"""What our own command line says of itself; believed on the unix socket only, whose file mode guards it."""

_SAID = re.compile(r"cli:[A-Za-z0-9._@+-]{1,64}")


def caller(request: web.Request) -> str:
    """Name who asks, as well as the way it came tells."""
    if comes_by_unix_socket(request):
        said = request.headers.get(CALLER_HEADER, "")
        return said if _SAID.fullmatch(said) else "api:socket"
    return "api:token" if request.app.get(TOKEN) is not None else "api:local"
