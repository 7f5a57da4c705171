"""What the docker executor sends, and ways to bend it."""

from __future__ import annotations

from typing import Any

from executors._docker_config import container_config
from executors._docker_settings import parse_settings
from scaler.guard.grants import Grants, MountGrant
from scaler.model.names import LABEL_INSTANCE
from scaler.testing.executor_contract import make_spec

INSTANCE = "guarded"
OURS = {LABEL_INSTANCE: INSTANCE}
GRANTS = Grants(
    mounts=(MountGrant(path="/srv/data"), MountGrant(path="/srv/data/fixed", read_only=True)),
    networks=frozenset({"orders"}),
    engine_paths=("/run/docker.sock", "/srv/data/sockets/docker.sock"),
)
LINKS = {"/srv/data/way-out": "/etc"}


def resolve(path: str) -> str | None:
    """Follow the one link there is; the guard sees nothing below /unseen."""
    return None if path.startswith("/unseen") else LINKS.get(path, path)


def body(*, top: dict[str, Any] | None = None, **host: Any) -> dict[str, Any]:
    """Give the executor's own body, with more in it, on top or under HostConfig."""
    spec = make_spec(["true"], image="worker:1", instance=INSTANCE)
    config = container_config(spec, parse_settings({}), INSTANCE)
    return {**config, "HostConfig": {**config["HostConfig"], **host}, **(top or {})}


def bind(source: str, target: str = "/data", **more: Any) -> dict[str, Any]:
    """Give one mount of a host folder."""
    return {"Type": "bind", "Source": source, "Target": target, "ReadOnly": False, **more}
