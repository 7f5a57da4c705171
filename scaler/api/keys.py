"""What the handlers find in the application, under typed keys."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from aiohttp import web

from scaler.model.secret import Secret
from scaler.ports.control import JobControl
from scaler.ports.store import StoreReader

CONTROL: web.AppKey[JobControl] = web.AppKey("control", JobControl)
STORE: web.AppKey[StoreReader] = web.AppKey("store", StoreReader)
NOW: web.AppKey[Callable[[], datetime]] = web.AppKey("now", Callable)  # type: ignore[arg-type]
VERSION: web.AppKey[str] = web.AppKey("version", str)
TOKENS: web.AppKey[tuple[tuple[str, Secret], ...]] = web.AppKey("tokens", tuple)
"""Names and texts of the tokens that requests by TCP may show; not there if none is demanded."""
