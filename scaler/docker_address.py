"""Finds the address of the Docker engine as the `docker` command does, for the executor and for `doctor` alike.

Order: the setting, DOCKER_HOST, the context in DOCKER_CONTEXT, the current context of the docker
configuration, the usual socket. Standard library only: `doctor` works without any SDK, and starts fast.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from scaler.errors import ConfigError

DEFAULT_ADDRESS = "unix:///var/run/docker.sock"
_NETWORK = ("tcp", "http", "https")


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerAddress:
    """An address such as `unix:///var/run/docker.sock` or `tcp://host:2375`, and the context it is of, if any."""

    url: str
    context: str | None = None


def find_address(host: str | None, env: Mapping[str, str]) -> DockerAddress:
    """Choose the address. `host` is the setting `executors.docker.host`. Blocks on small files.

    Raises:
        ConfigError: what names the address is wrong; the text begins with its name.
    """
    for name, value in (("executors.docker.host", host), ("DOCKER_HOST", env.get("DOCKER_HOST"))):
        if value:
            return DockerAddress(url=_usable(value, name))
    folder = Path(env.get("DOCKER_CONFIG") or Path(env.get("HOME", "/")) / ".docker")
    source, context = "DOCKER_CONTEXT", env.get("DOCKER_CONTEXT")
    if not context:
        source = f"{folder / 'config.json'}: currentContext"
        context = _read(folder / "config.json").get("currentContext")
    if not isinstance(context, str) or context in ("", "default"):
        return DockerAddress(url=DEFAULT_ADDRESS)
    return DockerAddress(url=_context_url(folder, context, source), context=context)


def _context_url(folder: Path, context: str, source: str) -> str:
    digest = hashlib.sha256(context.encode()).hexdigest()
    meta = folder / "contexts" / "meta" / digest / "meta.json"
    if not meta.is_file():
        raise ConfigError(f"{source}: got '{context}'; no such docker context; see: docker context ls")
    endpoints = _read(meta).get("Endpoints")
    docker = endpoints.get("docker") if isinstance(endpoints, dict) else None
    host = docker.get("Host") if isinstance(docker, dict) else None
    return _usable(host, f"docker context '{context}'") if isinstance(host, str) and host else DEFAULT_ADDRESS


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _usable(url: str, source: str) -> str:
    try:
        parts = urlsplit(url)
        good = bool(parts.hostname and parts.port != 0) if parts.scheme in _NETWORK else False
    except ValueError:  # a port that is no number
        good = False
    if good or (url.startswith("unix://") and len(url) > len("unix://")):
        return url
    hint = "forward a remote socket with: ssh -L /tmp/docker.sock:/var/run/docker.sock HOST"
    shown = re.sub(r"(?<=://)[^/\s@]+(?=@)", "***", url)
    raise ConfigError(
        f"{source}: got '{shown}'; only unix:///PATH and tcp://HOST:PORT addresses can be used ({hint})"
    )
