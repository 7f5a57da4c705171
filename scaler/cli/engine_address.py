"""Finds the address of the Docker engine as the `docker` command does, without any SDK.

Order: DOCKER_HOST, the context in DOCKER_CONTEXT, the current context of the docker configuration, the
usual socket.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DEFAULT_ADDRESS = "unix:///var/run/docker.sock"


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def engine_address(env: Mapping[str, str]) -> str:
    """Give the address, such as `unix:///var/run/docker.sock` or `tcp://host:2375`."""
    if env.get("DOCKER_HOST"):
        return env["DOCKER_HOST"]
    folder = Path(env.get("DOCKER_CONFIG") or Path(env.get("HOME", "/")) / ".docker")
    name = env.get("DOCKER_CONTEXT") or _read(folder / "config.json").get("currentContext")
    if not isinstance(name, str) or name in ("", "default"):
        return DEFAULT_ADDRESS
    digest = hashlib.sha256(name.encode()).hexdigest()
    endpoints = _read(folder / "contexts" / "meta" / digest / "meta.json").get("Endpoints", {})
    host = endpoints.get("docker", {}).get("Host") if isinstance(endpoints, dict) else None
    return host if isinstance(host, str) and host else DEFAULT_ADDRESS
