"""Runs the worker scripts the two ways the product does: as a plain process, and as a container."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping

from tests.infra.engine import Engine
from tests.infra.paths import WORKER_SCRIPTS

SCRIPTS_IN_IMAGE = "/worker"


async def run_process(script: str, env: Mapping[str, str], *, timeout_s: float = 30.0) -> int:
    """Run a worker script with this Python and return its exit code."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(WORKER_SCRIPTS / script), env={**os.environ, **env}
    )
    try:
        async with asyncio.timeout(timeout_s):
            return await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def run_container(
    engine: Engine, image: str, script: str, env: Mapping[str, str], *, label: str, timeout_s: float = 60.0
) -> int:
    """Run a worker script in a container on the host network, return its exit code and remove it (blocking)."""
    with engine.client(timeout_s=timeout_s) as client:
        container = client.containers.run(
            image,
            ["python", f"{SCRIPTS_IN_IMAGE}/{script}"],
            environment=dict(env),
            labels={label: "true"},
            network_mode="host",
            detach=True,
        )
        try:
            return int(container.wait(timeout=timeout_s)["StatusCode"])
        finally:
            container.remove(force=True, v=True)
