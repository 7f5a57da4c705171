"""What a run ran on: without it, no figure says anything to anybody else."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

_LIBRARIES: Final = ("aiohttp", "aiodocker", "pydantic", "aiosqlite")


def facts(command: str, begun: datetime) -> Mapping[str, str]:
    """Name the command, the machine and the versions. Blocks for a moment: it asks `docker`."""
    libraries = []
    for name in _LIBRARIES:
        with suppress(ImportError):
            libraries.append(f"{name} {version(name)}")
    return {
        "command": command,
        "begun": begun.strftime("%Y-%m-%d %H:%M:%SZ"),
        "machine": f"{_processor()}, {os.cpu_count()} cores, {_memory_gib():.0f} GiB, load {os.getloadavg()[0]:.1f}",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "engine": _engine(),
        "scaler": f"{version('queue-scaler')}; {', '.join(libraries)}",
    }


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)


def _engine() -> str:
    with suppress(OSError, subprocess.SubprocessError):
        return f"Docker {_docker('version', '{{.Server.Version}}')}, {_docker('info', '{{.Driver}}')}"
    return "none"


def _docker(command: str, form: str) -> str:
    asked = ["docker", command, "--format", form]
    return subprocess.run(asked, capture_output=True, text=True, check=True, timeout=10).stdout.strip()  # noqa: S603
