"""The report of a long run as files: a page for people and the same for programs."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scaler.errors import ConfigError


def must_be_writable(folder: Path) -> None:
    """Find out before the run, not after it, whether its report can be left.

    Raises:
        ConfigError: it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as exc:
        raise ConfigError(f"--out {folder}: {exc.strerror}; name a folder that you may write to") from exc


def write_report(folder: Path, name: str, page: str, body: Mapping[str, Any]) -> tuple[Path, Path]:
    """Write both files. Root leaves them to whom the folder belongs: it may be a mount of somebody's."""
    folder.mkdir(parents=True, exist_ok=True)
    html, data = folder / f"{name}.html", folder / f"{name}.json"
    html.write_text(page, encoding="utf-8")
    data.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
    if os.geteuid() == 0:
        owner = folder.stat()
        for path in (html, data):
            os.chown(path, owner.st_uid, owner.st_gid)
    return html, data
