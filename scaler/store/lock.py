"""One daemon at a time on a file of records: who holds it is written beside it, and a dead holder holds nothing."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from scaler.errors import StateInUse, StoreError

_MOST_BYTES = 4096


def lock_path(path: Path) -> Path:
    """Name the lock file of a file of records."""
    return path.with_name(f"{path.name}.lock")


@contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """Keep every other daemon out for as long as this process lives, however it ends.

    Raises:
        StateInUse: another one is in; the text says which, and what to do.
        StoreError: the lock file cannot be made.
    """
    descriptor = _take(path)
    try:
        _sign(descriptor)
        yield
    finally:
        os.close(descriptor)


def _take(path: Path) -> int:
    """Open and lock; not a file that was removed meanwhile, for the next one would lock another."""
    lock = lock_path(path)
    while True:
        descriptor = _open(lock)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_there(descriptor, lock):
                return descriptor
        except BlockingIOError as exc:
            holder = _holder(descriptor)
            os.close(descriptor)
            raise StateInUse(
                f"{path}: in use by another daemon ({holder}); stop it, wait as its standby with "
                "'scaler run --standby', or use another state directory",
                holder=holder,
            ) from exc
        os.close(descriptor)


def _open(lock: Path) -> int:
    try:
        lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise StoreError(
            f"{lock}: {exc.strerror}; give a state directory that this user can write to"
        ) from exc


def _is_there(descriptor: int, lock: Path) -> bool:
    try:
        found, held = lock.stat(), os.fstat(descriptor)
    except FileNotFoundError:
        return False
    return (found.st_dev, found.st_ino) == (held.st_dev, held.st_ino)


def _sign(descriptor: int) -> None:
    text = json.dumps({"pid": os.getpid(), "host": socket.gethostname()})
    raw = f"{text}\n".encode()
    os.pwrite(descriptor, raw, 0)
    os.ftruncate(descriptor, len(raw))


def _holder(descriptor: int) -> str:
    """Say who signed; an older release wrote its process id only."""
    text = os.pread(descriptor, _MOST_BYTES, 0).decode(errors="replace").strip()
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if isinstance(found, dict):
        since = datetime.fromtimestamp(os.fstat(descriptor).st_mtime, UTC)
        return f"process {found.get('pid')} on {found.get('host')}, since {since:%Y-%m-%dT%H:%M:%SZ}"
    return f"process {text or 'unknown'}"
