"""Finds a unix socket by its path, however long: AF_UNIX itself takes at most 107 bytes.

Standard library only, because the command line client needs it too and must start fast.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scaler.errors import ConfigError

SOCKET_NAME = "scaler.sock"
"""The daemon's socket in its state directory."""

MAX_BYTES = 107
"""Longest path in `sockaddr_un.sun_path` on Linux (108 with the closing zero)."""


def standby_path(state_dir: Path) -> Path:
    """Name the socket on which a daemon answers that waits as a standby."""
    return state_dir / "standby.sock"


def socket_path(state_dir: Path) -> Path:
    """Name the socket of a state directory."""
    return state_dir / SOCKET_NAME


@contextmanager
def socket_address(path: Path) -> Iterator[str]:
    """Give an address for `bind` or `connect` that stands for `path`, valid inside the `with` only.

    A path that is too long is reached through a descriptor of its folder.

    Raises:
        ConfigError: the path is too long and this system has no `/proc/self/fd`.
        OSError: the folder cannot be opened.
    """
    if len(os.fsencode(path)) <= MAX_BYTES:
        yield str(path)
        return
    if not Path("/proc/self/fd").is_dir():
        size = len(os.fsencode(path))
        raise ConfigError(
            f"{path}: a socket path takes at most {MAX_BYTES} bytes, this one has {size}; "
            "give a shorter --state-dir"
        )
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def is_socket(path: Path) -> bool:
    """Say whether a socket stands there (links are not followed)."""
    try:
        return stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return False
