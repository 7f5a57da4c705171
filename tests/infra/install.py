"""Programs the services need, installed once: Debian packages when we are root, npm packages in the cache."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.infra.choose import Unavailable
from tests.infra.paths import cache_dir, locked

AZURITE_VERSION = "3.35.0"  # the newest that runs on Node 20


def run(command: Sequence[str], *, timeout_s: float, env: Mapping[str, str] | None = None) -> str:
    """Run a command to its end and return what it printed.

    Raises:
        Unavailable: it is missing, failed or took longer than `timeout_s` seconds; with its last lines.
    """
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            text=True,
            errors="replace",
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise Unavailable(f"{command[0]}: {exc}") from exc
    if done.returncode != 0:
        last = " / ".join(done.stdout.strip().splitlines()[-3:])
        raise Unavailable(f"{' '.join(command[:3])} ended with {done.returncode}: {last}")
    return done.stdout


def debian_package(package: str, binary: Path | str) -> None:
    """Make sure `binary` (a path, or a name on PATH) is there, by installing its Debian package if need be.

    Raises:
        Unavailable: it is missing and we are not root on Debian, or the installation failed.
    """
    if _found(binary):
        return
    if os.geteuid() != 0 or not Path("/etc/debian_version").exists() or shutil.which("apt-get") is None:
        raise Unavailable(f"{binary} is missing, and only root on Debian can install {package}")
    apt = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=180"]
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    with locked("apt"):
        if _found(binary):
            return
        run([*apt, "update"], timeout_s=180, env=quiet)
        run([*apt, "install", "--no-install-recommends", package], timeout_s=400, env=quiet)
    if not _found(binary):
        raise Unavailable(f"{package} was installed, but has no {binary}")


def azurite_queue() -> Path:
    """Return the `azurite-queue` program, installed by npm into the cache on first use."""
    home = cache_dir() / "azurite"
    program = home / "node_modules" / ".bin" / "azurite-queue"
    stamp = home / f".complete-{AZURITE_VERSION}"
    with locked("azurite"):
        if not stamp.exists():
            if shutil.which("npm") is None:
                raise Unavailable("npm is not on PATH")
            home.mkdir(parents=True, exist_ok=True)
            npm = ["npm", "install", "--prefix", str(home), "--no-audit", "--no-fund", "--loglevel=error"]
            run([*npm, f"azurite@{AZURITE_VERSION}"], timeout_s=300)
            stamp.touch()
    return program


def _found(binary: Path | str) -> bool:
    return binary.exists() if isinstance(binary, Path) else shutil.which(binary) is not None
