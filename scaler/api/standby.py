"""What a standby answers to everything: that it waits, and for whom."""

from __future__ import annotations

import os
from collections.abc import Callable

from aiohttp import web

from scaler.api.errors import error_response


def build_standby(holder: Callable[[], str]) -> web.Application:
    """Build the API of a daemon that waits until another one ends; `holder` says which."""
    app = web.Application()

    async def answer(_request: web.Request) -> web.Response:
        text = (
            f"this daemon (process {os.getpid()}) is a standby: it takes over when the one that works "
            f"({holder()}) ends; ask that one"
        )
        return error_response(503, "Standby", text)

    app.router.add_route("*", "/{path:.*}", answer)
    return app
