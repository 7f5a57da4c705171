"""One place that knows where downloaded and built things are kept between test runs."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
WORKER_SCRIPTS = Path(__file__).resolve().parent / "worker"
DOCKERFILES = Path(__file__).resolve().parent / "docker"
COMPOSE = REPOSITORY / "compose"
STANDINS = COMPOSE / "standins"


def cache_dir() -> Path:
    """Return the folder of everything worth keeping: `SCALER_TEST_CACHE`, else `.cache` of the repository."""
    chosen = os.environ.get("SCALER_TEST_CACHE")
    path = Path(chosen).resolve() if chosen else REPOSITORY / ".cache"
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold a lock file of the cache, so that parallel test runs install, build and start one at a time."""
    with (cache_dir() / f"{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
