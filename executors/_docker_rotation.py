"""Tells whether the engine may have dropped the beginning of a container's log, which it never says itself.

The engine turns a log over at `max-size` and keeps `max-file` files. Once something was dropped, all files but the
newest are full: a log that is smaller than those is whole. A larger one may or may not be; then we say "may".
"""

from __future__ import annotations

import re
from typing import Any

_SIZE = re.compile(r"([0-9]+)([kmg]?)b?", re.IGNORECASE)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_FRAME_BYTES = 60  # what the driver json-file writes around a line at least: its keys, stream and time
_ESCAPED = bytes([*range(32), *b"<>&"])  # written as \u00XX, some control letters shorter
_QUOTED = b'"\\'
_SLACK = 0.9


def whole_below(inspected: dict[str, Any]) -> int | None:
    """Give the bytes below which the files of an inspected container's log are whole; None if none is dropped."""
    config = (inspected.get("HostConfig", {}).get("LogConfig") or {}).get("Config") or {}
    size = _SIZE.fullmatch(str(config.get("max-size", "")))
    if size is None:
        return None
    files = int(config.get("max-file") or 1)
    return (files - 1) * int(size[1]) * _UNITS[size[2].lower()]


class Measure:
    """Adds up how much room the engine's files take for what is read from them; rather too little than too much."""

    def __init__(self, whole: int | None) -> None:
        self._whole = whole
        self._size = 0
        self._payload = 0

    def add(self, piece: bytes) -> None:
        """Count one frame."""
        self._payload += len(piece)
        plain = len(piece.translate(None, _ESCAPED))
        quoted = len(piece) - len(piece.translate(None, _QUOTED))
        self._size += len(piece) + (len(piece) - plain) + quoted + _FRAME_BYTES

    def note(self) -> str | None:
        """Give a line for the reader if the beginning may be missing, else None."""
        if self._whole is None or self._size < self._whole * _SLACK:
            return None
        return (
            f"[scaler: the beginning of this log may be cut: the engine kept {self._payload} bytes of it; "
            "raise executors.docker.logMaxSize to keep more]"
        )
