"""Looks at the engine for the containers that hold ready networks."""

from __future__ import annotations

import asyncio
from typing import Any

import docker

from scaler.model.names import LABEL_INSTANCE, LABEL_NETWORK


def holders(client: docker.DockerClient, instance: str) -> list[dict[str, Any]]:
    """List those of one daemon, in any state."""
    filters = {"label": [f"{LABEL_INSTANCE}={instance}", LABEL_NETWORK]}
    found: list[dict[str, Any]] = client.api.containers(all=True, filters=filters)
    return found


async def wait_for_holders(client: docker.DockerClient, instance: str, count: int) -> set[str]:
    """Wait until so many run and no more are there; give their ids."""
    async with asyncio.timeout(90):
        while True:
            found = holders(client, instance)
            if [one["State"] for one in found] == ["running"] * count:
                return {one["Id"] for one in found}
            await asyncio.sleep(0.1)
