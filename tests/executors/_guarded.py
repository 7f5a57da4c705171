"""A guard before the engine of the tests."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from scaler.guard.grants import Grants
from scaler.guard.proxy import Guard
from scaler.guard.serve import GuardOptions, serve_guard
from tests.infra.engine import Engine


@asynccontextmanager
async def guarded(engine: Engine, **grants: Any) -> AsyncIterator[tuple[Path, Guard]]:
    """Run a guard before an engine; give its socket, and itself."""
    folder = Path(tempfile.mkdtemp(prefix="scaler-guard-"))
    try:
        listen = folder / "guard.sock"
        options = GuardOptions(engine=engine.url, listen=listen, grants=Grants(**grants))
        async with serve_guard(options) as guard:
            yield listen, guard
    finally:
        shutil.rmtree(folder, ignore_errors=True)
